"""What is wrong when Redis cannot be used, and the way out, in a sentence that holds no password and no key."""

from __future__ import annotations

import ssl
from typing import Final

from tokenkeep.storage.redis_address import RedisAddress

_RIGHTS: Final = "the user may not do this: give it the rights that the documentation of Redis lists"
_PROTECTED: Final = (
    "it takes connections of its own machine only, since its default user needs no password: give that user one, or "
    "turn it off with: user default off resetpass"
)
_ANSWERS: Final[tuple[tuple[str, str], ...]] = (
    ("WRONGPASS", "the user or the password is refused: correct redis_url"),
    ("invalid username-password pair", "the user or the password is refused: correct redis_url"),
    ("invalid password", "the user or the password is refused: correct redis_url"),
    ("NOAUTH", "it asks for a password: correct redis_url"),
    ("Authentication required", "it asks for a password: correct redis_url"),
    ("without any password configured", "it has no password, but redis_url has one: correct redis_url"),
    ("protected mode", _PROTECTED),
    ("NOPERM", _RIGHTS),
    ("no permissions", _RIGHTS),
    ("can't run this command", _RIGHTS),
    ("READONLY", "it is a replica, which cannot be written: name the primary"),
    ("read only replica", "it is a replica, which cannot be written: name the primary"),
    ("OOM", "its memory is full: raise its maxmemory"),
    ("used memory", "its memory is full: raise its maxmemory"),
    ("MISCONF", "it takes no changes, since it cannot save to its disk: see its log"),
    ("NOREPLICAS", "it takes no changes, since its replicas are away: see its log"),
    ("LOADING", "it is still loading its data: wait"),
    ("loading the dataset", "it is still loading its data: wait"),
    ("BUSY", "a script of somebody else keeps it busy: see its log"),
    ("MOVED", "it is a part of a cluster, which is not supported: name a primary that stands alone"),
    ("cluster", "it is a part of a cluster, which is not supported: name a primary that stands alone"),
    ("max number of clients", "it has no connection left: raise its maxclients"),
    ("DB index is out of range", "there is no database of that number: correct redis_url"),
)
"""Which sentence belongs to which word in its answer: the first row that fits."""


UNEXPECTED: Final = "it answers what was not expected: see that redis_url leads to a Redis, and to no other service"
"""What is said of an answer that is no error, and no answer to what was asked."""


class RedisAway(Exception):
    """Redis does not answer or does not do what it is asked; the text says why, and what to do."""


def explain_outage(error: BaseException, address: RedisAddress) -> str:
    """Return what is wrong, for a line of the log."""
    return f"Redis at {address.where}: {_explain(error)}"


def _explain(error: BaseException) -> str:
    answer = str(error)
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not accepted ({cause.verify_message}): name the file of its authority as "
                "ssl_ca_certs in redis_url"
            )
        if isinstance(cause, ssl.SSLError):
            return f"TLS fails ({cause.reason or 'no reason given'}): see its log"
    for word, sentence in _ANSWERS:
        if word in answer:
            return sentence
    if any(isinstance(cause, TimeoutError) for cause in causes) or type(error).__name__ == "TimeoutError":
        return "it does not answer in time: see whether it runs, and is not overloaded"
    for cause in causes:
        if isinstance(cause, OSError):
            return f"nothing answers ({cause.strerror or 'refused'}): start it, or correct redis_url"
    if type(error).__name__ == "ConnectionError":
        return "the connection was lost: see its log"
    return f"it answers what was not expected ({type(error).__name__}): see its log"


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and what it came from, the nearest first: the driver wraps what the system said."""
    causes: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in causes:
        causes.append(found)
        found = found.__cause__ or found.__context__
    return causes
