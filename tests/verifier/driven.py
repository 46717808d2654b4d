"""The two kinds of verifier, driven alike: one by threads, the other by an event loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from tests.verifier.requests_to_judge import AUDIENCE, ISSUER, NOW
from tokenkeep.verifier import AccessToken, AsyncTokenVerifier, KeyStatus, Refused, TokenVerifier

KINDS: Final = ("threads", "asyncio")
AT_ONCE: Final = 100
"""How many threads verify at the same time."""

Verdict = AccessToken | Refused


class Driven:
    """A verifier of a kind, for the tokens of the shared list unless told otherwise."""

    def __init__(self, kind: str, **arguments: Any) -> None:
        given = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ["ES256"], "clock": lambda: NOW, **arguments}
        self._runner = asyncio.Runner()
        self.verifier: TokenVerifier | AsyncTokenVerifier = (
            TokenVerifier(**given) if kind == "threads" else AsyncTokenVerifier(**given)
        )

    def verify(self, token: str) -> AccessToken:
        """Verify one token, then wait for what that began in the background."""
        return self.authenticate([f"Bearer {token}"])

    def authenticate(self, authorization: list[str]) -> AccessToken:
        """Judge one request, then wait for what that began in the background."""
        if isinstance(self.verifier, TokenVerifier):
            try:
                return self.verifier.authenticate(authorization)
            finally:
                self._join()
        return self._runner.run(self._authenticate(self.verifier, authorization))

    def verify_at_once(self, tokens: Iterable[str]) -> list[Verdict]:
        """Verify tokens at the same time, and return the verdict on each."""
        if isinstance(self.verifier, TokenVerifier):
            verify = self.verifier.verify
            with ThreadPoolExecutor(AT_ONCE) as pool:
                futures = [pool.submit(verify, token) for token in tokens]
            self._join()
            return [future.exception() or future.result() for future in futures]  # type: ignore[misc]
        return self._runner.run(self._verify_at_once(self.verifier, tokens))

    def ready(self) -> bool:
        """Ask whether tokens can be judged."""
        answer = self.verifier.ready()
        return answer if isinstance(answer, bool) else self._runner.run(answer)

    def key_status(self) -> KeyStatus:
        """Ask how it stands with the keys."""
        return self.verifier.key_status()

    def close_the_verifier(self) -> None:
        """Close the verifier; its event loop goes on."""
        if isinstance(self.verifier, TokenVerifier):
            self.verifier.close()
        else:
            self._runner.run(self.verifier.aclose())

    def close(self) -> None:
        """Close the verifier, then the event loop."""
        self.close_the_verifier()
        self._runner.close()

    def _join(self) -> None:
        assert isinstance(self.verifier, TokenVerifier)
        source = self.verifier._source
        if source is not None and source._thread is not None:
            source._thread.join()

    async def _authenticate(self, verifier: AsyncTokenVerifier, authorization: list[str]) -> AccessToken:
        try:
            return await verifier.authenticate(authorization)
        finally:
            await self._settle(verifier)

    async def _verify_at_once(self, verifier: AsyncTokenVerifier, tokens: Iterable[str]) -> list[Verdict]:
        verdicts = await asyncio.gather(*map(verifier.verify, tokens), return_exceptions=True)
        await self._settle(verifier)
        return verdicts  # type: ignore[return-value]

    async def _settle(self, verifier: AsyncTokenVerifier) -> None:
        source = verifier._source
        if source is not None and source._task is not None:
            await asyncio.wait([source._task])
