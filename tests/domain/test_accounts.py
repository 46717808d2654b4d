"""Names, roles and passwords: what is one name, what may be one, and what a password must be."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.domain.accounts import (
    TEMPORARY_FOR,
    Account,
    PasswordPolicy,
    check_new_password,
    normalise_password,
    parse_name,
    parse_role,
    password_end,
    require_other,
    require_successor,
)
from tokenkeep.domain.errors import InvalidField, PasswordChangeRequired
from tokenkeep.domain.identifiers import account_id

ADA = parse_name("Ada")
POLICY = PasswordPolicy()


def key(text: str) -> str:
    """Return the key under which a name is unique."""
    return parse_name(text).key


@pytest.mark.parametrize(
    ("written", "display", "unique"),
    [
        ("Ada", "Ada", "ada"),
        ("ada lovelace", "ada lovelace", "ada lovelace"),
        ("Ada@Example.ORG", "Ada@Example.ORG", "ada@example.org"),
        ("Jose\u0301", "Jos\u00e9", "jos\u00e9"),
        ("张伟", "张伟", "张伟"),
        ("x" * 128, "x" * 128, "x" * 128),
        ("a", "a", "a"),
    ],
)
def test_name_has_a_form_to_show_and_one_to_compare(written: str, display: str, unique: str):
    """A name is shown as its owner writes it and compared without case."""
    name = parse_name(written)
    assert (name.display, name.key) == (display, unique)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Admin", "ADMIN"),
        ("Admin", "ａｄｍｉｎ"),  # full-width letters
        ("straße", "STRASSE"),
        ("Jos\u00e9", "JOSE\u0301"),
        ("ﬁona", "Fiona"),  # a ligature
        ("K", "\u212a"),  # the sign for kelvin
        ("Ⅸ", "ix"),  # a Roman numeral
        ("\u03c3", "\u03c2"),  # the two small sigmas
        ("Å", "\u212b"),  # the sign for ångström
        ("x²", "X2"),
        ("Ada Lovelace", "Ada\u00a0Lovelace"),  # no-break space
    ],
)
def test_names_that_read_the_same_collide(one: str, other: str):
    """Two spellings of one name are one name."""
    assert key(one) == key(other)


@pytest.mark.parametrize(("one", "other"), [("Ada", "Adb"), ("ada", "ad a"), ("jose", "josé"), ("i", "ı")])
def test_different_names_stay_different(one: str, other: str):
    """Accents and letters make a difference."""
    assert key(one) != key(other)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(" ", id="a space"),
        pytest.param(" Ada", id="leading space"),
        pytest.param("Ada ", id="trailing space"),
        pytest.param("Ada\u00a0", id="trailing no-break space"),
        pytest.param("\u3000Ada", id="leading ideographic space"),
        pytest.param("Ada\n", id="line break"),
        pytest.param("A\tda", id="tab"),
        pytest.param("A\0da", id="NUL"),
        pytest.param("A\x1b[31mda", id="terminal control"),
        pytest.param("A\x7fda", id="delete"),
        pytest.param("A\x85da", id="C1 control"),
        pytest.param("A\u200bda", id="zero-width space"),
        pytest.param("A\u200cda", id="zero-width non-joiner"),
        pytest.param("A\u200dda", id="zero-width joiner"),
        pytest.param("A\u2060da", id="word joiner"),
        pytest.param("\ufeffAda", id="byte order mark"),
        pytest.param("A\u00adda", id="soft hyphen"),
        pytest.param("\u202eAda", id="right-to-left override"),
        pytest.param("A\u2066da", id="isolate"),
        pytest.param("A\u200fda", id="right-to-left mark"),
        pytest.param("A\u2028da", id="line separator"),
        pytest.param("A\u2029da", id="paragraph separator"),
        pytest.param("A\ud800da", id="surrogate"),
        pytest.param("A\ue000da", id="private use"),
        pytest.param("A\U000e0041da", id="tag character"),
        pytest.param("A\u0378da", id="unassigned"),
        pytest.param("Ada\u3164", id="Hangul filler"),
        pytest.param("Ada\uffa0", id="half-width Hangul filler"),
        pytest.param("A\u115f\u1160da", id="Hangul fillers of syllables"),
        pytest.param("A\u034fda", id="combining grapheme joiner"),
        pytest.param("Ada\u2800", id="Braille blank"),
        pytest.param("A\u17b4da", id="Khmer inherent vowel"),
        pytest.param("A\u180bda", id="Mongolian variation selector"),
        pytest.param("Ada\ufe0f", id="variation selector"),
        pytest.param("Ada\U000e0100", id="supplementary variation selector"),
        pytest.param("x" * 129, id="too long"),
        pytest.param("x" * 100_000, id="very long"),
    ],
)
def test_name_that_deceives_is_refused(text: str):
    """Names with characters that cannot be seen, with padding, or without end are refused, and the field is named."""
    with pytest.raises(InvalidField) as refusal:
        parse_name(text)
    assert refusal.value.field == "name"


@given(st.text(st.characters(), max_size=40))
def test_key_of_a_key_is_the_key(text: str):
    """Comparing is stable: a name spelt as its own key is the same name."""
    try:
        unique = parse_name(text).key
    except InvalidField:
        return
    try:
        assert parse_name(unique).key == unique
    except InvalidField:
        assert unique != unique.strip() or len(unique) > 128  # "¨" becomes a space and a mark


@given(st.text(st.characters(), max_size=40))
def test_spelling_of_a_name_does_not_matter(text: str):
    """Every normal form of a name is the same name."""
    try:
        unique = parse_name(text).key
    except InvalidField:
        return
    for form in ("NFC", "NFD"):
        assert parse_name(unicodedata.normalize(form, text)).key == unique


@pytest.mark.parametrize("role", ["user", "admin", "a", "a1", "read-only", "read_only", "a" * 32])
def test_role_is_a_word(role: str):
    """A role of lower-case letters, digits, underscores and hyphens is taken as it is."""
    assert parse_role(role) == role


@pytest.mark.parametrize(
    "role",
    [
        "",
        "Admin",
        "ADMIN",
        "1st",
        "-a",
        "_a",
        "a b",
        "a,b",
        "user\n",
        "\nuser",
        "a\0",
        "ädmin",
        "a" * 33,
        "admin ",
        "*",
    ],
)
def test_other_roles_are_refused(role: str):
    """Anything else is no role, and the field is named."""
    with pytest.raises(InvalidField) as refusal:
        parse_role(role)
    assert refusal.value.field == "role"


@pytest.mark.parametrize(
    "password",
    [
        "x" * 14 + "y",
        "x" * 64,
        "x" * 1024,
        "correct horse battery staple",
        "correcthorsebattery",  # lower case alone: there are no composition rules
        "🐎🔋📎✅🐎🔋📎✅🐎🔋📎✅🐎🔋📎",  # 15 characters
        "with\0nul and more of it",
        "  spaces are part of it  ",
    ],
)
def test_password_of_a_good_length_is_taken(password: str):
    """15 to 1,024 characters of any kind make a password, and nothing of it is changed."""
    assert check_new_password(password, ADA, POLICY) == password


@pytest.mark.parametrize("password", ["", "x", "x" * 14, "🐎" * 14, "x" * 1025, "x" * 1_048_576])
def test_password_of_another_length_is_refused(password: str):
    """14 characters are too few and 1,025 too many."""
    with pytest.raises(InvalidField) as refusal:
        check_new_password(password, ADA, POLICY)
    assert refusal.value.field == "password"
    assert "characters" in refusal.value.sentence


def test_length_counts_characters_as_they_are_stored():
    """A password that shrinks below the least length when it is normalised is too short."""
    decomposed = "e\u0301" * 14
    with pytest.raises(InvalidField):
        check_new_password(decomposed, ADA, POLICY)
    assert len(check_new_password(decomposed + "e\u0301", ADA, POLICY)) == 15


@pytest.mark.parametrize(
    "password", ["AdaAdaAdaAdaAda", "adaadaadaadaada", "Ada Ada Ada Ada Ada", "ADA" * 100, " " * 15]
)
def test_password_made_of_the_name_is_refused(password: str):
    """The name over and over, or nothing but spaces, is no password."""
    with pytest.raises(InvalidField, match="name"):
        check_new_password(password, ADA, POLICY)


def test_password_may_contain_the_name():
    """The name as a part of more is allowed."""
    assert check_new_password("Ada likes engines", ADA, POLICY)


def test_refusal_does_not_quote_the_password():
    """No refusal shows what was typed."""
    for password in ("short-one", "Ada" * 5, "x" * 1025):
        with pytest.raises(InvalidField) as refusal:
            check_new_password(password, ADA, POLICY)
        assert password not in str(refusal.value)


def test_two_spellings_of_a_password_agree():
    """Keyboards that compose characters and ones that do not type the same password."""
    assert normalise_password("pass\u00e9 compos\u00e9") == normalise_password("passe\u0301 compose\u0301")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("secret", "Secret"),
        ("secret", "secret "),
        ("secret", " secret"),
        ("secret", "secret\n"),
        ("secret", "secret\0"),
        ("secret\0one", "secret\0two"),
        ("x" * 72 + "a", "x" * 72 + "b"),
        ("ﬁ", "fi"),
        ("²", "2"),
        ("a", "а"),  # Latin and Cyrillic
    ],
)
def test_passwords_that_differ_stay_different(one: str, other: str):
    """Case, spaces, compatibility forms and everything after NUL or byte 72 are significant."""
    assert normalise_password(one) != normalise_password(other)


@given(st.text(st.characters(), max_size=60))
def test_normalising_a_password_is_stable(text: str):
    """A password normalises to a fixed point, in whichever form it is typed, unless it is no text."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        with pytest.raises(InvalidField):
            normalise_password(text)
        return
    once = normalise_password(text)
    assert normalise_password(once) == once
    assert normalise_password(unicodedata.normalize("NFD", text)) == once


