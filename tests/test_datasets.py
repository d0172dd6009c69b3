"""The TFRecord reader, the Tetrominoes generator and the dataset registry."""

import dataclasses
import gzip
import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtis_core import datasets
from dtis_core.datasets import SceneDataset, cache, tetrominoes
from dtis_core.datasets.tfrecord import masked_crc, read_examples
from dtis_core.errors import DtisError

MINI = datasets.data_root() / "multi_object" / "tetrominoes_mini.tfrecords"
needs_mini = pytest.mark.skipif(not MINI.exists(), reason=f"real data: {MINI} is not there")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DTIS_CACHE", str(folder))
    return folder


# A writer of TFRecord files, after the published descriptions of the two formats.


def varint(value):
    value &= (1 << 64) - 1
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(parts) + bytes([value])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(values, packed):
    if isinstance(values[0], bytes):
        return field(1, b"".join(field(1, value) for value in values))
    if isinstance(values[0], float):
        numbers, kind, key = [struct.pack("<f", value) for value in values], 2, b"\x0d"
    else:
        numbers, kind, key = [varint(value) for value in values], 3, b"\x08"
    return field(kind, field(1, b"".join(numbers)) if packed else key + key.join(numbers))


def encode(example, packed=True):
    entries = (
        field(1, field(1, name.encode()) + field(2, feature(values, packed)))
        for name, values in example.items()
    )
    return field(1, b"".join(entries))


def frame(payload):
    length = struct.pack("<Q", len(payload))
    crcs = (struct.pack("<I", masked_crc(part)) for part in (length, payload))
    return length + next(crcs) + payload + next(crcs)


def write(path, *payloads, compressed=False):
    data = b"".join(map(frame, payloads))
    path.write_bytes(gzip.compress(data, mtime=0) if compressed else data)
    return path


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
    with pytest.raises(DtisError, match="cannot open .*directory"):
        list(read_examples(tmp_path))


def test_a_length_no_memory_holds_is_refused(tmp_path):
    header = struct.pack("<Q", 1 << 60)
    path = tmp_path / "a"
    path.write_bytes(header + struct.pack("<I", masked_crc(header)) + b"rest")
    with pytest.raises(DtisError, match=f"its length is {1 << 60} bytes"):
        list(read_examples(path))


# Tetrominoes


