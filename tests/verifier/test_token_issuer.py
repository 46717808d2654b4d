"""`tokenkeep.testing`: what users' own tests mint and trust."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tokenkeep.contract.revocation import RevocationKind, RevocationSet, digest
from tokenkeep.testing import TokenIssuer
from tokenkeep.verifier import InvalidToken

NOW = 1_767_225_600.5


@pytest.mark.parametrize("algorithm", ["ES256", "HS256", "EdDSA"])
def test_minted_token_is_trusted(algorithm: str):
    """A token of the issuer is accepted by its verifier, and says what was asked for."""
    issuer = TokenIssuer(algorithm=algorithm, clock=lambda: NOW)
    headers = issuer.headers(subject="7", name="Grace", role="admin", claims={"tenant": "blue"})
    accepted = issuer.verifier().authenticate([headers["Authorization"]])
    assert (accepted.subject, accepted.name, accepted.role) == ("7", "Grace", "admin")
    assert accepted.claims["tenant"] == "blue"
    assert accepted.audience == ("https://api.test",)


@pytest.mark.parametrize("algorithm", ["ES256", "HS256"])
async def test_minted_token_is_trusted_by_who_awaits(algorithm: str):
    """The verifier for asyncio trusts and refuses what the other one does, and fetches nothing."""
    issuer = TokenIssuer(algorithm=algorithm, clock=lambda: NOW)
    async with issuer.async_verifier() as verifier:
        accepted = await verifier.authenticate([issuer.headers(role="admin")["Authorization"]])
        assert verifier.require_role(accepted, "admin").name == "Ada"
        with pytest.raises(InvalidToken):
            await verifier.verify(TokenIssuer(algorithm=algorithm, clock=lambda: NOW).token())
        revoked = RevocationSet()
        revoked.confirm(float("inf"))
        revoked.add([digest(RevocationKind.SESSION, issuer.issuer, "test-session")])
        with pytest.raises(InvalidToken, match="revoked"):
            await issuer.async_verifier(revocations=revoked).verify(issuer.token())


def test_tokens_of_others_are_not_trusted():
    """Each issuer has a key of its own."""
    with pytest.raises(InvalidToken):
        TokenIssuer().verifier().verify(TokenIssuer().token())


def test_expiry_can_be_tested():
    """A clock and a life are enough to see an expired token."""
    now = NOW
    issuer = TokenIssuer(clock=lambda: now)
    token = issuer.token(lifetime=timedelta(seconds=10))
    assert issuer.verifier().verify(token)
    now += 20
    with pytest.raises(InvalidToken) as refusal:
        issuer.verifier().verify(token)
    assert refusal.value.reason == "TokenExpiredError"


def test_revocation_can_be_tested():
    """A revocation set ends minted tokens as it ends those of a server."""
    issuer = TokenIssuer(clock=lambda: NOW)
    revoked = RevocationSet()
    revoked.confirm(float("inf"))
    verifier = issuer.verifier(revocations=revoked)
    token = issuer.token()
    assert verifier.verify(token)
    revoked.add([digest(RevocationKind.SESSION, issuer.issuer, "test-session")])
    with pytest.raises(InvalidToken):
        verifier.verify(token)
