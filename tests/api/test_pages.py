"""What browsers are given."""

from __future__ import annotations

from tests.api.caller import Caller
from tokenkeep.pages import BROWSER_CLIENT

PATH = "/tokenkeep.js"


async def test_the_client_is_served_as_a_module_of_any_page(call: Caller):
    """It is a script, to pages of any origin, and asked for anew each time: a mend must reach everybody."""
    answer = await call("GET", PATH)
    assert answer.content == BROWSER_CLIENT
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers.get_list("cache-control") == ["public, no-cache"]
    assert "set-cookie" not in answer.headers


async def test_whoever_has_the_client_is_not_sent_it_again(call: Caller):
    """The answer to its own tag is 304 without a body."""
    tag = (await call("GET", PATH)).headers["etag"]
    answer = await call("GET", PATH, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_the_client_needs_nothing_of_others():
    """No import, no address but those that its explanations make up, no `eval`, no storage, nothing for the console."""
    text = BROWSER_CLIENT.decode("ascii")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("*", "/*", "//")))
    for word in ("import", "://", "eval", "Function", "innerHTML", "Storage", "indexedDB", "console", "cookie"):
        assert word not in code, word
