"""Strict base64url and strict JSON."""

import base64
import contextlib
import json
import time
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenkeep.jose.encoding import (
    MAX_DEPTH,
    decode_base64url,
    decode_object,
    encode_array,
    encode_base64url,
    encode_object,
)
from tokenkeep.jose.errors import InvalidArgument, MalformedBase64, MalformedJson, WrongType

# ------------------------------------------------------------------------------------------------------ base64url


@given(st.binary(max_size=200))
def test_base64url_round_trip(data):
    """What is spelt is read back, is the standard library's spelling, and has no padding."""
    text = encode_base64url(data)
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    assert decode_base64url(text) == decode_base64url(text.encode()) == data


@given(st.text(alphabet="AQgwEIMUYcosBZz09-_+/= \n\0.é", max_size=9))
@example("AB")
@example("AAB")
@example("A")
@example("AA==")
def test_base64url_has_one_spelling(text):
    """Whatever is read was spelt exactly as it would be written."""
    try:
        data = decode_base64url(text)
    except MalformedBase64:
        return
    assert encode_base64url(data) == text


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "AAAAA",
        "AA=",
        "AA==",
        "AAA=",
        "=",
        "====",
        "AB",
        "AAB",
        "A+AA",
        "A/AA",
        "AA AA",
        "AAAA\n",
        " AAAA",
        "AA.A",
        "A\x00AA",
        "\x00AAA",
        "AAA\x00",
        "AAAé",
        "AA\u2028A",
        "ＡＡＡＡ",
        "A-A\x80",
    ],
)
def test_base64url_refuses_other_spellings(text):
    """Padding, white space, the other alphabet, unused bits and foreign characters are refused."""
    for form in (text, text.encode()):
        with pytest.raises(MalformedBase64):
            decode_base64url(form)


@pytest.mark.parametrize("last", range(256))
def test_base64url_final_character_is_canonical(last):
    """Of all bytes in the last place of two and three, only those without stray bits are read."""
    for start in (b"A", b"AA"):
        text = start + bytes([last])
        padded = text.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(text) % 4)
        try:
            canonical = base64.urlsafe_b64encode(base64.b64decode(padded, validate=True)).rstrip(b"=") == text
        except ValueError:
            canonical = False
        if canonical:
            decode_base64url(text)
        else:
            with pytest.raises(MalformedBase64):
                decode_base64url(text)


def test_base64url_of_nothing_is_nothing():
    """The empty text is the canonical spelling of no bytes."""
    assert decode_base64url("") == decode_base64url(b"") == b""
    assert encode_base64url(b"") == ""


# ------------------------------------------------------------------------------------------------- reading objects


def reference(data: bytes, max_depth: int = MAX_DEPTH):
    """Read an object by the standard library, with our rules on top; None when it is refused."""

    def members(pairs):
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    def refuse(text):
        raise ValueError(text)

    def number(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError(text)
        return value

    def depth(value):
        if isinstance(value, dict):
            return 1 + max(map(depth, value.values()), default=0)
        if isinstance(value, list):
            return 1 + max(map(depth, value), default=0)
        return 0

    try:
        text = data.decode()
        value = json.loads(text, object_pairs_hook=members, parse_constant=refuse, parse_float=number)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and depth(value) <= max_depth else None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


@given(OBJECTS, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), (",\n", "\t:\r")]))
def test_objects_are_read_whatever_their_spelling(value, ascii_only, separators):
    """Each valid spelling of an object is read as the object."""
    data = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    assert decode_object(data) == value


FRAGMENTS = st.sampled_from(
    [
        '"a"',
        '"b"',
        '"\\u0061"',
        '":"',
        '"\\":"',
        '" :"',
        '"\\\\"',
        '"{["',
        "1",
        "-0",
        "1.5",
        "1e5",
        "1e999",
        "NaN",
        "null",
        "true",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        " ",
        "\n",
        "\t",
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"é"',
        "\ufeff",
        '"\x01"',
        "01",
    ],
)


