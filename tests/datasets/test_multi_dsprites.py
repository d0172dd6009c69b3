"""Multi-dSprites: the silhouettes against genuine frames, the scenes, and the official file."""

import colorsys
import itertools
import tracemalloc

import numpy as np
import pytest
from tfrecord_writer import encode, write

from dtis_core import datasets, paths
from dtis_core.datasets import multi_dsprites, records
from dtis_core.datasets.multi_dsprites import ORIENTATIONS, POSITIONS, SCALES, Factors
from dtis_core.datasets.records import CHUNK, stacked
from dtis_core.errors import DtisError

FRAMES = paths.data_root() / "dsprites" / "dsprites_gif_320x64x64.npz"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path / "cache"))


def single_objects(shape, scale, orientation, x, y):
    """One object in each image, white on black."""
    colour = np.zeros((len(shape), 2, 3), np.uint8)
    colour[:, 1] = 255
    return Factors(*(values[:, None] for values in (shape, scale, orientation, x, y)), colour)


# The silhouettes


def centroids(masks):
    """Mean column and row of the pixels of each mask, (N, 2)."""
    pixel = np.arange(masks.shape[-1])
    across, down = (masks.sum(axis=axis) @ pixel for axis in (1, 2))
    return np.stack([across, down], axis=-1) / masks.sum(axis=(1, 2))[:, None]


@pytest.mark.skipif(not FRAMES.exists(), reason=f"real data: {FRAMES} is not there")
def test_silhouettes_are_those_of_dsprites():
    # On every frame, all shapes, scales and orientations of about its area are tried, at the
    # position of the grid that brings the centroids together.
    with np.load(FRAMES) as file:
        frames = file["imgs"]
    cases = np.array(list(itertools.product((1, 2, 3), SCALES, ORIENTATIONS)))  # (720, 3)
    shape, scale, orientation = cases[:, 0].astype(int), *cases[:, 1:].T
    origin = np.zeros(len(cases))
    at_origin = multi_dsprites.render(single_objects(shape, scale, orientation, origin, origin))[1]
    areas = at_origin.sum(axis=(1, 2))
    steps = (centroids(frames)[:, None] - centroids(at_origin)) * 31 / 32  # (320, 720, 2)
    x, y = np.moveaxis(POSITIONS[np.round(steps).astype(int).clip(0, 31)], -1, 0)
    overlaps = {1: [], 2: [], 3: []}
    for i, frame in enumerate(frames):
        near = np.abs(areas / frame.sum() - 1) < 0.15
        candidates = (factor[near] for factor in (shape, scale, orientation, x[i], y[i]))
        drawn = multi_dsprites.render(single_objects(*candidates))[1] > 0
        iou = (drawn & frame).sum(axis=(1, 2)) / (drawn | frame).sum(axis=(1, 2))
        overlaps[shape[near][iou.argmax()]].append(iou.max())
    assert {s: len(found) for s, found in overlaps.items()} == {1: 64, 2: 64, 3: 192}
    for found in overlaps.values():
        assert np.mean(found) > 0.999 and np.min(found) > 0.98


def test_heart_is_its_parametric_curve():
    t = np.linspace(0.01, np.pi - 0.01, 500)
    x = 9.593 * np.sin(t) ** 3
    y = -1.436 - 0.66225 * (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    for side in (1, -1):
        for factor, expected in ((0.999, True), (1.001, False)):  # from its middle
            inside = multi_dsprites._in_heart(
                side * factor * x[None, None], factor * (y[None, None] + 1) - 1
            )
            assert (inside == expected).all()


def test_every_silhouette_stays_in_its_window():
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=2)))
    for shape in (1, 2, 3):
        cases = np.array(list(itertools.product(ORIENTATIONS, range(4))))
        x, y = corners[cases[:, 1].astype(int)].T
        shapes = np.full(len(cases), shape)
        inside, top, left = multi_dsprites._silhouettes(shapes, np.ones(len(x)), cases[:, 0], x, y)
        rim = np.concatenate([inside[:, [0, -1]], inside[:, :, [0, -1]].swapaxes(1, 2)], axis=1)
        assert inside.any(axis=(1, 2)).all() and not rim.any()
        assert min(top.min(), left.min()) >= 0 and max(top.max(), left.max()) + 28 <= 64


