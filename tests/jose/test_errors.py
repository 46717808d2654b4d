"""The error tree: codes, reasons, messages."""

import copy
import inspect
import pickle
import re
from datetime import UTC, datetime

import pytest

from tokenkeep import jose
from tokenkeep.jose import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]
INSTANT = datetime(2026, 1, 1, tzinfo=UTC)


def test_every_error_is_exported_and_drawn():
    """Each class of the module is in __all__, in the drawn tree and importable from the package."""
    defined = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__)
    for name in errors.__all__:
        assert re.search(rf"\b{name}\b", errors.__doc__)
        assert getattr(jose, name) is getattr(errors, name)


def test_codes_are_stable_and_unique():
    """Each error has its own snake_case code, made of its name."""
    for cls in CLASSES:
        assert cls.code == re.sub(r"(?<!^)([A-Z])", r"_\1", cls.__name__).lower().removesuffix(
            "_error"
        ) or cls.code in {
            "token_error",
            "claim_error",
            "usage_error",
            "malformed_base64",
        }
    assert len({cls.code for cls in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_reasons_are_those_of_the_wire(cls):
    """A token error's reason is one of the three names clients know; a usage error has none."""
    if issubclass(cls, errors.TokenError):
        expected = {errors.TokenExpired: "TokenExpiredError", errors.TokenTooOld: "TokenExpiredError"}
        expected[errors.TokenNotYetValid] = "NotBeforeError"
        assert cls.reason == expected.get(cls, "JsonWebTokenError")
    else:
        assert not hasattr(cls, "reason")


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_error_survives_pickle_and_copy(cls):
    """An error that crosses a process border keeps its message and what it carries."""
    error = cls("said")
    for name, value in (("claim", "exp"), ("expired_at", INSTANT), ("valid_from", INSTANT), ("kid", "k")):
        if hasattr(error, name):
            setattr(error, name, value)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert twin.message == str(twin) == "said"
        assert vars(twin) == vars(error)


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (errors.TokenExpired, "token expired"),
        (errors.InvalidSignature, "invalid signature"),
        (errors.MalformedToken, "malformed token"),
        (errors.AlgorithmNotAllowed, "algorithm not allowed"),
        (errors.AudienceNotAccepted, "audience not accepted"),
        (errors.IssuerNotAccepted, "issuer not accepted"),
        (errors.KeyRequired, "secret or key required"),
        (errors.KeyNotFound, "key not found"),
        (errors.TokenNotYetValid, "token not yet valid"),
        (errors.TokenTypeNotAccepted, "token type not accepted"),
    ],
)
def test_usual_causes_have_their_sentence(cls, sentence):
    """The message of the usual causes is the known sentence."""
    assert cls().message == sentence


def test_an_error_without_a_message_has_one():
    """Every token error says something when nothing is given, and a usage error can be silent."""
    for cls in CLASSES:
        if issubclass(cls, errors.TokenError):
            assert len(cls().message) > 5
    assert errors.InvalidArgument().message == ""


def test_errors_stand_where_callers_catch_them():
    """Key errors are ValueErrors, caller mistakes are ValueErrors or TypeErrors, and neither root catches the other."""
    assert issubclass(errors.InvalidKey, ValueError)
    assert issubclass(errors.InvalidArgument, ValueError)
    assert issubclass(errors.WrongType, TypeError)
    assert not issubclass(errors.UsageError, errors.TokenError)
    assert not issubclass(errors.TokenError, errors.UsageError)
    for cls in CLASSES:
        assert issubclass(cls, errors.TokenError) or issubclass(cls, errors.UsageError)