def test_shapes_are_the_nineteen_fixed_tetrominoes():
    shapes = {tuple(map(tuple, corners)) for corners in (tetrominoes.CORNERS // 5).tolist()}
    assert len(shapes) == 19
    for shape in shapes:
        cells = np.array(shape)  # (4, 2)
        assert cells.min(axis=0).tolist() == [0, 0]
        adjacent = np.abs(cells[:, None] - cells).sum(axis=-1) <= 1  # (4, 4)
        assert np.linalg.matrix_power(adjacent.astype(int), 3).all()  # connected


def test_generated_scenes_hold_what_is_claimed():
    scenes = datasets.load("tetrominoes", count=600)
    assert scenes.images.shape == (600, 35, 35, 3) and scenes.images.dtype == np.uint8
    # Every piece shows all of its 4 x 25 pixels: none is covered, none leaves the frame.
    for m in (1, 2, 3):
        assert ((scenes.masks == m).sum(axis=(1, 2)) == 100).all()
    assert (scenes.images[scenes.masks == 0] == 0).all()
    assert (scenes.images[scenes.masks > 0].max(axis=-1) >= 63).all()
    assert set(np.unique(scenes.categories)) == set(range(1, 20))
    assert set(np.unique(scenes.semantic_masks())) == set(range(20))


def test_sampling_is_uniform_and_reaches_the_frame():
    factors = tetrominoes.sample(4000, np.random.default_rng(0))
    shapes = np.bincount(factors.shape.ravel(), minlength=20)[1:]
    colours = np.unique(factors.colour.reshape(-1, 3), axis=0, return_counts=True)[1]
    for counts in (shapes, colours):
        expected = factors.shape.size / len(counts)
        assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    ends = np.stack([factors.x, factors.y], -1) + tetrominoes.EXTENTS[factors.shape - 1]
    assert factors.x.min() == factors.y.min() == 0
    assert ends.max(axis=(0, 1)).tolist() == [35, 35]


@given(seed=st.integers(0, 1 << 32))
def test_rejection_agrees_with_painting(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 20, (20, 3))
    x, y = np.moveaxis(rng.integers(0, 36 - tetrominoes.EXTENTS[shape - 1]), -1, 0)
    factors = tetrominoes.Factors(shape, np.ones((20, 3, 3), np.uint8), x, y)
    covered = (tetrominoes.render(factors)[1] > 0).sum(axis=(1, 2))
    overlapping = tetrominoes._overlapping(factors.corners())
    assert (overlapping == (covered < 300)).all()


def test_streams_are_deterministic_disjoint_and_nested():
    long = datasets.load("tetrominoes", count=1500)
    short = datasets.load("tetrominoes", count=1100)
    assert np.array_equal(long.images[:1100], short.images)
    assert long.take(1100).fingerprint == short.fingerprint
    others = [datasets.load("tetrominoes", "test"), datasets.load("tetrominoes", count=320, seed=1)]
    assert len(others[0]) == 320
    rows = [set(map(bytes, scenes.images)) for scenes in (long, *others)]
    assert [len(row) for row in rows] == [1500, 320, 320]
    assert not any(a & b for a, b in itertools.combinations(rows, 2))
    assert len({long.fingerprint, short.fingerprint, *(o.fingerprint for o in others)}) == 4


@pytest.mark.parametrize("split, count", [("train", 60_000), ("test", 320)])
def test_default_count_is_that_of_the_paper(monkeypatch, split, count):
    generate = tetrominoes._generate
    asked = []

    def generate_one(split, count, seed):
        asked.append((split, count, seed))
        return generate(split, 1, seed)

    monkeypatch.setattr(tetrominoes, "_generate", generate_one)
    datasets.load("tetrominoes", split, seed=3)
    assert asked == [(split, count, 3)]


@needs_mini
def test_render_reproduces_the_real_images():
    real = datasets.load("tetrominoes-official")
    images, masks = tetrominoes.render(tetrominoes.read_factors(MINI))
    assert len(real) == 10
    assert (images != real.images).sum() == 0
    assert (masks != real.masks).sum() == 0


@needs_mini
def test_real_tiny_file_is_every_split_and_count_is_respected():
    whole = datasets.load("tetrominoes-official", "train")
    assert np.array_equal(datasets.load("tetrominoes-official", "test").images, whole.images)
    assert len(datasets.load("tetrominoes-official", count=4)) == 4
    assert "official" in whole.name


def official_record(index):
    factors = tetrominoes.sample(1, np.random.default_rng(index))
    image, mask = (part[0] for part in tetrominoes.render(factors))
    entities = np.stack([(mask == m) * np.uint8(255) for m in range(4)])  # (4, H, W)
    example = {
        "image": [bytes([value]) for value in image.ravel()],
        "mask": [bytes([value]) for value in entities.ravel()],
        "shape": [0.0, *map(float, factors.shape[0])],
        "color": [0.0, 0.0, 0.0, *map(float, factors.colour.ravel())],
        "x": [0.0, *map(float, factors.x[0])],
        "y": [0.0, *map(float, factors.y[0])],
    }
    return encode(example), image, mask, factors.shape[0]


@pytest.fixture
def official(tmp_path):
    (tmp_path / "multi_object").mkdir()
    return tmp_path / "multi_object" / "tetrominoes_train.tfrecords"


def test_official_layout(official):
    records = [official_record(index) for index in range(3)]
    write(official, *(record[0] for record in records), compressed=True)
    scenes = datasets.load("tetrominoes-official", root=official.parents[1])
    for index, (_, image, mask, shapes) in enumerate(records):
        assert np.array_equal(scenes.images[index], image)
        assert np.array_equal(scenes.masks[index], mask)
        assert np.array_equal(scenes.categories[index], shapes)
    images, masks = tetrominoes.render(tetrominoes.read_factors(official))
    assert np.array_equal(images, scenes.images) and np.array_equal(masks, scenes.masks)


def test_official_splits_of_a_longer_file(official):
    payloads = [official_record(index)[0] for index in range(7)]
    write(official, *itertools.islice(itertools.cycle(payloads), 330))
    root = official.parents[1]
    train, test = (datasets.load("tetrominoes-official", s, root=root) for s in ("train", "test"))
    assert (len(train), len(test)) == (10, 320)
    assert np.array_equal(
        test.images[0], datasets.load("tetrominoes-official", root=root).images[3]
    )
    assert len(datasets.load("tetrominoes-official", count=4, root=root)) == 4
    assert len(datasets.load("tetrominoes-official", "test", count=4, root=root)) == 4


def test_official_file_missing_empty_or_other(official):
    root = official.parents[1]
    with pytest.raises(DtisError, match="multi_object: found neither .*download tetrominoes_train"):
        datasets.load("tetrominoes-official", root=root)
    write(official)
    with pytest.raises(DtisError, match="found no record"):
        datasets.load("tetrominoes-official", root=root)
    for other in ({"image": [b"x"]}, {"image": [1.0]}, {"image": [bytes(3675)], "mask": [b""]}):
        write(official, official_record(0)[0], encode(other))
        with pytest.raises(DtisError, match="record 1 is not a Tetrominoes scene"):
            datasets.load("tetrominoes-official", root=root)


# The registry, the dataset and the cache


def test_unknown_names_are_answered_with_a_suggestion():
    with pytest.raises(DtisError, match="unknown dataset 'tetromino', did you mean 'tetrominoes'"):
        datasets.load("tetromino")
    for name in ("tetrominoes", "tetrominoes-official"):
        with pytest.raises(DtisError, match=f"'{name}' has no split 'tests', did you mean 'test'"):
            datasets.load(name, "tests")
    with pytest.raises(DtisError, match="count is 0"):
        datasets.load("tetrominoes", count=0)
    with pytest.raises(DtisError, match="seed is -1"):
        datasets.load("tetrominoes", seed=-1)


def test_registered_loader_gets_what_load_was_given(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "DATASETS", {})
    monkeypatch.setenv("DTIS_DATA", str(tmp_path))
    calls = []

    @datasets.register("mine")
    def load_mine(split, count, seed, root):
        calls.append((split, count, seed, root))
        return small_scenes()

    datasets.load("mine")
    datasets.load("mine", "extra", 5, seed=2, root="elsewhere")
    assert calls == [
        ("train", None, 0, tmp_path),
        ("extra", 5, 2, type(tmp_path)("elsewhere")),
    ]


def test_folders_default_to_the_clone(monkeypatch):
    monkeypatch.delenv("DTIS_DATA", raising=False)
    monkeypatch.delenv("DTIS_CACHE")
    assert (datasets.data_root().parent / "dtis_core" / "datasets").is_dir()
    assert datasets.cache_dir() == datasets.data_root() / "cache"


def small_scenes():
    images = np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3)
    masks = np.array([[[0, 1], [2, 2]], [[1, 1], [0, 0]], [[0, 0], [0, 2]]], np.uint8)
    return SceneDataset("small", images, masks, np.array([[4, 7], [5, 0], [0, 6]]))


def test_semantic_masks_and_subsets():
    scenes = small_scenes()
    expected = [[[0, 4], [7, 7]], [[5, 5], [0, 0]], [[0, 0], [0, 6]]]
    assert scenes.semantic_masks().tolist() == expected
    chosen = scenes.subset([2, 0])
    assert chosen.semantic_masks().tolist() == [expected[2], expected[0]]
    assert np.array_equal(chosen.images, scenes.images[[2, 0]])
    assert len(scenes.take(2)) == 2 and len(scenes.take(9)) == 3
    assert scenes.take(9).fingerprint == scenes.fingerprint != chosen.fingerprint


def test_fingerprint_changes_with_every_part():
    scenes = small_scenes()
    changed = [{"name": "other"}, {"masks": None}, {"categories": scenes.categories + 1}]
    changed.append({"images": scenes.images[:, ::-1]})
    variants = [dataclasses.replace(scenes, fingerprint="", **change) for change in changed]
    digits = {scenes.fingerprint, *(variant.fingerprint for variant in variants)}
    assert len(digits) == 5 and all(len(d) == 16 and int(d, 16) >= 0 for d in digits)


def test_unlabelled_scenes():
    scenes = SceneDataset("photos", small_scenes().images, None, None)
    assert scenes.take(1).masks is None
    with pytest.raises(DtisError, match="photos has no masks with categories"):
        scenes.semantic_masks()


def test_cache_is_used_then_rebuilt_when_damaged(cache_folder):
    arrays = (np.arange(1000).reshape(10, 100), np.eye(3, dtype=np.uint8))
    built = []

    def build():
        built.append(True)
        return arrays

    def same(found):
        return all(map(np.array_equal, found, arrays))

    assert same(cache.cached("key", build)) and same(cache.cached("key", build))
    assert len(built) == 1
    (path,) = cache_folder.iterdir()
    whole = path.read_bytes()
    damaged = [whole[:end] for end in (0, 5, 130, 200, len(whole) // 2, len(whole) - 1)]
    damaged += [whole[:-1] + b"\x07", b"not an array at all", whole[:1000] + b"?" + whole[1001:]]
    for count, content in enumerate(damaged, start=2):
        path.write_bytes(content)
        assert same(cache.cached("key", build))
        assert len(built) == count
        assert path.read_bytes() == whole
    assert list(cache_folder.iterdir()) == [path]


class Trap:
    """Unpickling this fails the test."""

    def __reduce__(self):
        return pytest.fail, ("the cache was unpickled",)


@pytest.mark.parametrize("sound_arrays", [0, 1])
def test_cache_never_unpickles(cache_folder, sound_arrays):
    cache_folder.mkdir()
    with (cache_folder / "key.npys").open("wb") as file:
        for _ in range(sound_arrays):
            np.save(file, np.zeros(1, int))
        np.save(file, np.array([Trap()]), allow_pickle=True)
    (found,) = cache.cached("key", lambda: (np.ones(2),))
    assert found.tolist() == [1, 1]


def test_without_a_writable_cache_scenes_are_generated(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("a file where the cache folder should go")
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path / "file" / "cache"))
    assert len(datasets.load("tetrominoes", count=3)) == 3


def test_a_full_disk_leaves_no_file_behind(monkeypatch, cache_folder):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "save", full)
    (found,) = cache.cached("key", lambda: (np.ones(2),))
    assert found.tolist() == [1, 1] and not list(cache_folder.iterdir())
