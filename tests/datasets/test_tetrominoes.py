"""Tetrominoes: the generator against the real images, and the loader of the official file."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tfrecord_writer import encode, write

from dtis_core import datasets, paths
from dtis_core.datasets import tetrominoes
from dtis_core.errors import DtisError

MINI = paths.data_root() / "multi_object" / "tetrominoes_mini.tfrecords"
needs_mini = pytest.mark.skipif(not MINI.exists(), reason=f"real data: {MINI} is not there")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path / "cache"))


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
    others = [
        datasets.load("tetrominoes", "validation"),
        datasets.load("tetrominoes", count=320, seed=1),
    ]
    assert len(others[0]) == 320
    rows = [set(map(bytes, scenes.images)) for scenes in (long, *others)]
    assert [len(row) for row in rows] == [1500, 320, 320]
    assert not any(a & b for a, b in itertools.combinations(rows, 2))
    assert len({long.fingerprint, short.fingerprint, *(o.fingerprint for o in others)}) == 4


@pytest.mark.parametrize("split, count", datasets.SCENE_COUNTS.items())
def test_default_count_is_that_of_the_paper(monkeypatch, split, count):
    generate, asked = tetrominoes.generated, []

    def generate_one(count, seed, stream, make):
        asked.append((count, seed))
        return generate(1, seed, stream, make)

    monkeypatch.setattr(tetrominoes, "generated", generate_one)
    datasets.load("tetrominoes", split, seed=3)
    assert asked == [(count, 3)]


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
    assert np.array_equal(datasets.load("tetrominoes-official", "final").images, whole.images)
    assert len(datasets.load("tetrominoes-official", count=4)) == 4
    assert "official" in whole.name


# The official file


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
    write(official, *itertools.islice(itertools.cycle(payloads), 650))

    def load(split, **arguments):
        return datasets.load("tetrominoes-official", split, root=official.parents[1], **arguments)

    train, validation, final = (load(split) for split in ("train", "validation", "final"))
    assert (len(train), len(validation), len(final)) == (10, 320, 320)
    assert np.array_equal(validation.images[0], train.images[10 % 7])
    assert np.array_equal(final.images[0], train.images[330 % 7])
    assert len(load("train", count=4)) == len(load("final", count=4)) == 4


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
