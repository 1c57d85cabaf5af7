"""Walks the page headers of a Parquet column, so that what a page unpacks to is known before it is unpacked.

A file's footer says sizes too, but a reader allocates what each page's own header says. Headers are structs in Thrift's
compact protocol (thrift-compact-protocol.md); ids of fields as in parquet-format's parquet.thrift.
"""

from typing import Any, NamedTuple

_PLAIN = 0
_DATA_PAGE = 0
_STRUCT, _LIST, _SET, _BINARY, _DOUBLE, _BYTE = 12, 9, 10, 8, 7, 3
_MAX_DEPTH = 8


class Page(NamedTuple):
    """One data page: how many bytes it unpacks to, and how many values it holds."""

    unpacked: int
    values: int


def plain_pages(data: memoryview, start: int, length: int) -> list[Page]:
    """Lists the pages of the column chunk at data[start : start + length].

    Raises:
        ValueError: damaged, or holds anything but data pages (version 1) of plainly stored values: dictionaries and
            prefixes would let few bytes stand for many.
    """
    pages, place, end = [], start, start + length
    if not 0 <= start <= end <= len(data):
        raise ValueError("a column lies outside the file")
    while place < end:
        header, place = _struct(data, place, 0)
        kind, unpacked, packed, about = (header.get(k) for k in (1, 2, 3, 5))
        if kind != _DATA_PAGE or not isinstance(about, dict) or about.get(2) != _PLAIN:
            raise ValueError("a column is not stored plainly")
        if not (isinstance(unpacked, int) and isinstance(packed, int) and packed >= 0):
            raise ValueError("a page has no size")
        pages.append(Page(unpacked, int(about.get(1, -1))))
        place += packed
    return pages


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte, place = data[place], place + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a page header is cut off")


def _integer(data: memoryview, place: int) -> tuple[int, int]:
    value, place = _varint(data, place)
    return (value >> 1) ^ -(value & 1), place


def _struct(data: memoryview, place: int, depth: int) -> tuple[dict[int, Any], int]:
    fields: dict[int, Any] = {}
    number = 0
    if depth > _MAX_DEPTH:
        raise ValueError("a page header is nested too deeply")
    while True:
        if place >= len(data):
            raise ValueError("a page header is cut off")
        byte, place = data[place], place + 1
        if byte == 0:
            return fields, place
        step, kind = byte >> 4, byte & 15
        if step:
            number += step
        else:
            number, place = _integer(data, place)
        fields[number], place = _value(data, place, kind, depth)


def _value(data: memoryview, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):  # a boolean is in its type
        return kind == 1, place
    if kind == _STRUCT:
        return _struct(data, place, depth + 1)
    if kind == _BINARY:
        size, place = _varint(data, place)
        return None, place + size
    if kind in (_LIST, _SET):
        raise ValueError("a page header holds a list")
    if kind == _DOUBLE:
        return None, place + 8
    return (data[place], place + 1) if kind == _BYTE else _integer(data, place)
