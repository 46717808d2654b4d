"""Just enough DER (X.690 §10) to tell structures apart: where elements lie, never what they mean.

Nothing here reads a key; that is the work of `cryptography`.
"""

from typing import Final, NamedTuple

__all__ = ["INTEGER", "OBJECT_IDENTIFIER", "SEQUENCE", "Element", "element", "elements", "leaves"]

INTEGER: Final = 0x02
OBJECT_IDENTIFIER: Final = 0x06
SEQUENCE: Final = 0x30

_MAX_DEPTH: Final = 8


class Element(NamedTuple):
    """Where an element lies in the bytes around it: its tag, and its content from `start` up to `end`."""

    tag: int
    start: int
    end: int

    def first_tag(self, data: bytes) -> int:
        """Return the tag of the first element inside of a sequence; 0 for what is empty or no sequence."""
        return data[self.start] if self.tag == SEQUENCE and self.start < self.end else 0


def element(data: bytes, position: int) -> Element | None:
    """Return the element at a position, or None when none fits there."""
    if len(data) - position < 2:
        return None
    tag, length = data[position], data[position + 1]
    start = position + 2
    if length >= 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4:
            return None
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
    end = start + length  # beyond the data, too, where the octets of the length are cut off
    return Element(tag, start, end) if end <= len(data) else None


def elements(data: bytes, start: int, end: int) -> list[Element] | None:
    """Return the elements that fill a range of bytes exactly, or None when they do not."""
    found = []
    while start < end:
        child = element(data, start)
        if child is None or child.end > end:
            return None
        found.append(child)
        start = child.end
    return found


def leaves(data: bytes, start: int, end: int, *, depth: int = _MAX_DEPTH) -> list[tuple[int, bytes]] | None:
    """Return tag and content of everything in a range that is no sequence, in order, or None when it is no DER."""
    level = elements(data, start, end)
    if level is None or depth == 0:
        return None
    found: list[tuple[int, bytes]] = []
    for each in level:
        if each.tag == SEQUENCE:
            below = leaves(data, each.start, each.end, depth=depth - 1)
            if below is None:
                return None
            found += below
        else:
            found.append((each.tag, data[each.start : each.end]))
    return found
