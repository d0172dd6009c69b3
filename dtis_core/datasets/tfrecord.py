"""TFRecord files of `tf.train.Example` messages, read one record at a time without TensorFlow.

A record is framed as length (8 bytes), CRC of the length (4), payload, CRC of the payload (4), all
little-endian; the CRCs are CRC-32C, masked. The payload is a protocol buffer of four nested
messages: Example, Features, Feature and one list of bytes, floats or 64-bit integers.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

import google_crc32c

from dtis_core.errors import DtisError
from dtis_core.storage.files import check_regular

Feature = list[bytes] | list[int] | list[float]

GZIP_MAGIC = b"\x1f\x8b"
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3
LARGEST_RECORD = 1 << 24  # bytes, five times a scene of CLEVR: what is made of it fits in memory
READ_AGAIN = "the file is damaged or incomplete: download it again"


def read_examples(path: str | Path) -> Iterator[dict[str, Feature]]:
    """Yield each record of a plain or gzip-compressed TFRecord file as `{name: list of values}`.

    The file is streamed: one record is in memory at a time, and both CRCs of it are checked.

    Raises:
        DtisError: the file cannot be opened, is no TFRecord file, is cut short, fails a CRC, or
            holds something other than `tf.train.Example`; names the file and the record (from 0).
    """
    path = Path(path)
    check_regular(path)
    try:
        source = _open(path)
    except OSError as error:
        raise DtisError(f"{path}: cannot open the TFRecord file ({error.strerror})") from None
    with source:
        for index, payload in enumerate(_records(source, path)):
            try:
                yield _example(payload)
            except (ValueError, struct.error) as error:
                raise DtisError(
                    f"{path}: record {index} is not a tf.train.Example ({error}); "
                    "a TFRecord file of such messages is needed"
                ) from None


def _open(path: Path) -> BufferedIOBase:
    with path.open("rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return gzip.open(path) if compressed else path.open("rb")


def _records(source: BufferedIOBase, path: Path) -> Iterator[bytes]:
    """Yield the checked payloads of an open file."""
    index = 0
    while header := _read(source, 8, path, index):
        where = f"{path}: record {index}"
        _expect(len(header) == 8, f"{where}: found {len(header)} of the 8 bytes of its length")
        _check_crc(header, source, path, index, "length")
        (length,) = struct.unpack("<Q", header)
        _expect(length <= LARGEST_RECORD, f"{where}: its length is {length} bytes")
        payload = _read(source, length, path, index)
        _expect(
            len(payload) == length, f"{where}: found {len(payload)} of the {length} payload bytes"
        )
        _check_crc(payload, source, path, index, "payload")
        yield payload
        index += 1


def _read(source: BufferedIOBase, size: int, path: Path, index: int) -> bytes:
    """Read `size` bytes, or fewer at the end of the file."""
    try:
        return source.read(size)
    except (EOFError, OSError, zlib.error) as error:
        raise DtisError(f"{path}: record {index}: {error}; {READ_AGAIN}") from None


def _check_crc(checked: bytes, source: BufferedIOBase, path: Path, index: int, part: str) -> None:
    """Compare the CRC that follows `checked` in the file with the one of its bytes."""
    where = f"{path}: record {index}"
    stored = _read(source, 4, path, index)
    _expect(len(stored) == 4, f"{where}: found {len(stored)} of the 4 CRC bytes of its {part}")
    (found,), wanted = struct.unpack("<I", stored), masked_crc(checked)
    _expect(found == wanted, f"{where}: the CRC of its {part} is {found:#x}, not {wanted:#x}")


def _expect(condition: bool, problem: str) -> None:
    if not condition:
        raise DtisError(f"{problem}; {READ_AGAIN}, or it is no TFRecord file")


def masked_crc(data: bytes) -> int:
    """Return TFRecord's CRC-32C of `data`: rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _example(payload: bytes) -> dict[str, Feature]:
    """Decode Example{features=1: Features{feature=1: map entry{key=1, value=2: Feature}}}."""
    example = {}
    for _, features in _messages(payload, 1):
        for _, entry in _messages(features, 1):
            parts = dict(_messages(entry, 1, 2))
            example[parts.get(1, b"").decode()] = _feature(parts.get(2, b""))
    return example


def _feature(message: bytes) -> Feature:
    """Decode Feature{bytes_list=1 | float_list=2 | int64_list=3}, each a list{value=1}."""
    values: Feature = []
    for kind, content in _messages(message, BYTES_LIST, FLOAT_LIST, INT64_LIST):
        if kind == BYTES_LIST and _is_single_bytes(content):
            values += struct.unpack(f"{len(content) // 3}c", content[2::3])
        else:
            for _, wire, value in _fields(content, 1):
                values += _values(kind, wire, value)
    return values


def _is_single_bytes(content: bytes) -> bool:
    """Tell whether a bytes list holds single bytes only.

    The multi-object datasets store images so, thousands of one-byte values each; reading those by
    slices is a hundred times faster than field by field.
    """
    count = len(content) // 3
    return content[0::3] == b"\x0a" * count and content[1::3] == b"\x01" * count


def _values(kind: int, wire: int, value: bytes | int) -> Feature:
    """Decode one `value` field of a list: a single value, or several packed into one field."""
    if kind == BYTES_LIST and wire == LENGTH_DELIMITED:
        return [value]
    if kind == FLOAT_LIST and wire in (FIXED32, LENGTH_DELIMITED):
        return [number for (number,) in struct.iter_unpack("<f", value)]
    if kind == INT64_LIST and wire == VARINT:
        return [_signed(value)]
    if kind == INT64_LIST and wire == LENGTH_DELIMITED:
        return list(_packed_integers(value))
    raise ValueError(f"list kind {kind} with wire type {wire}")


def _packed_integers(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield _signed(value)


def _signed(value: int) -> int:
    """Reinterpret an unsigned 64-bit integer as two's complement."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _messages(data: bytes, *wanted: int) -> Iterator[tuple[int, bytes]]:
    """Yield (field number, content) of the wanted length-delimited fields of a message."""
    for number, wire, value in _fields(data, *wanted):
        if wire != LENGTH_DELIMITED:
            raise ValueError(f"field {number} has wire type {wire}, not {LENGTH_DELIMITED}")
        yield number, value


def _fields(data: bytes, *wanted: int) -> Iterator[tuple[int, int, bytes | int]]:
    """Yield (field number, wire type, value) of the wanted fields; other fields are skipped."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, position = _varint(data, position)
        else:
            if wire == LENGTH_DELIMITED:
                size, position = _varint(data, position)
            elif wire in (FIXED32, FIXED64):
                size = 4 if wire == FIXED32 else 8
            else:
                raise ValueError(f"unknown wire type {wire}")
            value = data[position : position + size]
            position += size
            if len(value) != size:
                raise ValueError(f"field {number} wants {size} bytes, {len(value)} are left")
        if number in wanted:
            yield number, wire, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the base-128 integer at `position` and the position after it."""
    value = 0
    for shift in range(0, 70, 7):  # 64 bits take at most ten groups of seven
        if position >= len(data):
            raise ValueError("a number is cut short")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
    raise ValueError("a number is longer than 64 bits")