def test_password_that_is_no_text_is_refused():
    """A lone surrogate cannot be stored, hashed or compared."""
    with pytest.raises(InvalidField):
        normalise_password("long enough but \udcff broken")


def test_longest_password_is_refused_at_login_too():
    """The bound holds for every password that is presented, before any hashing."""
    assert normalise_password("x" * 1024)
    with pytest.raises(InvalidField):
        normalise_password("x" * 1025)


def test_short_password_may_be_presented():
    """A login with a short password is refused by its hash and not by its length, since rules change."""
    assert normalise_password("") == ""


@pytest.mark.parametrize("length", [8, 15, 64])
def test_policy_allows_its_bounds(length: int):
    """The least length may be set between 8 and 64."""
    assert PasswordPolicy(length).min_length == length


@pytest.mark.parametrize("length", [-1, 0, 7, 65])
def test_policy_refuses_other_lengths(length: int):
    """A least length that protects nobody, or that nobody can meet, is a mistake."""
    with pytest.raises(ValueError, match="between 8 and 64"):
        PasswordPolicy(length)


def test_repr_shows_no_hash():
    """The hash of an account's password is not in its repr."""
    account = Account(account_id(bytes(16)), "Ada", "ada", "user", 1, 0, "$argon2id$hash")
    assert "argon2id" not in repr(account)


