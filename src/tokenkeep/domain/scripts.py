"""Scripts: which letters may stand in a text that people tell from others by its look.

A text is held to the 'highly restrictive' level of UTS 39 §5.2, to the recommended scripts of UAX 31, and may not be
made of look-alikes of Latin letters. Not here: how names are compared (`domain.accounts`).
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from types import MappingProxyType
from typing import Final

_LATIN: Final = "LATIN"
_HAN: Final = "HAN"
_KANA: Final = "KANA"
_HANGUL: Final = "HANGUL"
_BOPOMOFO: Final = "BOPOMOFO"

# The first word of a character's name in Unicode tells its script.
_SCRIPTS: Final = MappingProxyType(
    {
        **{word: word for word in ("ARABIC", "ARMENIAN", "CYRILLIC", "ETHIOPIC", "GEORGIAN", "GREEK", "HEBREW")},
        **{word: word for word in ("KHMER", "LAO", "MYANMAR", "SINHALA", "THAANA", "THAI", "TIBETAN")},
        **{word: word for word in ("BENGALI", "DEVANAGARI", "GUJARATI", "GURMUKHI", "KANNADA", "MALAYALAM", "ORIYA")},
        **{word: word for word in ("TAMIL", "TELUGU")},
        "LATIN": _LATIN,
        "CJK": _HAN,
        "IDEOGRAPHIC": _HAN,
        "HIRAGANA": _KANA,
        "KATAKANA": _KANA,
        "KATAKANA-HIRAGANA": _KANA,
        "HANGUL": _HANGUL,
        "BOPOMOFO": _BOPOMOFO,
    }
)
_TOGETHER: Final = tuple(
    frozenset({_LATIN, _HAN, others}) for others in (_KANA, _HANGUL, _BOPOMOFO)
)  # as Japanese, Korean and Chinese are written; no other two scripts meet in one word of any language
_EAST_ASIAN: Final = frozenset({_HAN, _KANA, _HANGUL, _BOPOMOFO})
_HAN_ZERO: Final = "\u3007"
_KATAKANA_DOT: Final = "\u30fb"  # between the parts of a foreign name
_CATALAN_DOT: Final = re.compile("(?<=l)\u00b7(?=l)", re.IGNORECASE)

# Latin letters of living orthographies. Left out: phonetic and archaic ones, many of which look like others.
_LAST_OF_EXTENDED_B: Final = "\u024f"
_ADDITIONAL: Final = ("\u1e00", "\u1eff")
_OF_AFRICAN_ALPHABETS: Final = "\u0253\u0254\u0256\u0257\u0259\u025b\u0263\u0268\u0269\u0272\u0289\u028a\u028b\u0292"
_ARCHAIC: Final = "\u0138\u0184\u0185\u01bd\u01bf\u01c0\u01c1\u01c2\u01c3"  # kra, tones, wynn, and clicks (look like !)

_LOOK_LIKE_LATIN: Final = frozenset(
    "\u0430\u0433\u0435\u043e\u043f\u0440\u0441\u0443\u0445\u044a\u044c\u0455\u0456\u0458"  # Cyrillic: a r e o n p …
    "\u0461\u0475\u04af\u04bb\u04bd\u04cf\u0501\u051b\u051d"  # Cyrillic: w v y h e l d q w
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u042c\u0405\u0406\u0408"  # capitals
    "\u0474\u04ae\u04c0\u050c\u051a\u051c"
    "\u03b1\u03b3\u03b7\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03c9"  # Greek: a y n i k v o p t u x w
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"  # capitals
    "\u0561\u0563\u0566\u056c\u0570\u0575\u0578\u057d\u0581\u0584\u0585\u053c\u0548\u054d\u054f\u0555"  # Armenian
    "\u05d5\u05df\u05e1\u0627\u0647\u06c1\u06d5"  # Hebrew and Arabic: strokes and rings
    "\u0b20\u0d20\u0e40\u0ec0\u101d\u10e7\u12d0\u110b\u1175\u3007\u4e28"  # strokes and rings elsewhere
)
_LOOK_LIKE_PUNCTUATION: Final = frozenset(
    f"{_KATAKANA_DOT}\u30fc\u4e00\u4e28\u4e36\u4e3f\u3007\u30ce\u3127\u1173\u1175"
)


def find_deception(text: str) -> str | None:
    """Return in a sentence what about a text could make it pass for another; None if nothing could.

    Args:
        text: in Unicode form NFKC, as it will be shown.
    """
    bare = _CATALAN_DOT.sub("", text)
    if "  " in bare or not all(map(_is_ordinary, bare)) or _has_lone_mark(bare):
        return "must consist of letters, the digits 0 to 9, single spaces and common punctuation"
    scripts = frozenset(filter(None, map(_script, bare)))
    if len(scripts) > 1 and not any(scripts <= group for group in _TOGETHER):
        return "must not mix letters of scripts that are not written together, such as Latin and Cyrillic"
    if _has_lone_stroke(bare):
        return "must not hold strokes of other scripts that look like punctuation"
    letters = [character for character in bare if not character.isascii()]
    if letters and _LATIN not in scripts and all(letter in _LOOK_LIKE_LATIN for letter in letters):
        return "must not consist of letters only that look like Latin ones"
    return None


def _is_ordinary(character: str) -> bool:
    if character.isascii() or character == _KATAKANA_DOT:
        return character.isprintable()
    script = _script(character)
    if unicodedata.category(character)[0] not in {"L", "M"}:
        return character == _HAN_ZERO
    if script == _LATIN:
        return _is_in_use(character)
    return script is not None or _is_accent(character)


def _is_in_use(letter: str) -> bool:
    """Tell whether a Latin letter is one that languages are written with."""
    first, last = _ADDITIONAL
    return letter in _OF_AFRICAN_ALPHABETS or (
        (letter <= _LAST_OF_EXTENDED_B or first <= letter <= last) and letter not in _ARCHAIC
    )


def _script(character: str) -> str | None:
    """Return the script of a letter; None for what all scripts share, and for scripts that are not accepted."""
    return None if character == _KATAKANA_DOT else _SCRIPTS.get(unicodedata.name(character, "").partition(" ")[0])


def _is_accent(character: str) -> bool:
    """Tell whether a mark is at home in every script."""
    return unicodedata.category(character) == "Mn" and unicodedata.name(character, "").startswith("COMBINING ")


def _has_lone_mark(text: str) -> bool:
    """Tell whether a mark stands on nothing that it could mark: then it looks like a character of its own."""
    categories = [unicodedata.category(character)[0] for character in text]
    return any(kind == "M" and before not in {"L", "M"} for before, kind in pairwise(["", *categories]))


def _has_lone_stroke(text: str) -> bool:
    """Tell whether a stroke stands beside plain characters, and beside no East Asian one that shows what it is."""
    padded = f" {text} "
    return any(
        character in _LOOK_LIKE_PUNCTUATION
        and any("!" <= neighbour <= "~" for neighbour in (before, after))
        and not any(map(_is_east_asian, (before, after)))
        for before, character, after in zip(padded, padded[1:], padded[2:], strict=False)
    )


def _is_east_asian(character: str) -> bool:
    return character not in _LOOK_LIKE_PUNCTUATION and _script(character) in _EAST_ASIAN