# The scenes


def test_generated_scenes_hold_what_is_claimed():
    scenes = datasets.load("multi-dsprites", count=600)
    assert scenes.images.shape == (600, 64, 64, 3) and scenes.images.dtype == np.uint8
    assert scenes.categories.shape == (600, 5)
    number = (scenes.categories > 0).sum(axis=1)
    assert ((scenes.categories > 0) == (np.arange(5) < number[:, None])).all()
    for image, mask, n in zip(scenes.images, scenes.masks, number, strict=True):
        shown, first, entity = np.unique(mask, return_index=True, return_inverse=True)
        assert shown.tolist() == list(range(n + 1))  # none is hidden
        colours = image.reshape(-1, 3)[first]
        assert np.array_equal(colours[entity], image)  # one colour each
        assert np.ptp(colours[0]) == 0 and np.ptp(colours[1:], axis=1).min() >= 60
    assert set(number) == {2, 3, 4, 5}
    assert set(np.unique(scenes.semantic_masks())) == {0, 1, 2, 3}


def test_the_harsher_reading_has_dull_colours_and_hidden_objects():
    scenes, usual = (
        datasets.load(name, count=600) for name in ("multi-dsprites-harsh", "multi-dsprites")
    )
    assert scenes.name == "multi-dsprites-harsh (generated)"
    assert not (scenes.images == usual.images).all(axis=(1, 2, 3)).any()  # a stream of its own
    present = scenes.categories > 0
    assert set(present.sum(axis=1)) == {2, 3, 4, 5}
    shown = np.stack([(scenes.masks == m).any(axis=(1, 2)) for m in range(1, 6)], axis=1)
    assert not (shown & ~present).any()
    assert 0.002 < (present & ~shown).sum() / present.sum() < 0.02


def test_the_harsher_reading_draws_all_colours():
    kind = multi_dsprites.KINDS["multi-dsprites-harsh"]
    factors = multi_dsprites.sample(4000, np.random.default_rng(0), kind)
    colours = factors.colour[:, 1:][factors.shape > 0] / 255
    value = colours.max(axis=1)
    bright = colours[value > 0.5]  # where eight bits tell saturations apart
    saturation = 1 - bright.min(axis=1) / bright.max(axis=1)
    for values in (value, saturation):
        counts = np.histogram(values, bins=10, range=(0, 1))[0]
        assert np.abs(counts / counts.mean() - 1).max() < 0.1


def test_pairs_hold_two_objects():
    scenes = datasets.load("multi-dsprites2", "validation")
    assert len(scenes) == 320 and scenes.name == "multi-dsprites2 (generated)"
    assert scenes.categories.shape == (320, 2) and (scenes.categories > 0).all()
    assert all(set(np.unique(mask)) == {0, 1, 2} for mask in scenes.masks)


def test_later_objects_cover_earlier_ones():
    factors = multi_dsprites.sample(200, np.random.default_rng(0))
    images, masks = multi_dsprites.render(factors)
    expected = np.zeros_like(masks)
    for m in range(5):
        alone = multi_dsprites.render(single_objects(*(factor[:, m] for factor in factors[:5])))[1]
        expected[alone > 0] = m + 1
    assert np.array_equal(masks, expected)
    for m in range(6):
        image, *_ = where = (masks == m).nonzero()
        assert np.array_equal(images[where], factors.colour[image, m])


def test_sampling_is_uniform():
    factors = multi_dsprites.sample(4000, np.random.default_rng(0))
    present = factors.shape > 0
    x, y, scale = (values[present] for values in (factors.x, factors.y, factors.scale))
    # Far more objects than a chance deviation of five in a thousand; hidden ones are redrawn.
    for values, known in ((x, POSITIONS), (y, POSITIONS), (scale, SCALES)):
        found, counts = np.unique(values, return_counts=True)
        assert np.array_equal(found, known)
        assert np.abs(counts / counts.mean() - 1).max() < 0.2
    assert set(np.unique(factors.orientation)) == set(ORIENTATIONS)
    for counts in (np.bincount(present.sum(axis=1))[2:], np.bincount(factors.shape[present])[1:]):
        assert (np.abs(counts - counts.mean()) < 5 * np.sqrt(counts.mean())).all()
    greys = factors.colour[:, 0]
    assert (greys == greys[:, :1]).all() and greys.min() < 3 and greys.max() > 252