@given(st.lists(FRAGMENTS, max_size=14))
@example(["{", '"a"', ":", "1", ",", '"a"', ":", "1", "}"])
@example(["{", '"a"', " ", ":", "1", ",", '"a"', ":", '":"', "}"])
@example(["{", '"a"', ":", "1", ",", '"\\u0061"', ":", "2", "}"])
@example(["{", '"a"', ":", "{", '"b"', ":", "1", ",", '"b"', ":", "1", "}", "}"])
def test_reading_agrees_with_a_reference(fragments):
    """Shuffled pieces of JSON are read or refused exactly as a slow and obvious reader does."""
    data = "".join(fragments).encode("utf-8", "surrogatepass")
    expected = reference(data)
    try:
        value = decode_object(data)
    except MalformedJson:
        value = None
    assert value == expected


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c:", '"', "é"]), st.sampled_from(["1", '":"', '"a"', "[]", "{}"])),
        max_size=4,
    )
)
def test_duplicates_are_always_seen(members):
    """An object is refused exactly when a name occurs twice, in a nested object too and however names are spelt."""
    names = [name for name, _ in members]
    inner = ",".join(
        json.dumps(name, ensure_ascii=index % 2 == 0) + ":" + value for index, (name, value) in enumerate(members)
    )
    for data in ("{" + inner + "}", '{"nested":[{' + inner + "}]}"):
        if len(set(names)) == len(names):
            decode_object(data.encode())
        else:
            with pytest.raises(MalformedJson, match="twice"):
                decode_object(data.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"{}"',
        b"1",
        b"{",
        b"{}x",
        b"{}{}",
        b"{}\0",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        "{}".encode("utf-16-le"),
        "{}".encode("utf-32"),
        b"\x0b{}",
        b"\xc2\xa0{}",
        b'{"a":1,}',
        b"{'a':1}",
        b"{a:1}",
        b'{"a" 1}',
        b'{"a":}',
        b'{"a":1 "b":2}',
        b'{"a":01}',
        b'{"a":1.}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'{"a":0x1}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e309}',
        b'{"a":-1e309}',
        b'{"a":1e' + b"9" * 5000 + b"}",
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00"}',
        b'{"a":"\\ud800\\u0041"}',
        b'{"a":"\\ud800\\ud800"}',
        b'{"\\ud800":1}',
        b'{"\\udfff":1}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"\xed\xa0\x80":1}',
        b'{"a":"\xc0\x80"}',
        b'{"a":"\xff"}',
        b'{"\xff":1}',
        b'{"a":"\xf4\x90\x80\x80"}',
        b'{"a":"\n"}',
        b'{"a":"\x1f"}',
        b'{"a":"\\x41"}',
        b'{"a":"\\u12"}',
        b'{"a":TRUE}',
        b'{"a":1}/**/',
    ],
)
def test_malformed_objects_are_refused(data):
    """Anything but one strict object in strict UTF-8 is refused with the one documented error."""
    with pytest.raises(MalformedJson):
        decode_object(data)


@pytest.mark.parametrize("length", [*range(4295, 4305), 5000, 100_000])
@pytest.mark.parametrize("sign", [b"", b"-"])
def test_huge_integers_raise_nothing_else(length, sign):
    """An integer of thousands of digits is read or refused; no ValueError of the interpreter leaks."""
    with contextlib.suppress(MalformedJson):
        decode_object(b'{"a":' + sign + b"9" * length + b"}")


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"[1]", ": not an object"), (b"{", ""), (b'{"a":' + b"[" * 9999 + b"]" * 9999 + b"}", ": nested too deep")],
    ids=["array", "broken", "deep"],
)
def test_what_is_wrong_with_a_text_is_told(data, said):
    """The message tells an array from broken JSON and from what is nested too deep to be read."""
    with pytest.raises(MalformedJson) as caught:
        decode_object(data)
    assert caught.value.message == f"malformed JSON{said}"


def test_nesting_is_bounded_exactly():
    """The greatest depth is read and one more is refused, for objects, arrays and brackets inside strings."""
    assert MAX_DEPTH == 32
    inside = MAX_DEPTH - 1
    arrays = b'{"a":' + b"[" * inside + b"]" * inside + b"}"
    objects = b'{"a":' * inside + b"{}" + b"}" * inside
    for data in (arrays, objects, b'{"a":"' + b"[{" * 100 + b'"}', b'{"b":"[[[[[",' + arrays[1:]):
        decode_object(data)
    for data in (
        arrays.replace(b"[]", b"[[]]"),
        objects.replace(b"{}", b'{"a":{}}'),
        objects.replace(b"{}", b'{"a":[]}'),
    ):
        with pytest.raises(MalformedJson, match="deep"):
            decode_object(data)


def test_width_is_not_depth():
    """Many arrays side by side are one level."""
    assert len(decode_object(b'{"a":[' + b",".join([b"[]"] * 500) + b"]}")["a"]) == 500


