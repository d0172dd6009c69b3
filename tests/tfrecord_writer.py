"""A writer of TFRecord files, after the published descriptions of the two formats.

`write(path, encode(example), ...)` writes examples, `{name: list of bytes, floats or integers}`;
the functions it is made of are here for tests that need a message or a record with a fault.
"""

import gzip
import struct
from pathlib import Path

from dtis_core.datasets.tfrecord import Feature, masked_crc


def varint(value: int) -> bytes:
    """Encode a 64-bit integer in base 128, the lowest seven bits first."""
    value &= (1 << 64) - 1
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(parts) + bytes([value])


def field(number: int, content: bytes) -> bytes:
    """Encode a length-delimited field of a protocol buffer."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(values: Feature, packed: bool) -> bytes:
    """Encode a Feature; with `packed`, all its numbers are in one field, else each in its own."""
    if isinstance(values[0], bytes):
        return field(1, b"".join(field(1, value) for value in values))
    if isinstance(values[0], float):
        numbers, kind, key = [struct.pack("<f", value) for value in values], 2, b"\x0d"
    else:
        numbers, kind, key = [varint(value) for value in values], 3, b"\x08"
    return field(kind, field(1, b"".join(numbers)) if packed else key + key.join(numbers))


def encode(example: dict[str, Feature], packed: bool = True) -> bytes:
    """Encode a `tf.train.Example`."""
    entries = (
        field(1, field(1, name.encode()) + field(2, feature(values, packed)))
        for name, values in example.items()
    )
    return field(1, b"".join(entries))


def frame(payload: bytes) -> bytes:
    """Return the record of a payload: its length and itself, each followed by its CRC."""
    length = struct.pack("<Q", len(payload))
    crcs = (struct.pack("<I", masked_crc(part)) for part in (length, payload))
    return length + next(crcs) + payload + next(crcs)


def write(path: Path, *payloads: bytes, compressed: bool = False) -> Path:
    """Write a record of each payload, all compressed with gzip if asked; return the path."""
    data = b"".join(map(frame, payloads))
    path.write_bytes(gzip.compress(data, mtime=0) if compressed else data)
    return path