@pytest.mark.parametrize(("disabled_at", "disabled"), [(None, False), (0, True), (5, True)])
def test_account_is_disabled_since_an_instant(disabled_at: int | None, disabled: bool):
    """Any instant, even 0, means disabled."""
    account = Account(account_id(bytes(16)), "Ada", "ada", "user", 1, 0, disabled_at=disabled_at)
    assert account.disabled is disabled


def test_temporary_passwords_end_after_a_day():
    """A password that is set for a while ends 24 hours later; any other has no end."""
    assert TEMPORARY_FOR == 24 * 60 * 60 * 1000
    assert password_end(1_000, temporary=True) == 86_401_000
    assert password_end(1_000, temporary=False) is None


@pytest.mark.parametrize(
    ("expires_at", "disabled_at", "temporary", "expired", "checked"),
    [
        (None, None, False, False, "hash"),
        (101, None, True, False, "hash"),
        (100, None, True, True, None),
        (99, None, True, True, None),
        (0, None, True, True, None),
        (None, 7, False, False, None),
        (101, 7, True, False, None),
    ],
)
def test_what_is_checked_at_an_instant(
    expires_at: int | None, disabled_at: int | None, temporary: bool, expired: bool, checked: str | None
):
    """At instant 100: a temporary password counts before its end, and nobody's counts in a disabled account."""
    account = Account(
        account_id(bytes(16)), "Ada", "ada", "user", 1, 0, "hash", disabled_at, password_expires_at=expires_at
    )
    assert account.has_temporary_password is temporary
    assert account.password_expired(100) is expired
    assert account.hash_to_check(100) == checked


def test_an_account_without_a_password_has_nothing_to_check():
    """Where there is no hash, none is returned at any instant."""
    assert Account(account_id(bytes(16)), "Ada", "ada", "user", 1, 0).hash_to_check(0) is None


def test_a_temporary_password_needs_a_successor():
    """It is refused without a new one; a lasting password is refused with one, under the field's name."""
    lasting = Account(account_id(bytes(16)), "Ada", "ada", "user", 1, 0, "hash")
    temporary = Account(account_id(bytes(16)), "Ada", "ada", "user", 1, 0, "hash", password_expires_at=5)
    assert require_successor(temporary, "") == ""
    with pytest.raises(PasswordChangeRequired):
        require_successor(temporary, None)
    with pytest.raises(InvalidField, match="POST /password") as refusal:
        require_successor(lasting, "new")
    assert refusal.value.field == "newPassword"


def test_a_successor_is_another_one():
    """The same text is refused under the field's name; any other, also in another case, is not."""
    require_other("Secret", "secret", field="newPassword")
    with pytest.raises(InvalidField) as refusal:
        require_other("secret", "secret", field="newPassword")
    assert refusal.value.field == "newPassword"
