"""The corpus of the fuzz target, run as an ordinary test."""

from pathlib import Path

import pytest

from tests.fuzz.fuzz_engine import KEY, PAIRS, PUBLIC_KEYS, SEPARATOR, judge, signed
from tokenkeep.jose import jwt

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_corpus_raises_nothing_undocumented(path):
    """Each kept input, whole, cut short and repeated, gives documented errors only."""
    data = path.read_bytes()
    for form in (data, data[: len(data) // 2], data[1:], data * 2, data[::-1]):
        judge(form)


def test_the_target_reaches_the_engine():
    """Among the inputs are tokens that verify and keys that are read; otherwise the target would prove nothing."""
    claims = b'{"iss":"i","aud":"a","exp":1700000900}'
    for keys, key in ((KEY, KEY), *((PUBLIC_KEYS, pair) for pair in PAIRS)):
        token = signed(b'{"alg":"HS512","kid":"fuzz"}' + SEPARATOR + claims, key)
        verified = jwt.verify(token, keys, algorithms=[key.alg], issuer="i", audience="a", now=1_700_000_000)
        assert verified.claims["aud"] == "a"
        assert verified.header == {"alg": key.alg, "kid": key.kid}
    assert len(CORPUS) >= 20
