"""The policy, and what it does to claims, type and time."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from tests.jose.samples import AUDIENCE, ISSUER, NOW, claims, header_of, private_key, token, verify
from tokenkeep.jose import errors
from tokenkeep.jose.arguments import MAX_INSTANT
from tokenkeep.jose.claims import ClaimsPolicy, check_claims

INSTANTS = ["exp", "nbf", "iat"]
NO_INSTANT = [None, True, False, "1700000000", "", [1], {}, -1, -0.5, MAX_INSTANT + 1, 1e300, 10**50, -(10**50)]


def refused(error, **others):
    """Return the error with which claims are refused, after checking that nothing else is wrong with them."""
    policy = others.pop("policy", {})
    with pytest.raises(error) as caught:
        verify(token(payload=others), **policy)
    return caught.value


# ------------------------------------------------------------------------------------------------------------ time


@pytest.mark.parametrize(("leeway", "last"), [(0, NOW - 1), (5, NOW + 4), (60, NOW + 59), (0.5, NOW + 0.25)])
def test_a_token_expires_in_the_second_of_exp(leeway, last):
    """A token is accepted until just before exp + leeway and refused from then on."""
    presented = token(payload=claims(exp=NOW, iat=NOW - 900))
    verify(presented, leeway=timedelta(seconds=leeway), now=last)
    with pytest.raises(errors.TokenExpired) as caught:
        verify(presented, leeway=timedelta(seconds=leeway), now=NOW + leeway)
    assert caught.value.expired_at == datetime.fromtimestamp(NOW, UTC)
    assert caught.value.claim == "exp"


def test_a_fractional_exp_is_not_rounded_up():
    """A token that ends between two seconds is expired at the next."""
    presented = token(payload=claims(exp=NOW + 0.5))
    verify(presented, now=NOW + 0.25)
    for now in (NOW + 0.5, NOW + 1):
        with pytest.raises(errors.TokenExpired):
            verify(presented, now=now)


def test_exp_is_required():
    """A token without an end is refused, and a null is no end."""
    error = refused(errors.ClaimMissing, **claims(exp=None))
    assert (error.claim, error.message) == ("exp", "claim 'exp' is missing")
    error = refused(errors.ClaimInvalid, **{**claims(), "exp": None})
    assert error.claim == "exp"


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize("leeway", [0, 5, 60])
def test_a_token_from_the_future_is_refused(name, leeway):
    """nbf and iat may lie as far ahead as the leeway and no further."""
    policy = {"leeway": timedelta(seconds=leeway)}
    verify(token(payload=claims(**{name: NOW + leeway})), **policy)
    error = refused(errors.TokenNotYetValid, **claims(**{name: NOW + leeway + 1}), policy=policy)
    assert error.claim == name
    assert error.valid_from == datetime.fromtimestamp(NOW + leeway + 1, UTC)
    assert error.reason == "NotBeforeError"


def test_nbf_and_iat_are_optional():
    """A token without nbf and iat is accepted when no age is asked for."""
    verify(token(payload=claims(iat=None, nbf=None)))


@pytest.mark.parametrize("name", INSTANTS)
@pytest.mark.parametrize("value", NO_INSTANT, ids=ascii)
def test_instants_are_numbers_in_range(name, value):
    """Anything but a finite number of seconds from 1970 to 9999 is refused, a boolean above all."""
    error = refused(errors.ClaimInvalid, **{**claims(), name: value})
    assert error.claim == name
    assert error.message == f"claim '{name}' is not a number of seconds between 1970 and 9999"


@pytest.mark.parametrize("name", INSTANTS)
@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e309", "9" * 5000])
def test_numbers_that_are_none_are_malformed(name, text):
    """What JSON does not have or no float can hold is a malformed token."""
    payload = b'{"iss":"%s","aud":"%s",' % (ISSUER.encode(), AUDIENCE.encode())
    payload += b'"exp":%d,"%s":%s}' % (NOW + 900, name.encode() + b"_", b"1")
    payload = payload.replace(f'"{name}_":1'.encode(), f'"{name}":{text}'.encode())
    with pytest.raises(errors.MalformedToken):
        verify(token(payload=payload))


def test_the_whole_range_of_instants_is_accepted():
    """The first and last second are instants, as integers and as floats."""
    verify(token(payload=claims(exp=MAX_INSTANT, iat=0, nbf=0)))
    verify(token(payload=claims(exp=float(MAX_INSTANT), iat=0.0, nbf=-0.0)))
    error = refused(errors.TokenExpired, **claims(exp=0))
    assert error.expired_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert refused(errors.TokenNotYetValid, **claims(iat=MAX_INSTANT)).claim == "iat"
    error = refused(errors.TokenNotYetValid, **claims(nbf=MAX_INSTANT))
    assert error.valid_from == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    verify(token(payload=claims(exp=MAX_INSTANT)), now=MAX_INSTANT, leeway=timedelta(seconds=1))


def test_maximum_age_counts_from_iat():
    """A token is accepted until just before iat + maximum age + leeway."""
    presented = token(payload=claims(iat=NOW - 100))
    verify(presented, max_age=timedelta(seconds=101))
    verify(presented, max_age=timedelta(seconds=96), leeway=timedelta(seconds=5))
    for policy in (
        {"max_age": timedelta(seconds=100)},
        {"max_age": timedelta(seconds=95), "leeway": timedelta(seconds=5)},
    ):
        with pytest.raises(errors.TokenTooOld) as caught:
            verify(presented, **policy)
        assert caught.value.expired_at == datetime.fromtimestamp(NOW - 100, UTC) + policy["max_age"]
        assert caught.value.claim == "iat"
        assert isinstance(caught.value, errors.TokenExpired)


def test_maximum_lifetime_counts_from_iat_to_exp():
    """A token may live as long as accepted and not a second longer."""
    verify(token(payload=claims(exp=NOW + 900)), max_lifetime=timedelta(seconds=900))
    error = refused(errors.ClaimInvalid, **claims(exp=NOW + 901), policy={"max_lifetime": timedelta(seconds=900)})
    assert error.claim == "exp"


@pytest.mark.parametrize("limit", ["max_age", "max_lifetime"])
def test_an_age_needs_iat(limit):
    """Where an age or lifetime is limited, a token that does not say when it was issued is refused."""
    error = refused(errors.ClaimMissing, **claims(iat=None), policy={limit: timedelta(days=1)})
    assert error.claim == "iat"


# --------------------------------------------------------------------------------------------- issuer and audience


@pytest.mark.parametrize(
    "issuer",
    [
        "",
        ISSUER + "/",
        ISSUER[:-1],
        ISSUER[1:],
        ISSUER.upper(),
        " " + ISSUER,
        ISSUER + "\x00",
        "https",
        [ISSUER],
        {ISSUER: 1},
        1,
        True,
        False,
    ],
    ids=ascii,
)
def test_the_issuer_is_compared_whole(issuer):
    """Prefixes, suffixes, substrings, other case and other types are another issuer."""
    error = refused(errors.IssuerNotAccepted, **claims(iss=issuer))
    assert (error.claim, error.message) == ("iss", "issuer not accepted")


def test_the_issuer_is_required():
    """A token that names no issuer is refused, and null is none."""
    assert refused(errors.ClaimMissing, **claims(iss=None)).claim == "iss"
    assert refused(errors.IssuerNotAccepted, **{**claims(), "iss": None}).claim == "iss"


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE], [AUDIENCE, "other"]])
def test_one_common_audience_is_enough(audience):
    """The token names the audience as text or among others, and one of the accepted ones is enough."""
    verify(token(payload=claims(aud=audience)))
    verify(token(payload=claims(aud=audience)), audience=["mine", AUDIENCE])
    verify(token(payload=claims(aud=audience)), audience=("mine", AUDIENCE))
    verify(token(payload=claims(aud=audience)), audience={AUDIENCE, "mine"})


@pytest.mark.parametrize(
    "audience",
    ["", "other", AUDIENCE[:-1], AUDIENCE[1:], AUDIENCE + "/", AUDIENCE.upper(), "h", [], ["other"], ["", "h"]],
)
def test_other_audiences_are_refused(audience):
    """Substrings, other case, no audience and others are refused."""
    for accepted in (AUDIENCE, [AUDIENCE, "mine"]):
        error = refused(errors.AudienceNotAccepted, **claims(aud=audience), policy={"audience": accepted})
        assert (error.claim, error.message) == ("aud", "audience not accepted")


@pytest.mark.parametrize(
    "audience", [1, True, {AUDIENCE: 1}, [[AUDIENCE]], [AUDIENCE, 1], [1, AUDIENCE], [None], [{}, AUDIENCE]]
)
def test_an_audience_is_text_or_a_list_of_text(audience):
    """An audience of any other shape is refused, even if the accepted one is among it."""
    assert refused(errors.ClaimInvalid, **claims(aud=audience)).claim == "aud"


def test_the_audience_is_required():
    """A token that names no audience is refused, and null is none."""
    assert refused(errors.ClaimMissing, **claims(aud=None)).claim == "aud"
    assert refused(errors.ClaimInvalid, **{**claims(), "aud": None}).claim == "aud"


@pytest.mark.parametrize("name", ["sub", "jti"])
def test_subject_and_id_are_text_where_present(name):
    """sub and jti are strings, and both may be absent."""
    verify(token(payload=claims(**{name: None})))
    verify(token(payload=claims(**{name: ""})))
    for value in (1, 1.5, True, [], ["1"], {}):
        error = refused(errors.ClaimInvalid, **claims(**{name: value}))
        assert (error.claim, error.message) == (name, f"claim '{name}' is not a string")
    assert refused(errors.ClaimInvalid, **{**claims(), name: None}).claim == name


# ------------------------------------------------------------------------------------------------------------ order


def test_checks_run_in_the_documented_order():
    """Of several things wrong, the first in order is reported."""
    wrong = {
        "iss": ("other", errors.IssuerNotAccepted),
        "aud": ("other", errors.AudienceNotAccepted),
        "exp": (NOW, errors.TokenExpired),
        "nbf": (NOW + 1, errors.TokenNotYetValid),
        "iat": (NOW + 1, errors.TokenNotYetValid),
        "sub": (1, errors.ClaimInvalid),
        "jti": (1, errors.ClaimInvalid),
    }
    names = list(wrong)
    for at, name in enumerate(names):
        error = refused(wrong[name][1], **claims(**{later: wrong[later][0] for later in names[at:]}))
        assert error.claim == name
    too_old = claims(iat=NOW - 100, exp=NOW + 9999, sub=1)
    limits = {"max_age": timedelta(seconds=50), "max_lifetime": timedelta(seconds=50)}
    refused(errors.TokenTooOld, **too_old, policy=limits)
    assert refused(errors.ClaimInvalid, **too_old, policy={"max_lifetime": timedelta(seconds=50)}).claim == "exp"


# ------------------------------------------------------------------------------------------------------------- type


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "application/jwt", "APPLICATION/JWT"])
def test_by_default_a_token_is_a_jwt(typ):
    """Without a required type, a header without typ or with that of a JWT is accepted."""
    header = header_of(private_key("HS256"), typ=typ)
    if typ is None:
        del header["typ"]
    verify(token(header=header))


@pytest.mark.parametrize(
    "typ", ["", "at+jwt", "JWT ", " JWT", "JWS", "JOSE", "text/jwt", "application/application/jwt", "/jwt"]
)
def test_by_default_another_type_is_refused(typ):
    """Without a required type, a token made for something else is refused."""
    with pytest.raises(errors.TokenTypeNotAccepted, match=r"^token type not accepted$"):
        verify(token(header=header_of(private_key("HS256"), typ=typ)))


@pytest.mark.parametrize("wanted", ["at+jwt", "AT+JWT", "application/at+jwt"])
@pytest.mark.parametrize("typ", ["at+jwt", "at+JWT", "application/at+jwt", "Application/AT+jwt"])
def test_types_are_compared_as_media_types(wanted, typ):
    """Case does not matter, and the prefix application/ may be left out (RFC 7515 §4.1.9)."""
    verify(token(header=header_of(private_key("HS256"), typ=typ)), token_type=wanted)


@pytest.mark.parametrize(
    "typ",
    [
        None,
        "",
        "JWT",
        "at+jwt ",
        " at+jwt",
        "at+jwt\x00",
        "t+jwt",
        "xat+jwt",
        "dpop+jwt",
        "logout+jwt",
        "text/at+jwt",
        "at+jwt;v=1",
        "at/jwt",
        "application/x/at+jwt",
        "application//at+jwt",
        "ａt+jwt",
    ],
    ids=ascii,
)
def test_a_required_type_is_required(typ):
    """A token of no type, of another or of a similar one is refused where one is required."""
    header = header_of(private_key("HS256"), typ=typ)
    if typ is None:
        del header["typ"]
    with pytest.raises(errors.TokenTypeNotAccepted):
        verify(token(header=header), token_type="at+jwt")


def test_foreign_letters_do_not_become_ascii_ones():
    """The Kelvin sign, whose lower case is k, does not spell a type with k."""
    with pytest.raises(errors.TokenTypeNotAccepted):
        verify(token(header=header_of(private_key("HS256"), typ="\u212aey+jwt")), token_type="key+jwt")


def test_a_required_jwt_must_be_stated():
    """Requiring JWT by name refuses a header without a type."""
    header = header_of(private_key("HS256"))
    verify(token(header=header), token_type="JWT")
    del header["typ"]
    with pytest.raises(errors.TokenTypeNotAccepted):
        verify(token(header=header), token_type="JWT")


# ----------------------------------------------------------------------------------------------------------- policy


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("issuer", "", errors.InvalidArgument),
        ("issuer", b"x", errors.WrongType),
        ("issuer", ["x"], errors.WrongType),
        ("audience", "", errors.InvalidArgument),
        ("audience", [], errors.InvalidArgument),
        ("audience", [""], errors.InvalidArgument),
        ("audience", ["a", 1], errors.WrongType),
        ("audience", [["a"]], errors.WrongType),
        ("audience", None, errors.WrongType),
        ("audience", b"abc", errors.WrongType),
        ("audience", bytearray(b"abc"), errors.WrongType),
        ("audience", 5, errors.WrongType),
        ("audience", {"a": 1}, errors.WrongType),
        ("token_type", "", errors.InvalidArgument),
        ("token_type", "at jwt", errors.InvalidArgument),
        ("token_type", "at+jwt\n", errors.InvalidArgument),
        ("token_type", "ａt+jwt", errors.InvalidArgument),
        ("token_type", "x" * 129, errors.InvalidArgument),
        ("token_type", b"at+jwt", errors.WrongType),
        ("token_type", ["at+jwt"], errors.WrongType),
        ("leeway", 5, errors.WrongType),
        ("leeway", 0.0, errors.WrongType),
        ("leeway", float("nan"), errors.WrongType),
        ("leeway", None, errors.WrongType),
        ("leeway", timedelta(microseconds=-1), errors.InvalidArgument),
        ("leeway", timedelta(seconds=60, microseconds=1), errors.InvalidArgument),
        ("max_age", 60, errors.WrongType),
        ("max_age", timedelta(0), errors.InvalidArgument),
        ("max_age", timedelta(seconds=-1), errors.InvalidArgument),
        ("max_lifetime", 60.0, errors.WrongType),
        ("max_lifetime", timedelta(0), errors.InvalidArgument),
    ],
    ids=ascii,
)
def test_a_senseless_policy_cannot_be_made(field, value, error):
    """Every field of a policy is checked when it is made, by the constructor and by verify before the token is read."""
    with pytest.raises(error, match=field):
        ClaimsPolicy(**{"issuer": ISSUER, "audience": AUDIENCE, field: value})
    with pytest.raises(error, match=field):
        verify("no token at all", **{field: value})


def test_the_longest_names_and_leeways_are_accepted():
    """The limits themselves are inside."""
    ClaimsPolicy(
        ISSUER, AUDIENCE, token_type="x" * 128, leeway=timedelta(seconds=60), max_age=timedelta(microseconds=1)
    )
    ClaimsPolicy(ISSUER, AUDIENCE, leeway=timedelta(0), max_lifetime=timedelta(days=9000))


def test_a_policy_is_frozen_and_keeps_nothing_of_the_callers():
    """A policy cannot be changed, nor by changing the list it was made of; equal policies are equal and hashable."""
    audiences = [AUDIENCE]
    policy = ClaimsPolicy(ISSUER, audiences)
    audiences.append("other")
    assert policy.audience == (AUDIENCE,)
    with pytest.raises(errors.AudienceNotAccepted):
        check_claims(claims(aud="other"), policy, NOW)
    for field in dataclasses.fields(policy):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(policy, field.name, None)
    assert policy == ClaimsPolicy(ISSUER, (AUDIENCE,))
    assert hash(policy) == hash(ClaimsPolicy(ISSUER, (AUDIENCE,)))
    assert policy != ClaimsPolicy(ISSUER, (AUDIENCE,), token_type="at+jwt")
    assert "_audiences" not in repr(policy)


def test_the_default_leeway_is_five_seconds():
    """Clocks may be five seconds apart unless stated otherwise."""
    presented = token(payload=claims(exp=NOW))
    policy = ClaimsPolicy(ISSUER, AUDIENCE)
    assert policy.leeway == timedelta(seconds=5)
    check_claims(claims(exp=NOW), policy, NOW + 4.9)
    with pytest.raises(errors.TokenExpired):
        check_claims(claims(exp=NOW), policy, NOW + 5)
    verify(presented, leeway=timedelta(seconds=5), now=NOW + 4)