@pytest.mark.parametrize(
    "unit", [b"[", b'{"a":', b'{"a":[', b"[[],", b'"', b'\\"', b'"\\"', b'"a":1,', b"1", b" ", b'{"a":"']
)
def test_hostile_repetition_is_refused_in_linear_time(unit):
    """A megabyte of any repeated piece is refused soon, whatever it is wrapped in."""
    body = unit * (1_000_000 // len(unit))
    started = time.process_time()
    for data in (body, b'{"a":' + body, b'{"a":"' + body + b'"}', b'{"a" :"' + body):
        with contextlib.suppress(MalformedJson):
            decode_object(data)
    assert time.process_time() - started < 5


def test_no_error_quotes_the_input():
    """A message of refusal never repeats what was sent."""
    for data in (b'{"a":"sesame\xff"}', b'{"sesame":1,"sesame":1}', b'{"a":sesame}', b'["sesame"]'):
        with pytest.raises(MalformedJson) as caught:
            decode_object(data)
        assert "sesame" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("data", ["{}", bytearray(b"{}"), memoryview(b"{}"), None, {}])
def test_only_bytes_are_read(data):
    """Text, buffers and objects are a caller's mistake."""
    with pytest.raises(WrongType):
        decode_object(data)


# ------------------------------------------------------------------------------------------------- writing objects


def repr_or_size(value):
    """Name a case; an integer may be too long to be printed."""
    return f"{value.bit_length()} bits" if isinstance(value, int) else ascii(value)


@given(OBJECTS)
def test_written_objects_are_read_back(value):
    """What is written is strict JSON for the same object, compact, and read back equal."""
    data = encode_object(value)
    assert decode_object(data) == json.loads(data) == value


def test_written_objects_keep_the_order_and_take_views():
    """Members stay in their order, and read-only mappings and tuples are written like dicts and lists."""
    value = MappingProxyType({"b": (1, MappingProxyType({"c": ()})), "a": [True, None, 1.5]})
    assert encode_object(value) == b'{"b":[1,{"c":[]}],"a":[true,null,1.5]}'


@pytest.mark.parametrize(
    "value", [b"x", {1}, object(), 1j, {1: 2}, {None: 2}, {"a": {b"x": 1}}, [b"x"], {"a": (object(),)}, bytearray(b"x")]
)
def test_what_json_lacks_is_a_type_error(value):
    """Values and names that JSON does not have are refused, never converted."""
    with pytest.raises(WrongType):
        encode_object({"a": value})


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), "\ud800", "\udc00a", 10**5000, -(10**5000)], ids=repr_or_size
)
def test_what_cannot_be_spelt_is_a_value_error(value):
    """NaN, infinity, lone surrogates and boundless integers are refused."""
    for mapping in ({"a": value}, {"a": [{"b": value}]}):
        with pytest.raises(InvalidArgument):
            encode_object(mapping)
    with pytest.raises(InvalidArgument):
        encode_object({"\ud800": 1})


def test_what_could_not_be_read_back_is_not_written():
    """The depth that is read is the depth that is written, and a cycle ends in an error."""
    value: dict = {}
    for _ in range(MAX_DEPTH - 1):
        value = {"a": value}
    assert decode_object(encode_object(value)) == value
    with pytest.raises(InvalidArgument, match="deep"):
        encode_object({"a": value})
    cycle: dict = {}
    cycle["a"] = cycle
    with pytest.raises(InvalidArgument, match="deep"):
        encode_object(cycle)


@pytest.mark.parametrize("value", [[], "x", None, 1, [("a", 1)]])
def test_only_mappings_are_written_as_objects(value):
    """Anything but a mapping is a caller's mistake."""
    with pytest.raises(WrongType):
        encode_object(value)


def test_arrays_are_written_compactly():
    """A list of texts and integers is written as one JSON array."""
    assert encode_array(["a", 1, "é"]) == encode_array(("a", 1, "é")) == '["a",1,"é"]'.encode()
    with pytest.raises(InvalidArgument):
        encode_array(["\ud800"])
    with pytest.raises(WrongType):
        encode_array([b"a"])


# -------------------------------------------------------------------------------------------------------- freezing


@given(OBJECTS)
def test_frozen_objects_equal_and_cannot_be_changed(value):
    """Freezing changes arrays to tuples and nothing else, and leaves nothing that can be changed."""

    def thawed(item):
        if isinstance(item, MappingProxyType):
            return {name: thawed(child) for name, child in item.items()}
        if isinstance(item, tuple):
            return [thawed(child) for child in item]
        assert not isinstance(item, dict | list)
        return item

    frozen = decode_object(encode_object(value), frozen=True)
    assert {name: thawed(item) for name, item in frozen.items()} == value
    with pytest.raises(MalformedJson):
        decode_object(encode_object(value)[:-1], frozen=True)


def test_the_outermost_object_belongs_to_the_caller():
    """Reading an object twice gives two, and changing one does not change the other."""
    first, second = (decode_object(b'{"a":1}', frozen=True) for _ in range(2))
    first["a"] = 2
    assert second == {"a": 1}
