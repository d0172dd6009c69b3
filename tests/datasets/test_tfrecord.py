"""The TFRecord reader: it returns what was written and refuses what is damaged or other."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tfrecord_writer import encode, field, frame, write

from dtis_core.datasets.tfrecord import masked_crc, read_examples
from dtis_core.errors import DtisError

EXAMPLE = {
    "image": [b"a", b"\n", b"c"],
    "mask": [b"x\nyz"],
    "x": [0.5, -2.0],
    "id": [3, -1, 1 << 62],
}
float32 = st.floats(width=32, allow_nan=False)
features = st.one_of(
    st.lists(st.binary(max_size=3), min_size=1, max_size=20),
    st.lists(float32, min_size=1, max_size=20),
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=20),
)


def test_masked_crc_of_known_value():
    # CRC-32C of 32 zero bytes is 0x8a9136aa (RFC 3720, B.4).
    rotated = (0x8A9136AA >> 15 | 0x8A9136AA << 17) & 0xFFFFFFFF
    assert masked_crc(bytes(32)) == (rotated + 0xA282EAD8) % (1 << 32)


@settings(max_examples=40)
@given(
    examples=st.lists(st.dictionaries(st.text(max_size=5), features), max_size=4), data=st.data()
)
def test_reader_returns_what_was_written(tmp_path_factory, examples, data):
    packed, compressed = data.draw(st.booleans()), data.draw(st.booleans())
    path = tmp_path_factory.mktemp("records") / "a.tfrecords"
    write(path, *(encode(example, packed) for example in examples), compressed=compressed)
    assert list(read_examples(path)) == examples


def test_reader_skips_unknown_fields_and_takes_empty_features(tmp_path):
    entry = field(1, b"a") + field(2, b"")
    list_of_one = field(2, field(1, field(1, b"v") + field(2, b"?")))
    payload = b"\x10\x05" + b"\x1d" + bytes(4) + b"\x21" + bytes(8) + field(1, field(1, entry))
    payload += field(1, field(1, field(1, b"b") + list_of_one))
    assert list(read_examples(write(tmp_path / "a", payload))) == [{"a": [], "b": [b"v"]}]


def test_reader_streams(tmp_path):
    path = write(tmp_path / "a", encode(EXAMPLE), encode(EXAMPLE))
    path.write_bytes(path.read_bytes()[:-1])
    examples = read_examples(path)
    assert next(examples) == EXAMPLE
    with pytest.raises(DtisError, match="record 1: found 3 of the 4 CRC bytes of its payload"):
        next(examples)


@pytest.mark.parametrize(
    "part, offset", [("length", 0), ("length", 9), ("payload", 12), ("payload", -1)]
)
def test_flipped_bit_is_found_at_every_part(tmp_path, part, offset):
    first = frame(encode(EXAMPLE))
    damaged = bytearray(first)
    damaged[offset] ^= 4
    path = tmp_path / "a.tfrecords"
    path.write_bytes(first + damaged)
    with pytest.raises(DtisError, match=f"a.tfrecords: record 1: the CRC of its {part}"):
        list(read_examples(path))


@pytest.mark.parametrize("compressed", [False, True])
def test_every_truncation_is_an_error_or_ends_at_a_record(tmp_path, compressed):
    whole = write(
        tmp_path / "a", encode(EXAMPLE), encode(EXAMPLE), compressed=compressed
    ).read_bytes()
    path = tmp_path / "cut"
    complete = []
    for end in range(1, len(whole)):
        path.write_bytes(whole[:end])
        try:
            complete.append((end, len(list(read_examples(path)))))
        except DtisError as error:
            assert f"{path}: record" in str(error)
    assert complete == ([] if compressed else [(len(whole) // 2, 1)])


@pytest.mark.parametrize(
    "payload, problem",
    [
        (b"\x0a", "a number is cut short"),
        (b"\x0a\x05\x00", "field 1 wants 5 bytes, 1 are left"),
        (b"\x0b", "unknown wire type 3"),
        (b"\x08\x01", "field 1 has wire type 0"),
        (b"\xff" * 11, "longer than 64 bits"),
        (
            encode({"a": [b"x"]}).replace(field(1, field(1, b"x")), field(2, field(1, b"x"))),
            "record 0",
        ),
        (
            field(1, field(1, field(2, field(3, b"\x0d" + bytes(4))))),
            "list kind 3 with wire type 5",
        ),
    ],
)
def test_other_messages_are_refused(tmp_path, payload, problem):
    with pytest.raises(DtisError, match="record 0 is not a tf.train.Example") as caught:
        list(read_examples(write(tmp_path / "a", payload)))
    assert problem in str(caught.value)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Tetrominoes are four squares that share edges.")
    with pytest.raises(DtisError, match="notes.txt: record 0: the CRC of its length .* TFRecord"):
        list(read_examples(path))
    path.write_bytes(b"\x1f\x8b\x08\x00 not gzip after its magic number")
    with pytest.raises(DtisError, match="notes.txt: record 0"):
        list(read_examples(path))
    with pytest.raises(DtisError, match="missing: cannot open .*No such file"):
        list(read_examples(tmp_path / "missing"))
    with pytest.raises(DtisError, match="is not a regular file"):
        list(read_examples(tmp_path))


def test_a_length_no_memory_holds_is_refused(tmp_path):
    header = struct.pack("<Q", 1 << 60)
    path = tmp_path / "a"
    path.write_bytes(header + struct.pack("<I", masked_crc(header)) + b"rest")
    with pytest.raises(DtisError, match=f"its length is {1 << 60} bytes"):
        list(read_examples(path))
