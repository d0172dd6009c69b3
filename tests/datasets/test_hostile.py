"""Data as nobody should write them: an array or one clear line, and nothing else is read."""

import json
import os
import socket

import numpy as np
import pytest
from image_writer import save
from scipy.io import savemat
from tfrecord_writer import encode, write

from dtis_core import datasets
from dtis_core.datasets import matrices, tetrominoes
from dtis_core.datasets.tfrecord import LARGEST_RECORD, read_examples
from dtis_core.errors import DtisError


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    save(folder / "a.png", 1)
    return folder


def load(folder, split="all", **arguments):
    return datasets.load("folder", split, root=folder, size=(8, 8), **arguments)


def list_scenes(folder, **scene):
    scenes = [{"image": "a.png", "objects": [{"category": 1}]} | scene]
    (folder / "scenes.json").write_text(json.dumps({"scenes": scenes}))


# What is no file


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(path))  # a path that is not too long


def make_link_to_a_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [make_fifo, make_socket, make_link_to_a_device, os.mkdir])
@pytest.mark.parametrize("name", ["b.png", "masks/a.png", "scenes.json"])
def test_only_files_are_read(photos, make, name, monkeypatch):
    monkeypatch.chdir(photos)
    (photos / name).parent.mkdir(exist_ok=True)
    make(photos / name)
    with pytest.raises(DtisError, match=f"{name}: is not a regular file; replace or remove it"):
        load(photos)


@pytest.mark.parametrize(
    ("data", "file"),
    [
        ("multi-dsprites-official", "multi_dsprites_colored_on_grayscale.tfrecords"),
        ("tetrominoes-official", "tetrominoes_train.tfrecords"),
    ],
)
def test_a_pipe_is_no_official_file(tmp_path, data, file):
    (tmp_path / "multi_object").mkdir()
    os.mkfifo(tmp_path / "multi_object" / file)
    with pytest.raises(DtisError, match=f"{file}: is not a regular file"):
        datasets.load(data, root=tmp_path)


@pytest.mark.parametrize(
    ("root", "problem"),
    [
        ("a\0b", "is no usable path"),
        ("~nobody-of-this-name/a", "is no usable path"),
        ("a" * 300, "File name too long"),
        ("\ud800", "is no usable path"),
    ],
)
def test_a_root_that_can_be_no_folder(root, problem):
    with pytest.raises(DtisError, match=problem):
        datasets.load("folder", root=root)


def test_a_folder_that_may_not_be_read_is_named(photos, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(photos), "iterdir", denied)
    with pytest.raises(DtisError, match="photos: Permission denied; check"):
        load(photos)


# What lies elsewhere


@pytest.mark.parametrize("field", ["image", "mask"])
@pytest.mark.parametrize("way", ["up", "absolute", "link"])
def test_scenes_name_no_file_outside_their_folder(tmp_path, photos, field, way):
    secret = save(tmp_path / "secret.png", np.ones((8, 8), np.uint8))
    (photos / "link.png").symlink_to(secret)
    name = {"up": "../secret.png", "absolute": str(secret), "link": "link.png"}[way]
    list_scenes(photos, **{field: name})
    with pytest.raises(DtisError, match=rf"scenes\[0\].{field} names .* is not in .*; copy it"):
        load(photos)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "\ud800", "b\n.png"])
def test_a_name_that_is_none_is_quoted_in_short(photos, name):
    list_scenes(photos, image=name)
    with pytest.raises(DtisError, match=r"scenes\[0\].image names '.{1,90}', which is no file"):
        load(photos)


def test_scenes_may_lie_behind_a_link_themselves(tmp_path, photos):
    list_scenes(photos, mask="a.png")
    save(photos / "a.png", np.ones((8, 8), np.uint8))
    (tmp_path / "here").symlink_to(photos)
    assert len(load(tmp_path / "here")) == 1


# Numbers without measure


@pytest.mark.parametrize("category", [65_536, 10**9, 10**30, 10**400, -(10**400)])
def test_a_category_without_measure(photos, category):
    list_scenes(photos, objects=[{"category": category}])
    with pytest.raises(DtisError, match=r"objects\[0\].category is .*; number .* 65535 at most"):
        load(photos)


def test_more_objects_than_a_mask_can_number(photos):
    list_scenes(photos, objects=[{"category": 1}] * 256)
    with pytest.raises(DtisError, match="objects lists 256; an image has 255 at most"):
        load(photos)


def test_json_deeper_than_the_stack(photos):
    (photos / "scenes.json").write_text("[" * 100_000)
    with pytest.raises(DtisError, match="scenes.json: cannot be read as JSON"):
        load(photos)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"count": 10**20}, "count is 1000.*; ask for .* at most 10000000"),
        ({"size": (10**9, 10**9)}, r"size is \(1000000000, 1000000000\); give sides of 1 to 4096"),
        ({"size": (0, 8)}, r"size is \(0, 8\)"),
        ({"size": (8, -1)}, r"size is \(8, -1\)"),
    ],
)
@pytest.mark.parametrize("name", ["postcards", "folder", "digits"])
def test_counts_and_sizes_without_measure(photos, name, asked, problem):
    with pytest.raises(DtisError, match=problem):
        datasets.load(name, "all", root=photos if name == "folder" else None, **asked)