def test_colours_are_those_of_hue_saturation_and_value():
    hsv = np.random.default_rng(0).uniform(size=(100, 3))
    expected = [colorsys.hsv_to_rgb(*row) for row in hsv]
    assert np.allclose(multi_dsprites._rgb(hsv), expected)


def test_streams_are_deterministic_disjoint_and_nested(monkeypatch, tmp_path):
    long, short = (datasets.load("multi-dsprites", count=count) for count in (1500, 1100))
    assert np.array_equal(long.images[:1100], short.images)
    assert long.take(1100).fingerprint == short.fingerprint
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path / "another"))
    assert datasets.load("multi-dsprites", count=1100).fingerprint == short.fingerprint
    others = [
        datasets.load("multi-dsprites", "validation"),
        datasets.load("multi-dsprites", count=320, seed=1),
        datasets.load("multi-dsprites2", count=320),
    ]
    rows = [set(map(bytes, scenes.images)) for scenes in (long, *others)]
    assert [len(row) for row in rows] == [1500, 320, 320, 320]
    assert not any(a & b for a, b in itertools.combinations(rows, 2))


@pytest.mark.parametrize("name", multi_dsprites.KINDS)
@pytest.mark.parametrize("split, count", datasets.SCENE_COUNTS.items())
def test_default_count_is_that_of_the_paper(monkeypatch, name, split, count):
    generate, asked = multi_dsprites.generated, []

    def generate_one(count, seed, stream, make):
        asked.append((count, seed, stream[1:]))
        return generate(1, seed, stream, make)

    monkeypatch.setattr(multi_dsprites, "generated", generate_one)
    datasets.load(name, split, seed=3)
    own = {"multi-dsprites": (2, 5), "multi-dsprites2": (2, 2), "multi-dsprites-harsh": (2, 5, 1)}
    assert asked == [(count, 3, own[name])]


# The official file


def official_record(index, by_entity=False, **changes):
    """A record in the official layout, with what it shows."""
    factors = multi_dsprites.sample(1, np.random.default_rng(index))
    image, mask = (part[0] for part in multi_dsprites.render(factors))
    shows = (mask[..., None] == np.arange(6)) * np.uint8(255)  # (H, W, 6)
    if by_entity:
        shows = np.moveaxis(shows, -1, 0)  # (6, H, W)
    shape = factors.shape[0]
    entities = {"shape": shape, "visibility": shape > 0, "x": factors.x[0], "y": factors.y[0]}
    example = {
        "image": [bytes([value]) for value in image.ravel()],
        "mask": [bytes([value]) for value in shows.ravel()],
        "color": [value / 255 for value in factors.colour[0].ravel().tolist()],
        **{name: [float(name == "visibility"), *map(float, e)] for name, e in entities.items()},
    }
    return encode(example | changes), image, mask, shape


@pytest.fixture
def official(tmp_path):
    (tmp_path / "multi_object").mkdir()
    return tmp_path / "multi_object" / "multi_dsprites_colored_on_grayscale.tfrecords"


def load_official(path, *args, **kwargs):
    return datasets.load("multi-dsprites-official", *args, root=path.parents[1], **kwargs)


@pytest.mark.parametrize("by_entity", [False, True])
def test_official_layout(official, by_entity):
    records = [official_record(index, by_entity) for index in range(4)]
    write(official, *(record[0] for record in records), compressed=True)
    scenes = load_official(official)
    assert scenes.name == f"multi-dsprites (official, {official.name})"
    for index, (_, image, mask, shape) in enumerate(records):
        assert np.array_equal(scenes.images[index], image)
        assert np.array_equal(scenes.masks[index], mask)
        assert np.array_equal(scenes.categories[index], shape)


