"""CLEVR6: the official file's reader, on small files in its format, and the rendered scenes."""

import itertools
import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from tfrecord_writer import encode, field, frame, write

from dtis_core import datasets, paths
from dtis_core.datasets import clevr, images
from dtis_core.errors import DtisError

RENDERED = paths.data_root() / "clevr6_rendered"
needs_rendered = pytest.mark.skipif(not RENDERED.exists(), reason=f"real data: {RENDERED}: none")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DTIS_CACHE", str(folder))
    return folder


# The official file


def single_bytes(name, values):
    """Encode a feature of single bytes: as `encode` does, in a hundredth of the time."""
    values = np.asarray(values, np.uint8).ravel()
    content = np.stack([np.full_like(values, 0x0A), np.ones_like(values), values], axis=-1)
    entry = field(1, name.encode()) + field(2, field(1, content.tobytes()))
    return field(1, field(1, entry))


def official_scene(seed, objects=4, **replaced):
    """Draw a scene of blocks in a row, far enough apart; return its payload and its factors."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (240, 320, 3), np.uint8)
    masks = np.zeros((11, 240, 320), np.uint8)  # background first
    for m in range(1, objects + 1):
        top = rng.integers(60, 160)
        masks[m, top : top + 24, 48 + 18 * m : 60 + 18 * m] = 255
    masks[0] = 255 - masks.max(axis=0)
    present = np.arange(11) <= objects
    factors = {
        "image": image,
        "mask": masks,
        "shape": rng.integers(1, 4, 11) * present * (np.arange(11) > 0),
        "material": rng.integers(1, 3, 11) * present * (np.arange(11) > 0),
    } | replaced
    payload = b"".join(single_bytes(name, values) for name, values in factors.items())
    return payload + encode({"visibility": present.astype(float).tolist()}), factors


@pytest.fixture
def official(tmp_path):
    (tmp_path / "multi_object").mkdir()
    return tmp_path / "multi_object" / "clevr_with_masks_train.tfrecords"


def load(official, split="all", **arguments):
    return datasets.load("clevr6", split, root=official.parents[1], **arguments)


def test_the_fast_writer_writes_what_the_other_does():
    values = np.array([0, 10, 255])
    assert single_bytes("shape", values) == encode({"shape": [bytes([v]) for v in values]})


def test_official_scenes_are_cropped_resized_and_kept_up_to_six_objects(official):
    scenes = [official_scene(seed, objects) for seed, objects in enumerate((3, 7, 6, 10, 1))]
    write(official, *(payload for payload, _ in scenes), compressed=True)
    found = load(official)
    assert found.name == "CLEVR6 (official)"
    assert found.images.shape == (3, 128, 128, 3) and found.images.dtype == np.uint8
    assert found.categories.shape == (3, 6)
    # Of the crop's 192 pixels a side, 128 remain: two of three.
    nearest = np.floor((np.arange(128) + 0.5) * 1.5).astype(int)
    for index, (_, factors) in enumerate(scenes[i] for i in (0, 2, 4)):
        crop = Image.fromarray(factors["image"]).crop((64, 29, 256, 221))
        expected = np.asarray(crop.resize((128, 128), Image.Resampling.BILINEAR))
        assert np.array_equal(found.images[index], expected)
        labels = factors["mask"].argmax(axis=0)[29:221, 64:256]
        assert np.array_equal(found.masks[index], labels[np.ix_(nearest, nearest)])
        objects = (factors["shape"] > 0).sum()
        assert set(np.unique(found.masks[index])) == set(range(objects + 1))
        categories = [
            {(1, 1): 1, (1, 2): 2, (2, 1): 3, (2, 2): 4, (3, 1): 5, (3, 2): 6}[pair]
            for pair in zip(factors["shape"], factors["material"], strict=True)
            if pair != (0, 0)
        ]
        assert found.categories[index].tolist() == categories + [0] * (6 - objects)


def test_objects_are_those_that_are_visible_wherever_they_are_listed(official):
    _, factors = official_scene(0, 3)
    order = [0, 4, 1, 5, 2, 3, 6, 7, 8, 9, 10]  # the objects at 2, 4 and 5
    moved = {name: factors[name][order] for name in ("mask", "shape", "material")}
    payload = b"".join(
        single_bytes(name, values) for name, values in ({"image": factors["image"]} | moved).items()
    )
    visibility = encode({"visibility": [1, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0]})
    write(official, official_scene(0, 3)[0], payload + visibility)
    found = load(official)
    assert np.array_equal(found.masks[0], found.masks[1])
    assert np.array_equal(found.categories[0], found.categories[1])


def test_official_images_come_in_the_size_asked_for(official):
    write(official, official_scene(0)[0])
    found = load(official, size=(48, 64))
    assert found.images.shape == (1, 48, 64, 3) and found.masks.shape == (1, 48, 64)


def test_splits_and_counts_of_the_official_file(official, monkeypatch):
    monkeypatch.setattr(clevr, "HELD_OUT", 1)
    write(official, *(official_scene(seed, 2 + seed)[0] for seed in range(7)))  # 2..6 objects kept
    whole = load(official).images
    assert len(whole) == 5
    assert np.array_equal(load(official, "train").images, whole[:3])
    for split, part in {"final": whole[3:4], "validation": whole[4:]}.items():
        assert np.array_equal(load(official, split).images, part)
        assert load(official, split).images.base is None  # not a view that keeps all in memory
    monkeypatch.setattr(clevr, "HELD_OUT", 2)
    firsts = {"train": 0, "final": 1, "validation": 3, "all": 0}
    for split, first in firsts.items():
        found = load(official, split, count=1).images
        assert np.array_equal(found, whole[first : first + 1])
    monkeypatch.setattr(clevr, "RECORDS", 3)
    official.touch()
    assert np.array_equal(load(official).images, whole[:3])
    monkeypatch.setattr(clevr, "HELD_OUT", 3)
    for split in firsts:  # too few to hold any out
        assert len(load(official, split)) == 3


def test_the_decoded_scenes_are_cached_until_the_file_changes(official, monkeypatch, cache_folder):
    write(official, official_scene(0)[0])
    first = load(official)
    with monkeypatch.context() as patched:
        patched.setattr(clevr, "read_examples", None)
        assert np.array_equal(load(official).images, first.images)
    write(official, official_scene(1)[0])
    assert not np.array_equal(load(official).images, first.images)
    assert len(list(cache_folder.iterdir())) == 2


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_file_is_an_error_and_nothing_is_cached(official, cache_folder, compressed):
    payloads = [official_scene(seed)[0] for seed in range(2)]
    whole = write(official, *payloads, compressed=compressed).read_bytes()
    official.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(DtisError, match="clevr_with_masks_train.tfrecords: record 1.*download it"):
        load(official)
    assert not cache_folder.exists()
    official.write_bytes(whole)
    assert len(load(official)) == 2


def test_official_file_missing_empty_or_other(official):
    with pytest.raises(DtisError, match=f"{official.name}: there is no such file; download"):
        load(official)
    with pytest.raises(DtisError, match="'clevr6' has no split 'finale', did you mean 'final'"):
        load(official, "finale")
    for payloads in ([], [official_scene(0, 8)[0]]):
        write(official, *payloads)
        with pytest.raises(
            DtisError, match=f"{official.name}: found no scene of at most 6 objects"
        ):
            load(official)
    faults = (
        encode({"image": [b"x"]}),
        encode({"visibility": [1.0]}),
        encode({"visibility": [b"x"] * 11}),
        official_scene(0, image=np.zeros(7))[0],
        official_scene(0, shape=np.zeros(11))[0],
        official_scene(0, material=np.full(11, 3))[0],
    )
    for payload in faults:
        write(official, official_scene(1)[0], payload)
        with pytest.raises(DtisError, match=f"{official.name}: record 1 is not a CLEVR scene"):
            load(official)


def test_memory_grows_by_no_more_than_twice_what_is_kept(official):
    """A file of 40 scenes holds 34 MB of pixels more than one of 8, of which 2 MB are kept."""
    records = [frame(official_scene(seed)[0]) for seed in range(2)]
    peaks = []
    for count in (8, 40):
        official.write_bytes(b"".join(itertools.islice(itertools.cycle(records), count)))
        tracemalloc.start()
        found = load(official)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    kept = sum(array.nbytes for array in (found.images, found.masks, found.categories))
    assert len(found) == 40
    assert peaks[1] - peaks[0] < 2 * kept


# Rendered scenes


def write_rendered(root, count):
    """Write `count` scenes of a 4x4 object before a background whose red tells the index."""
    folder = root / "clevr6_rendered"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    scenes = []
    for index in range(count):
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[..., 0] = index % 256
        mask = np.zeros((8, 8), np.uint8)
        mask[2:6, 2:6] = 1
        name = f"{index:05d}.png"
        Image.fromarray(pixels).save(folder / "images" / name)
        Image.fromarray(mask).save(folder / "masks" / name)
        objects = [{"category": 1 + index % 6}]
        scenes.append({"image": f"images/{name}", "mask": f"masks/{name}", "objects": objects})
    (folder / "scenes.json").write_text(json.dumps({"background": 0, "scenes": scenes}))
    return folder


def test_rendered_splits(tmp_path, monkeypatch):
    monkeypatch.setattr(clevr, "HELD_OUT", 5)
    write_rendered(tmp_path, 12)
    expected = {
        "train": range(2), "final": range(2, 7), "validation": range(7, 12), "all": range(12),
    }  # fmt: skip
    for split, indices in expected.items():
        found = datasets.load("clevr6-rendered", split, root=tmp_path, size=(8, 8))
        assert found.name == "CLEVR6 (rendered, not the official images)"
        assert found.images[:, 0, 0, 0].tolist() == list(indices)
        assert found.categories[:, 0].tolist() == [1 + index % 6 for index in indices]
        assert (found.masks.sum(axis=(1, 2)) == 16).all()
    assert len(datasets.load("clevr6-rendered", "final", 3, root=tmp_path)) == 3
    monkeypatch.setattr(clevr, "HELD_OUT", 6)
    for split in expected:
        assert len(datasets.load("clevr6-rendered", split, root=tmp_path, size=(8, 8))) == 12


def test_rendered_scenes_missing(tmp_path):
    with pytest.raises(DtisError, match="clevr6_rendered: holds no scenes.json; dtis render clevr"):
        datasets.load("clevr6-rendered", root=tmp_path)
    with pytest.raises(DtisError, match="'clevr6-rendered' has no split 'val'"):
        datasets.load("clevr6-rendered", "val", root=tmp_path)


@needs_rendered
def test_real_rendered_scenes_hold_what_is_claimed():
    test = datasets.load("clevr6-rendered", "validation", 60)
    assert len(clevr.list_folder(RENDERED, "").images) == 1516
    first = json.loads((RENDERED / "scenes.json").read_text())["scenes"][1516 - 320]
    assert np.array_equal(test.images[0], images.read_image(RENDERED / first["image"], (128, 128)))
    listed = (test.categories > 0).sum(axis=1)
    assert set(listed) == {3, 4, 5, 6}
    assert set(np.unique(test.categories)) == set(range(7))
    for mask, objects in zip(test.masks, listed, strict=True):
        counts = np.bincount(mask.ravel())
        assert len(counts) == objects + 1 and counts.min() >= 32