def test_more_than_fits_in_memory(monkeypatch):
    def full(*arguments):
        raise MemoryError("119 GiB")

    monkeypatch.setattr(tetrominoes, "generated", full)
    with pytest.raises(DtisError, match=r"'tetrominoes' does not fit .*119 GiB.; ask for fewer"):
        datasets.load("tetrominoes", count=1)


@pytest.mark.parametrize("data", ["weizmann", "gtsrb8"])
def test_a_split_of_too_few_images(tmp_path, data):
    for name in ("weizmann_horse_db/horse", "weizmann_horse_db/mask"):
        save(tmp_path / name / "a.png", np.ones((8, 8), np.uint8))
    save(tmp_path / "GTSRB/Final_Training/Images/00003/00000_0.png", 1)
    with pytest.raises(DtisError, match="the 'validation' split of 1 images is empty"):
        datasets.load(data, "validation", root=tmp_path)


# Images


def test_an_image_that_is_a_program_is_not_run(photos):
    (photos / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")
    with pytest.raises(DtisError, match="a.png: cannot be read as an image .cannot identify"):
        load(photos)


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "webp", "tif", "ppm"])
def test_a_wrong_byte_anywhere_in_an_image(photos, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    (photos / "a.png").unlink()
    whole = save(photos / f"a.{kind}", pixels).read_bytes()
    read = 0
    for position in range(0, len(whole), max(1, len(whole) // 60)):
        for value in (0x00, 0x7F, 0xFF):
            damaged = bytearray(whole)
            damaged[position] = value
            (photos / f"a.{kind}").write_bytes(damaged)
            try:
                read += load(photos).images.shape == (1, 8, 8, 3)
            except DtisError as error:
                assert str(error).startswith(f"{photos}/a.{kind}: cannot be read as an image (")
    assert read > 0


# Records


def test_a_record_longer_than_any_scene(tmp_path):
    path = write(tmp_path / "a", bytes(LARGEST_RECORD + 1))
    with pytest.raises(DtisError, match=f"its length is {LARGEST_RECORD + 1} bytes"):
        list(read_examples(path))


PIECES = {
    "image": [bytes(3675)],
    "mask": [bytes(4 * 1225)],
    "shape": [0.0, 19, 19, 19],
    "color": [0.0] * 3 + [1.0] * 9,
    "x": [0.0, 1, 2, 3],
    "y": [0.0, 1, 2, 3],
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": [0.0, 1e30, 1, 1]},
        {"shape": [0.0, float("nan"), 1, 1]},
        {"shape": [0, 0, 1, 1]},
        {"shape": [0.0, 1.5, 1, 1]},
        {"color": [1e30] * 12},
        {"color": [0.0] * 4},
        {"x": [0.0, 34, 0, 0]},
        {"y": [0.0, -1, 0, 0]},
        {"y": [b"x"] * 4},
        {"x": [1 << 62] * 4},
    ],
)
def test_factors_without_measure(tmp_path, wrong):
    (tmp_path / "multi_object").mkdir()
    path = tmp_path / "multi_object" / "tetrominoes_train.tfrecords"
    write(path, encode(PIECES), encode(PIECES | wrong))
    with pytest.raises(DtisError, match="tfrecords: record 1 has no factors of a Tetrominoes"):
        tetrominoes.read_factors(path)
    if "shape" in wrong:
        with pytest.raises(DtisError, match="tfrecords: record 1 is not a Tetrominoes scene"):
            datasets.load("tetrominoes-official", root=tmp_path)


# Matrices


@pytest.fixture
def digits(tmp_path):
    """The file of two digits, as SVHN has them."""
    path = tmp_path / "SVHN" / "train_32x32.mat"
    path.parent.mkdir()
    pixels = np.zeros((32, 32, 3, 2), np.uint8)
    savemat(path, {"X": pixels, "y": np.ones((2, 1), np.uint8)})
    return path


def test_a_wrong_byte_that_crashes_the_reader(tmp_path, digits):
    whole = digits.read_bytes()
    crashes = bytearray(whole)
    crashes[145] = 0xFF  # of the size of the array flags
    digits.write_bytes(crashes)
    with pytest.raises(DtisError, match="train_32x32.mat: is not SVHN's.*ended by signal"):
        datasets.load("svhn", "train", root=tmp_path)


def test_a_reader_without_end_is_ended(tmp_path, digits, monkeypatch):
    monkeypatch.setattr(matrices, "TIMEOUT", 0.01)
    with pytest.raises(DtisError, match="reading took more than 0.01 s"):
        datasets.load("svhn", "train", root=tmp_path)