def test_official_invisible_objects_have_no_category(official):
    payload, *_ = official_record(0, shape=[0.0, 1, 2, 3, 1, 2], visibility=[1.0, 1, 0, 1, 0, 0])
    assert load_official(write(official, payload)).categories.tolist() == [[1, 0, 3, 0, 0]]


def test_official_splits(official, monkeypatch):
    counts = {"train": 6, "validation": 3, "final": 2}
    monkeypatch.setattr(multi_dsprites, "SCENE_COUNTS", counts)
    records = [official_record(index) for index in range(13)]
    images = np.stack([record[1] for record in records])
    for total, train in ((13, 6), (7, 2)):
        write(official, *(record[0] for record in records[:total]))
        assert np.array_equal(load_official(official, "train").images, images[:train])
        held_out = images[train : train + 3]
        assert np.array_equal(load_official(official, "validation").images, held_out)
        final = images[train + 3 : train + 5]
        assert np.array_equal(load_official(official, "final").images, final)
        assert np.array_equal(load_official(official, count=2).images, images[:2])
        assert np.array_equal(load_official(official, "validation", 2).images, held_out[:2])
        assert len(load_official(official, count=100)) == train
    write(official, *(record[0] for record in records[:5]))
    for split in counts:
        assert np.array_equal(load_official(official, split).images, images[:5])
        assert len(load_official(official, split, 2)) == 2


def test_official_file_is_read_once_until_it_changes(official, monkeypatch):
    payloads = [official_record(index)[0] for index in range(2)]
    write(official, payloads[0])
    first = load_official(official)
    reads = []
    read_examples = records.read_examples
    monkeypatch.setattr(
        records, "read_examples", lambda path: reads.append(path) or read_examples(path)
    )
    assert load_official(official).fingerprint == first.fingerprint and not reads
    write(official, *payloads)
    assert len(load_official(official)) == 2 and reads == [official]


def test_official_file_missing_cut_short_empty_or_other(official):
    with pytest.raises(DtisError, match="grayscale.tfrecords: there is no such file; download"):
        load_official(official)
    with pytest.raises(DtisError, match="no split 'finale', did you mean 'final'"):
        load_official(official, "finale")
    payload, image, *_ = official_record(0)
    whole = write(official, payload, payload, compressed=True).read_bytes()
    official.write_bytes(whole[:-9])
    with pytest.raises(DtisError, match="grayscale.tfrecords: record 2: .*download it again"):
        load_official(official)
    write(official)
    with pytest.raises(DtisError, match="found no record"):
        load_official(official)
    several = [1.0] * 6
    for changes, problem in (
        ({"image": [b"x"]}, "is not a Multi-dSprites scene"),
        ({"mask": [image.tobytes()]}, "is not a Multi-dSprites scene"),
        ({"shape": [1.0]}, "is not a Multi-dSprites scene"),
        ({"mask": [bytes(6 * 64 * 64)]}, "some pixels are in none of its masks"),
        ({"shape": [4.0] * 6, "visibility": several}, "has shapes .* only 1 to 3 are known"),
    ):
        write(official, payload, official_record(0, **changes)[0])
        with pytest.raises(DtisError, match=f"record 1:? {problem}"):
            load_official(official)


# Records stacked while they are read


def test_stacked_joins_records_and_stops_at_the_limit():
    count = 2 * CHUNK + 7
    records = ((np.full((2, 3), i, np.uint16), np.array(-i)) for i in itertools.count())
    first, second = stacked(records, count, "numbers")
    assert first.shape == (count, 2, 3) and first.dtype == np.uint16
    assert (first == np.arange(count)[:, None, None]).all() and (second == -np.arange(count)).all()
    assert next(records)[1] == -count
    (whole,) = stacked(iter([(np.zeros(2),), (np.ones(2),)]), None, "numbers")
    assert whole.tolist() == [[0, 0], [1, 1]]
    assert stacked(iter([]), 5, "nothing") == ()


def test_stacked_holds_at_most_two_copies():
    size = 4096
    records = ((np.full(size, i % 256, np.uint8),) for i in range(4 * CHUNK))
    tracemalloc.start()
    try:
        (data,) = stacked(records, None, "bytes")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.1 * data.nbytes
