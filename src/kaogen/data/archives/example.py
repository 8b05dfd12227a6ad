"""A ``tf.train.Example``, read from its bytes: the little of protobuf that it takes.

As TensorFlow's ``example.proto`` and ``feature.proto`` have it::

    Example   { Features features = 1; }
    Features  { map<string, Feature> feature = 1; }        an entry is { key = 1; value = 2; }
    Feature   { oneof { BytesList bytes_list = 1; FloatList float_list = 2;
                        Int64List int64_list = 3; } }
    BytesList { repeated bytes value = 1; }      Int64List { repeated int64 value = 1; }

The bytes are from outside: nothing is copied or built up that they merely claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_MOST_FIELDS = 100  # of one message; ours have three at most
_MOST_NUMBERS = 16

Feature = list[int] | memoryview | None
"""Whole numbers, one string of bytes, or None for what is neither."""


class MalformedError(ValueError):
    """These bytes are no example as looked for; the message completes "record 7 ..."."""


def read_example(data: bytes, wanted: Sequence[str]) -> dict[str, Feature]:
    """The wanted features of a serialized ``tf.train.Example``.

    Raises:
        MalformedError: it is none, or lacks a wanted feature.
    """
    found: dict[str, Feature] = {}
    names: list[str] = []
    for features in _parts(memoryview(data), 1):
        for entry in _parts(features, 1):
            key = bytes(_last(entry, 1)[:100]).decode("utf-8", "replace")
            names.append(key[:40])
            if key in wanted:
                found[key] = _feature(_last(entry, 2))
    for name in wanted:
        if name not in found:
            held = ", ".join(f'"{key}"' for key in names[:8]) or "none"
            raise MalformedError(f'has no feature "{name}", only: {held}')
    return found


def _feature(view: memoryview) -> Feature:
    strings = [part for bytes_list in _parts(view, 1) for part in _parts(bytes_list, 1)]
    if len(strings) == 1:
        return strings[0]
    numbers: list[int] = []
    for int64_list in _parts(view, 3):
        for kind, value in _fields(int64_list, 1):
            if kind == _BYTES:
                numbers.extend(_packed(value))
            elif kind == _VARINT:
                numbers.append(_varint(value, 0)[0])
            if len(numbers) > _MOST_NUMBERS:
                raise MalformedError("has too many numbers in a feature")
    return [_signed(number) for number in numbers] if numbers else None


def _packed(view: memoryview) -> Iterator[int]:
    at = 0
    for _ in range(_MOST_NUMBERS + 1):
        if at >= len(view):
            return
        number, at = _varint(view, at)
        yield number


def _last(view: memoryview, number: int) -> memoryview:
    """The field of that number; of several the last counts, as everywhere in protobuf."""
    return [memoryview(b""), *_parts(view, number)][-1]


def _parts(view: memoryview, number: int) -> Iterator[memoryview]:
    """The length-delimited fields of that number."""
    return (value for kind, value in _fields(view, number) if kind == _BYTES)


def _fields(view: memoryview, wanted: int) -> Iterator[tuple[int, memoryview]]:
    """Kind and bytes of each field of a message that has the wanted number."""
    at = 0
    for _ in range(_MOST_FIELDS):
        if at >= len(view):
            return
        key, at = _varint(view, at)
        number, kind = key >> 3, key & 7
        start = at
        if kind == _VARINT:
            at = _varint(view, at)[1]
        elif kind == _BYTES:
            length, start = _varint(view, at)
            at = start + length
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise MalformedError("is no tf.train.Example")
        if number == 0 or at > len(view):
            raise MalformedError("is no tf.train.Example")
        if number == wanted:
            yield kind, view[start:at]
    raise MalformedError("has too many fields")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, least first, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            break
        octet = view[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value & (2**64 - 1), at
    raise MalformedError("is no tf.train.Example")


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
