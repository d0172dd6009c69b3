"""Data sets that come as image files or matrices: small files made here, and the real ones."""

import numpy as np
import pytest
from image_writer import grey, save, thirds
from PIL import Image
from scipy.io import savemat

from dtis_core import datasets, paths
from dtis_core.datasets import gtsrb, svhn
from dtis_core.errors import DtisError

WEIZMANN = paths.data_root() / "weizmann_horse_db"
GTSRB = paths.data_root() / "GTSRB"


def needs(folder):
    return pytest.mark.skipif(not folder.exists(), reason=f"real data: there is no {folder}")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DTIS_CACHE", str(folder))
    return folder


# SVHN


def write_mat(root, part, labels, seed=0):
    """Write a file of random digits in the official layout; return them as (n, 32, 32, 3)."""
    (root / "SVHN").mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3, len(labels)), np.uint8)
    path = root / "SVHN" / f"{part}_32x32.mat"
    savemat(path, {"X": pixels, "y": np.array(labels, np.uint8)[:, None]}, do_compression=True)
    return path, pixels.transpose(3, 0, 1, 2)


def load_svhn(root, split, **arguments):
    return datasets.load("svhn", split, root=root, **arguments)


def test_svhn_splits_sizes_and_categories(tmp_path):
    labels = {"train": [1, 10, 9], "test": [2, 3], "extra": [5, 10, 6, 7]}
    pixels = {part: write_mat(tmp_path, part, labels[part], len(part))[1] for part in labels}
    parts = {"all": ("train", "test", "extra"), "labelled": ("train", "test")}
    for split in ("all", "labelled", "train", "test", "extra"):
        found = load_svhn(tmp_path, split)
        expected = [label for part in parts.get(split, (split,)) for label in labels[part]]
        assert found.name == "SVHN (real)" and found.masks is None
        assert found.images.shape == (len(expected), 28, 28, 3)
        # Digit 0, which the files call 10, is category 1, digit 1 is category 2.
        assert found.categories.tolist() == [[label % 10 + 1] for label in expected]
    resized = Image.fromarray(pixels["test"][1]).resize((28, 28), Image.Resampling.BILINEAR)
    assert np.array_equal(load_svhn(tmp_path, "test").images[1], np.asarray(resized))
    whole = load_svhn(tmp_path, "all", size=(32, 32))
    assert np.array_equal(whole.images, np.concatenate(list(pixels.values())))
    assert load_svhn(tmp_path, "all", count=4).categories.ravel().tolist() == [2, 1, 10, 3]
    with pytest.raises(DtisError, match="'svhn' has no split 'label', did you mean 'labelled'"):
        load_svhn(tmp_path, "label")


def test_svhn_without_extra_says_so(tmp_path):
    for part in ("train", "test"):
        write_mat(tmp_path, part, [1, 2])
    found = load_svhn(tmp_path, "all")
    assert found.name == "SVHN (real, without extra)" and len(found) == 4
    assert load_svhn(tmp_path, "labelled").name == "SVHN (real)"


@pytest.mark.parametrize("split, missing", [("labelled", "test"), ("extra", "extra")])
def test_svhn_missing_files(tmp_path, split, missing):
    write_mat(tmp_path, "train", [1])
    with pytest.raises(
        DtisError, match=f"{missing}_32x32.mat: there is no such file; download it from .* SVHN/"
    ):
        load_svhn(tmp_path, split)


def test_svhn_is_cached_until_the_file_changes(tmp_path, monkeypatch):
    write_mat(tmp_path, "train", [1])
    first = load_svhn(tmp_path, "train")
    with monkeypatch.context() as patched:
        patched.setattr(svhn, "read_matrices", None)
        assert np.array_equal(load_svhn(tmp_path, "train").images, first.images)
    write_mat(tmp_path, "train", [1, 2])
    assert len(load_svhn(tmp_path, "train")) == 2


def test_svhn_truncated_anywhere(tmp_path, cache_folder):
    path, _ = write_mat(tmp_path, "train", [1, 2])
    whole = path.read_bytes()
    for end in (0, 3, 100, 130, 140, 200, 1000, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(DtisError, match="train_32x32.mat: is not SVHN's .* or is damaged"):
            load_svhn(tmp_path, "train")
    assert not cache_folder.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"X": np.zeros((32, 32, 3, 2), np.uint8)},
        {"X": np.zeros((32, 32, 3, 2)), "y": np.ones((2, 1))},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((3, 1))},
        {"X": np.zeros((28, 28, 3, 2), np.uint8), "y": np.ones((2, 1))},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.zeros((2, 1))},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": "ab"},
    ],
)
def test_svhn_other_matrices(tmp_path, content):
    path, _ = write_mat(tmp_path, "train", [1])
    savemat(path, content)
    with pytest.raises(DtisError, match="train_32x32.mat: is not SVHN's matrices"):
        load_svhn(tmp_path, "train")


# Digits


def test_digits():
    whole = datasets.load("digits", "all")
    assert whole.name == "digits (real)" and whole.masks is None
    assert whole.images.shape == (1797, 28, 28, 3)
    assert (whole.images == whole.images[..., :1]).all()
    assert whole.images.min() == 0 and whole.images.max() == 255
    assert whole.categories[:11, 0].tolist() == [*range(1, 11), 1]  # the digits 0 to 9, and 0
    assert np.bincount(whole.categories.ravel())[1:].min() > 170
    test = datasets.load("digits", "validation", size=(8, 8))
    train = datasets.load("digits", "train", 3, size=(8, 8))
    assert len(test) == 359 and len(train) == 3
    small = datasets.load("digits", "all", size=(8, 8)).images
    assert np.array_equal(test.images, small[4::5]) and np.array_equal(train.images, small[:3])


