"""Names that may be given to an account: one script or scripts that are written together, and nothing that deceives."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.domain.accounts import check_new_name, parse_name
from tokenkeep.domain.errors import InvalidField

MIXED = "The name must not mix letters of scripts that are not written together, such as Latin and Cyrillic"
LOOK_ALIKES = "The name must not consist of letters only that look like Latin ones"
STROKES = "The name must not hold strokes of other scripts that look like punctuation"
OTHER = "The name must consist of letters, the digits 0 to 9, single spaces and common punctuation"


@pytest.mark.parametrize(
    "name",
    [
        "Ada",
        "ADMIN",
        "ada lovelace",
        "Ada@Example.ORG",
        "o'brien-2_b+c",
        "[bold]Ada",
        "42",
        "Zoë",
        "Jose\u0301",
        "q\u0301",  # an accent that has no letter of its own with it
        "Yıldız",
        "Nguyễn Văn Đức",
        "Ẹ̀kọ́",
        "Ɛsi",
        "Marcel·lí",
        "ａｄａ",
        "ﬁona",
        "Анна",
        "Сергей Иванов 2",
        "Νίκος",
        "Άννα",
        "Հայկ",
        "ქეთი",
        "משה",
        "مُحَمَّد",
        "रवि",
        "রবি",
        "சிவா",
        "สมชาย",
        "ດວງ",
        "សុខ",
        "ሰላም",
        "张伟",
        "佐々木",
        "二〇",
        "一",
        "山田 タロウ たろう",
        "ﾔﾏﾀﾞ",
        "トム・クルーズ",
        "김철수",
        "ㄅㄆ",
        "李雷 Lee",
        "Mr.スター",
        "김John",
        "A太一",
    ],
)
def test_names_as_people_write_them_are_taken(name: str):
    """One script with accents, ASCII digits and punctuation, or East Asian scripts with each other and with Latin."""
    assert check_new_name(name) == parse_name(name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        pytest.param("\u0430dmin", MIXED, id="Cyrillic a in admin"),
        pytest.param("adm\u0456n", MIXED, id="Cyrillic i in admin"),
        pytest.param("\u0410DMIN", MIXED, id="Cyrillic capital A in ADMIN"),
        pytest.param("admin\u043e", MIXED, id="Cyrillic o after admin"),
        pytest.param("r\u03bf\u03bft", MIXED, id="Greek o in root"),
        pytest.param("\u0391dmin", MIXED, id="Greek capital A in Admin"),
        pytest.param("s\u0578ot", MIXED, id="Armenian n in a Latin word"),
        pytest.param("Ада Ada", MIXED, id="two words of two scripts"),
        pytest.param("Αλεξ Алекс", MIXED, id="Greek and Cyrillic"),
        pytest.param("עדה Ada", MIXED, id="Hebrew and Latin"),
        pytest.param("محمد7Ali", MIXED, id="Arabic and Latin"),
        pytest.param("Ada रवि", MIXED, id="Devanagari and Latin"),
        pytest.param("김철수 やまだ", MIXED, id="Korean and Japanese"),
        pytest.param("张伟 Иван", MIXED, id="Han and Cyrillic"),
        pytest.param("\u0430\u0441\u0435", LOOK_ALIKES, id="ace in Cyrillic"),
        pytest.param("\u043e\u043e7", LOOK_ALIKES, id="oo7 in Cyrillic"),
        pytest.param("\u0440\u0430\u0443\u0440\u0430\u04cf", LOOK_ALIKES, id="a payment service in Cyrillic"),
        pytest.param("\u041d\u0410\u0422\u0415", LOOK_ALIKES, id="HATE in Cyrillic capitals"),
        pytest.param("\u0391\u039d\u039d\u0391", LOOK_ALIKES, id="ANNA in Greek capitals"),
        pytest.param("\u03bd\u03bf\u03bf\u03bd", LOOK_ALIKES, id="voov in Greek"),
        pytest.param("\u0578\u0585\u0585\u0578", LOOK_ALIKES, id="noon in Armenian"),
        pytest.param("\u05e1\u05e1", LOOK_ALIKES, id="oo in Hebrew"),
        pytest.param("\u101d\u101d-\u101d", LOOK_ALIKES, id="oo-o in Burmese"),
        pytest.param("ad\u30fcmin", STROKES, id="a kana stroke as a hyphen"),
        pytest.param("ad\u4e00min", STROKES, id="the Han number one as a hyphen"),
        pytest.param("root\u30fb1", STROKES, id="a katakana dot as a dot"),
        pytest.param("\u30077", STROKES, id="the Han number zero as a digit"),
        pytest.param("ad\u2010min", OTHER, id="a hyphen that is not the keyboard's"),
        pytest.param("ad\u2013min", OTHER, id="a dash"),
        pytest.param("o\u2019brien", OTHER, id="a curly apostrophe"),
        pytest.param("o\u02bcbrien", OTHER, id="a letter like an apostrophe"),
        pytest.param("a\u00b7b", OTHER, id="a middle dot outside Catalan"),
        pytest.param("admin\u0589", OTHER, id="an Armenian full stop"),
        pytest.param("\u4e8c\u3002", OTHER, id="an ideographic full stop"),
        pytest.param("ada  b", OTHER, id="two spaces"),
        pytest.param("ada \u2003b", OTHER, id="two spaces, one of them wide"),
        pytest.param("ada\u1680b", OTHER, id="a space with a line in it"),
        pytest.param("ada\u09ea", OTHER, id="a Bengali digit like 8"),
        pytest.param("\u0639\u0644\u06f1", OTHER, id="Persian digits, some of which look like Arabic ones"),
        pytest.param("\u0251dmin", OTHER, id="the phonetic letter alpha"),
        pytest.param("admin\u01c3", OTHER, id="a click like an exclamation mark"),
        pytest.param("\u1d00dmin", OTHER, id="a small capital"),
        pytest.param("\u13aa\u13ac", OTHER, id="GO in Cherokee"),
        pytest.param("\ua4d0\ua4d1", OTHER, id="Lisu capitals"),
        pytest.param("\u2c9f\u2c9f", OTHER, id="Coptic"),
        pytest.param("ada\U0001f40e", OTHER, id="a picture"),
        pytest.param("ad\u25cb", OTHER, id="a circle"),
        pytest.param("ada\u20dd", OTHER, id="an enclosing circle"),
        pytest.param("1\u0301", OTHER, id="an accent on a digit"),
        pytest.param("\u0902ada", OTHER, id="a mark at the beginning"),
    ],
)
def test_name_that_could_pass_for_another_is_refused(name: str, sentence: str):
    """Mixed scripts, words of look-alikes, and characters that pass for common ones are refused, each with its rule."""
    with pytest.raises(InvalidField) as refusal:
        check_new_name(name)
    assert (refusal.value.field, refusal.value.sentence) == ("name", sentence)


@pytest.mark.parametrize("name", ["", " Ada", "A\u200bda", "\u202eAda", "A\0da", "x" * 129, "Ada\u3164"])
def test_what_is_no_name_is_no_new_name(name: str):
    """Whatever no name may be is refused before its look matters."""
    with pytest.raises(InvalidField) as refusal:
        check_new_name(name)
    with pytest.raises(InvalidField) as usual:
        parse_name(name)
    assert refusal.value.sentence == usual.value.sentence


ADMIN = [
    "admin",
    "ADMIN",
    "Admin",
    "ａｄｍｉｎ",
    "ⓐⓓⓜⓘⓝ",
    "𝐚𝐝𝐦𝐢𝐧",
    "\u0430dmin",
    "\u0410DMIN",
    "adm\u0456n",
    "ad\u200bmin",
]


@pytest.mark.parametrize("one", ADMIN)
@pytest.mark.parametrize("other", ADMIN)
def test_no_two_names_look_like_admin(one: str, other: str):
    """Of all spellings of one look, each is refused or is the same name as the others."""
    keys = set()
    for name in (one, other):
        try:
            keys.add(check_new_name(name).key)
        except InvalidField:
            continue
    assert keys <= {"admin"}


@pytest.mark.parametrize("name", ["\u0430dmin", "\u0430\u0441\u0435", "ada\U0001f40e", "o\u2019brien", "ada  b"])
def test_names_that_accounts_have_already_are_still_names(name: str):
    """What may not be given any more can still be looked for, under the key it always had."""
    assert parse_name(name).key == unicodedata.normalize("NFKC", name.casefold())


@given(st.text(st.characters(), max_size=40))
def test_any_text_is_taken_or_refused_as_a_name(text: str):
    """Whatever is typed is a name with its usual key, or is refused for the field."""
    try:
        taken = check_new_name(text)
    except InvalidField:
        return
    assert taken == parse_name(text)
