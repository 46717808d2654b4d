"""Where the elements of DER lie."""

import pytest

from tokenkeep.jose.der import INTEGER, SEQUENCE, Element, element, elements, leaves


def nested(depth):
    """Return an integer within so many sequences."""
    data = b"\2\1\7"
    for _ in range(depth):
        data = bytes([SEQUENCE, len(data)]) + data
    return data


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\5\0", Element(5, 2, 2)),
        (b"\2\1\7", Element(2, 2, 3)),
        (b"\2\1\7more", Element(2, 2, 3)),
        (b"\4\x7f" + bytes(127), Element(4, 2, 129)),
        (b"\4\x81\x80" + bytes(128), Element(4, 3, 131)),
        (b"\4\x84\0\0\0\1x", Element(4, 6, 7)),
    ],
)
def test_elements_are_found(data, found):
    """An element is found with its tag and its content, however its length is spelt, at any position."""
    assert element(data, 0) == found
    assert element(b"before" + data, 6) == Element(found.tag, found.start + 6, found.end + 6)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\5",
        b"\2\1",
        b"\2\2\7",
        b"\4\x80",
        b"\4\x80\0\0",
        b"\4\x80" + bytes(128),
        b"\4\x81",
        b"\4\x82\1",
        b"\4\x81\x80" + bytes(127),
        b"\4\x85\0\0\0\0\1x",
        b"\4\xff" + bytes(200),
    ],
)
def test_what_does_not_fit_is_no_element(data):
    """An element that ends early, is endless or has a length of more than four bytes is none."""
    assert element(data, 0) is None


def test_a_range_is_filled_exactly():
    """Elements fill a range to its end, neither less nor more, and nothing is filled by nothing."""
    data = b"\2\1\7\5\0\4\1x"
    assert [each.tag for each in elements(data, 0, 8)] == [2, 5, 4]
    assert [each.tag for each in elements(data, 3, 5)] == [5]
    assert elements(data, 0, 0) == []
    for end in (1, 2, 4, 6, 7):
        assert elements(data, 0, end) is None
    assert elements(data, 1, 8) is None


def test_the_first_tag_is_that_of_a_sequence():
    """A sequence has a first tag, an empty one and what is no sequence have none."""
    assert Element(SEQUENCE, 2, 5).first_tag(b"\x30\3\2\1\7") == INTEGER
    assert Element(SEQUENCE, 2, 2).first_tag(b"\x30\0\2") == 0
    assert Element(4, 2, 5).first_tag(b"\4\3\2\1\7") == 0


def test_leaves_are_found_in_order_to_a_depth():
    """What is no sequence is found in order at every level, eight of them deep, and a broken level spoils all."""
    data = b"\x30\3\2\1\1" + b"\5\0" + b"\x30\5\x30\3\2\1\2"
    assert leaves(data, 0, len(data)) == [(2, b"\1"), (5, b""), (2, b"\2")]
    assert leaves(nested(7), 0, len(nested(7))) == [(2, b"\7")]
    assert leaves(nested(8), 0, len(nested(8))) is None
    assert leaves(b"\x30\3\2\2\1", 0, 5) is None
    assert leaves(data, 0, len(data) - 1) is None
    assert leaves(b"", 0, 0) == []