# Weizmann Horse


def write_horses(root, count=6):
    horses = root / "weizmann_horse_db"
    for index in range(count):
        save(horses / "horse" / f"{index}.png", grey(thirds(10, 30)))
        save(horses / "mask" / f"{index}.png", thirds(10, 30) // 200)
    return horses


def test_weizmann_squeezes_whole_frames(tmp_path):
    write_horses(tmp_path)
    found = datasets.load("weizmann", "all", root=tmp_path, size=(10, 15))
    assert found.name == "Weizmann Horse (real)" and found.images.shape == (6, 10, 15, 3)
    assert (found.masks == np.repeat([0, 0, 1], 5)).all()
    assert found.images[0, 0, [0, 7, 14], 0].tolist() == [0, 100, 200]
    assert found.categories.tolist() == [[1]] * 6
    assert datasets.load("weizmann", "validation", root=tmp_path).images.shape == (1, 128, 128, 3)
    assert len(datasets.load("weizmann", "train", root=tmp_path, size=(8, 8))) == 5


def test_weizmann_missing_and_damaged_files(tmp_path):
    def expect(problem):
        with pytest.raises(DtisError, match=problem):
            datasets.load("weizmann", "all", root=tmp_path)

    expect("weizmann_horse_db/horse: there is no such folder; download the Weizmann Horse")
    horses = write_horses(tmp_path)
    (horses / "mask" / "2.png").unlink()
    expect("horse/2.png: has no mask of its name in .*mask; download")
    save(horses / "mask" / "2.png", grey(thirds(10, 30)))
    expect("mask/2.png: cannot be read as an image .*one channel")
    save(horses / "mask" / "2.png", thirds(10, 30))
    damaged = horses / "horse" / "4.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    expect("horse/4.png: cannot be read as an image .*replace or remove it")


@needs(WEIZMANN)
def test_real_weizmann():
    horses = datasets.load("weizmann", "all")
    assert len(horses) == 327
    assert horses.masks.mean() == pytest.approx(0.252, abs=0.0005)


# GTSRB-8


def write_signs(root, tracks=5, frames=2):
    """Write signs whose red is the track and whose green the class."""
    folder = root / "GTSRB" / "Final_Training" / "Images"
    for category, number in enumerate((3, 7, 9, 11, 17, 18, 25, 35), start=1):
        for track in range(tracks):
            pixels = np.full((6, 9, 3), (track, category, 0), np.uint8)
            for frame in range(frames):
                save(folder / f"{number:05d}" / f"{track:05d}_{frame:05d}.ppm", pixels)
    return folder


def test_gtsrb_holds_out_whole_tracks(tmp_path):
    write_signs(tmp_path)
    splits = {
        split: datasets.load("gtsrb8", split, root=tmp_path)
        for split in ("all", "train", "validation")
    }
    assert [len(found) for found in splits.values()] == [80, 64, 16]
    for split, tracks in {"all": range(5), "train": range(4), "validation": [4]}.items():
        found = splits[split]
        assert found.name == "GTSRB-8 (real)" and found.images.shape[1:] == (28, 28, 3)
        assert set(found.images[:, 0, 0, 0]) == set(tracks)
        assert np.array_equal(found.images[:, 0, 0, 1], found.categories[:, 0])
        assert np.bincount(found.categories[:, 0])[1:].tolist() == [len(tracks) * 2] * 8
    first = datasets.load("gtsrb8", "all", 40, root=tmp_path, size=(8, 10))
    assert first.images.shape == (40, 8, 10, 3) and set(first.categories[:, 0]) == set(range(1, 9))


def test_gtsrb_missing_and_damaged_files(tmp_path):
    folder = write_signs(tmp_path, tracks=1, frames=1)
    (folder / "00018" / "00000_00000.ppm").write_bytes(b"P6 6 9 255\n")
    with pytest.raises(DtisError, match="00018/00000_00000.ppm: cannot be read as an image"):
        datasets.load("gtsrb8", "all", root=tmp_path)
    (folder / "00018" / "00000_00000.ppm").unlink()
    with pytest.raises(DtisError, match="00018: holds no image .*download GTSRB_Final_Training"):
        datasets.load("gtsrb8", "all", root=tmp_path)
    with pytest.raises(DtisError, match="00003: there is no such folder; download GTSRB_Final"):
        datasets.load("gtsrb8", "all", root=tmp_path / "elsewhere")


@needs(GTSRB)
def test_real_gtsrb(monkeypatch):
    test = datasets.load("gtsrb8", "validation")
    assert len(test) == 30 * (9 + 9 + 9 + 8 + 7 + 8 + 10 + 8)  # whole tracks
    assert 50 < test.images.mean() < 150
    # Reading all images takes too long with every call's types checked.
    monkeypatch.setattr(gtsrb, "read_all", lambda files, *_: np.zeros((len(files), 1, 1, 3), "u1"))
    signs = datasets.load("gtsrb8", "all")
    assert len(signs) == 10_650
    expected = [1410, 1440, 1470, 1320, 1110, 1200, 1500, 1200]
    assert np.bincount(signs.categories[:, 0])[1:].tolist() == expected
