"""Any folder of images, with or without masks and categories."""

import json
import re
import struct

import numpy as np
import pytest
from image_writer import grey, save, thirds
from PIL import Image

from dtis_core import datasets
from dtis_core.errors import DtisError


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DTIS_CACHE", str(folder))
    return folder


@pytest.fixture
def photos(tmp_path):
    return tmp_path / "photos"


def load(folder, split="all", size=(8, 8), **arguments):
    return datasets.load("folder", split, root=folder, size=size, **arguments)


def scenes_of(folder):
    return folder / "scenes.json"


def write_scenes(folder, scenes, **more):
    scenes_of(folder).write_text(json.dumps({"scenes": scenes} | more))


@pytest.mark.parametrize("inner", ["", "images"])
def test_a_folder_of_images_of_any_format(photos, inner):
    save(photos / inner / "b.png", 20)
    save(photos / inner / "a.JPG", 10)
    save(photos / inner / "c.webp", np.full((9, 7), 30, np.uint8), lossless=True)  # grey
    (photos / inner / "notes.txt").write_text("not an image")
    (photos / inner / "._b.png").write_bytes(b"what macOS leaves beside b.png")
    found = load(photos)
    assert found.name == "photos (own images)"
    assert found.images.shape == (3, 8, 8, 3) and found.images.dtype == np.uint8
    assert found.images[:, 4, 4, 0].tolist() == [10, 20, 30]
    assert found.masks is None and found.categories is None
    assert load(photos, size=None).images.shape == (3, 128, 128, 3)


def test_the_name_is_that_of_the_folder_wherever_it_is_seen_from(photos, monkeypatch):
    save(photos / "a.png", 1)
    monkeypatch.chdir(photos)
    assert load(".").name == "photos (own images)"


def test_images_are_cropped_to_the_centre_then_resized(photos):
    save(photos / "wide.png", grey(thirds(10, 30)))
    save(photos / "tall.png", grey(thirds(10, 30)).transpose(1, 0, 2))
    assert (load(photos, size=(10, 10)).images == 100).all()
    assert (load(photos, size=(5, 5)).images[:, 1:-1, 1:-1] == 100).all()
    two_thirds = load(photos, size=(10, 20)).images[1]
    assert two_thirds[:, [0, 5, 14, 19], 0].tolist() == [[0, 100, 100, 200]] * 10


def test_photographs_are_turned_upright(photos):
    pixels = grey(np.arange(96, dtype=np.uint8).reshape(8, 12))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show the pixels a quarter turn clockwise
    save(photos / "a.png", pixels, exif=exif)
    assert np.array_equal(load(photos, size=(12, 8)).images[0], np.rot90(pixels, -1))


def test_tags_that_cannot_be_written_back_do_no_harm(photos):
    upside_down = struct.pack("<HHIHH", 0x0112, 3, 1, 3, 0)
    unit = struct.pack("<HHI4s", 0x0128, 2, 4, b"in")  # as text, where a number belongs
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + upside_down + unit + bytes(4)
    pixels = grey(np.repeat(np.uint8([0, 200]), 32).reshape(8, 8))  # dark above, light below
    save(photos / "a.jpg", pixels, exif=exif)
    assert load(photos).images[0, [1, 6], 4, 0].tolist() == [200, 0]


def test_16_bits_become_8_and_what_is_transparent_white(photos):
    photos.mkdir()
    Image.fromarray(np.full((9, 9), 100 * 257, np.uint16)).save(photos / "a.png")
    Image.fromarray(np.full((9, 9), 100 * 257, np.uint16)).save(photos / "b.tif")
    Image.new("RGBA", (9, 9), (1, 2, 3, 0)).save(photos / "c.png")
    Image.new("RGBA", (9, 9), (100, 100, 100, 255)).save(photos / "d.png")
    assert load(photos).images[:, 4, 4].tolist() == [[100] * 3, [100] * 3, [255] * 3, [100] * 3]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_values_of_unknown_range_are_refused(photos, kind):
    photos.mkdir()
    Image.fromarray(np.full((9, 9), 1, kind)).save(photos / "a.tif")
    with pytest.raises(DtisError, match="a.tif: .* where 8 or 16 bits a channel are wanted"):
        load(photos)


def test_a_link_that_leads_nowhere_is_named(photos):
    save(photos / "a.png", 1)
    (photos / "b.png").symlink_to(photos / "gone.png")
    with pytest.raises(DtisError, match="b.png: cannot be read; replace or remove it"):
        load(photos)


def test_splits_and_counts_of_a_folder(photos):
    for index in range(11):
        save(photos / f"{index:02d}.png", index)

    def indices(*arguments, **more):
        return load(photos, *arguments, **more).images[:, 0, 0, 0].tolist()

    assert indices("all") == list(range(11))
    assert indices("validation") == [4, 9]
    assert indices("train") == [0, 1, 2, 3, 5, 6, 7, 8, 10]
    assert indices("train", count=2) == [0, 1]
    with pytest.raises(DtisError, match="'folder' has no split 'val'"):
        load(photos, "val")


def test_a_split_without_images(photos):
    save(photos / "a.png", 1)
    with pytest.raises(
        DtisError, match="photos: the 'validation' split of 1 images is empty; every"
    ):
        load(photos, "validation")


def test_a_changed_image_is_read_again(photos):
    save(photos / "a.png", 1)
    assert (load(photos).images == 1).all()
    save(photos / "a.png", 2)
    assert (load(photos).images == 2).all()


def test_masks_are_cropped_as_the_images_and_their_objects_numbered(photos):
    save(photos / "images" / "a.jpg", grey(thirds(10, 30)))
    save(photos / "masks" / "a.png", thirds(10, 30))
    save(photos / "images" / "b.png", grey(thirds(20, 60)))
    save(photos / "masks" / "b.png", thirds(10, 30) == 200)  # one bit per pixel, half the size
    found = load(photos, size=(10, 20))
    assert found.masks[0, 0].tolist() == [0] * 5 + [1] * 10 + [2] * 5
    assert found.masks[1, 0].tolist() == [0] * 15 + [1] * 5
    assert found.categories.tolist() == [[1, 1], [1, 0]]
    assert set(np.unique(found.semantic_masks())) == {0, 1}


def test_masks_with_a_palette_or_16_bits_hold_integers_too(photos):
    values = np.kron([[0, 1], [0, 2]], np.ones((4, 4))).astype(np.uint8)
    palette = Image.fromarray(values)
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])  # colours of the integers
    for name in ("a.png", "b.png"):
        save(photos / "images" / name, 5)
    (photos / "masks").mkdir()
    palette.save(photos / "masks" / "a.png")
    save(photos / "masks" / "b.png", values.astype(np.uint16))
    assert [mask.tolist() for mask in load(photos).masks] == [values.tolist()] * 2


def test_masks_without_objects(photos):
    save(photos / "images" / "a.png", 5)
    save(photos / "masks" / "a.png", np.zeros((8, 8), np.uint8))
    found = load(photos)
    assert not found.masks.any() and found.categories.tolist() == [[0]]


def test_scenes_list_masks_and_categories(photos):
    mask = np.kron([[0, 1], [3, 2]], np.ones((4, 4))).astype(np.uint8)
    save(photos / "shots" / "first.png", 7)
    save(photos / "labels" / "one.png", mask)
    save(photos / "masks" / "second.png", np.minimum(mask, 1))
    save(photos / "shots" / "second.png", 8)
    save(photos / "shots" / "unlisted.png", 9)
    kinds = [{"category": category, "colour": "red"} for category in (4, 2, 9)]
    scenes = [
        {"image": "shots/first.png", "mask": "labels/one.png", "objects": kinds},
        {"image": "shots/second.png", "objects": kinds[:1]},  # the mask is found by name
    ]
    write_scenes(photos, scenes, size=[8, 8], background=0)
    found = load(photos)
    assert found.images[:, 0, 0, 0].tolist() == [7, 8]
    assert found.categories.tolist() == [[4, 2, 9], [4, 0, 0]]
    expected = np.array([0, 4, 2, 9])[mask]
    assert np.array_equal(found.semantic_masks()[0], expected)
    assert np.array_equal(found.semantic_masks()[1], np.where(mask, 4, 0))
    assert load(photos, count=1).categories.tolist() == [[4, 2, 9]]


def test_scenes_without_masks_give_classes_to_cluster(photos):
    save(photos / "images" / "a.png", 7)
    write_scenes(photos, [{"image": "images/a.png", "objects": [{"category": 3}]}])
    found = load(photos)
    assert found.masks is None and found.categories.tolist() == [[3]]


SCENE = {"image": "images/a.png", "mask": "masks/a.png", "objects": [{"category": 1}]}


@pytest.mark.parametrize(
    "content, problem",
    [
        ("{", "cannot be read as JSON"),
        ({}, "scenes is missing; add it: it is a list"),
        ({"scenes": 5}, "scenes is 5; make it a list"),
        ({"scenes": []}, "scenes is empty"),
        ({"scenes": [SCENE], "background": 255}, "background is 255; number it 0"),
        ({"scenes": [SCENE, 7]}, "scenes[1]: found 7 where an object was expected"),
        ({"scenes": [{"objects": []}]}, "scenes[0].image is missing; add it: it is a text"),
        ({"scenes": [SCENE | {"image": 3}]}, "scenes[0].image is 3; make it a text"),
        ({"scenes": [SCENE | {"image": "b.png"}]}, "scenes[0].image names"),
        ({"scenes": [SCENE | {"mask": "b.png"}]}, "scenes[0].mask names"),
        ({"scenes": [SCENE | {"mask": None}]}, "scenes[0].mask is None; make it a text"),
        ({"scenes": [{"image": "images/a.png"}]}, "scenes[0].objects is missing"),
        ({"scenes": [SCENE | {"objects": {}}]}, "scenes[0].objects is {}; make it a list"),
        ({"scenes": [SCENE | {"objects": [{}]}]}, "scenes[0].objects[0].category is missing"),
        (
            {"scenes": [SCENE | {"objects": [{"category": "cube"}]}]},
            "scenes[0].objects[0].category is 'cube'; make it an integer",
        ),
        (
            {"scenes": [SCENE | {"objects": [{"category": True}]}]},
            "scenes[0].objects[0].category is True; make it an integer",
        ),
        (
            {"scenes": [SCENE, SCENE | {"objects": [{"category": 1}, {"category": 0}]}]},
            "scenes[1].objects[1].category is 0; number the categories from 1",
        ),
    ],
)
def test_malformed_scenes_name_the_file_and_the_field(photos, content, problem):
    save(photos / "images" / "a.png", 1)
    save(photos / "masks" / "a.png", np.ones((8, 8), np.uint8))
    scenes_of(photos).write_text(content if isinstance(content, str) else json.dumps(content))
    start = re.escape(f"{scenes_of(photos)}: ")
    with pytest.raises(DtisError, match=f"{start}{re.escape(problem)}"):
        load(photos)


def test_scenes_of_which_some_have_no_mask(photos):
    save(photos / "a.png", 1)
    save(photos / "mask.png", np.ones((8, 8), np.uint8))
    scene = {"image": "a.png", "objects": [{"category": 1}]}
    write_scenes(photos, [scene, scene | {"mask": "mask.png"}, scene])
    with pytest.raises(DtisError, match="scenes.json: 2 of 3 scenes have no mask"):
        load(photos)


def test_a_mask_that_shows_more_objects_than_are_listed(photos):
    for name in ("a.png", "b.png"):
        save(photos / "images" / name, 1)
    save(photos / "masks" / "a.png", np.ones((8, 8), np.uint8))
    save(photos / "masks" / "b.png", np.full((8, 8), 2, np.uint8))
    one = [{"category": 1}]
    write_scenes(photos, [{"image": f"images/{name}.png", "objects": one} for name in "ab"])
    with pytest.raises(DtisError, match="b.png: holds the integer 2, but scenes.json lists 1"):
        load(photos)


def test_faulty_masks(photos):
    save(photos / "images" / "a.png", grey(thirds(10, 30)))

    def expect(problem):
        with pytest.raises(DtisError, match=problem):
            load(photos, size=(10, 30))

    (photos / "masks").mkdir()
    expect("masks: holds no image .*put a mask of each image there, or remove")
    save(photos / "masks" / "b.png", thirds(10, 30))
    expect("a.png: has no mask of its name in .*masks")
    mask = save(photos / "masks" / "a.png", grey(thirds(10, 30)))
    expect("masks/a.png: cannot be read .*mode RGB, where a mask has one channel of integers")
    save(mask, thirds(10, 30).astype(np.uint16) * 2)
    expect("masks/a.png: holds integers from 0 to 400; number the objects of a mask from 1 to 255")
    save(mask, thirds(30, 30))
    expect("masks/a.png: is 30x30 pixels, in other proportions than a.png of 30x10; make the mask")
    mask.write_bytes(mask.read_bytes()[:-30])
    expect("masks/a.png: cannot be read as an image")
    mask.unlink()
    save(photos / "masks" / "a.jpg", thirds(10, 30))
    expect("masks/a.jpg: JPEG changes the integers of a mask; save it as PNG")


def test_proportions_may_differ_by_rounding(photos):
    save(photos / "images" / "a.png", np.zeros((33, 100, 3), np.uint8))
    save(photos / "masks" / "a.png", np.ones((16, 50), np.uint8))
    assert (load(photos).masks == 1).all()


def test_no_folder_or_no_image_in_it(photos, tmp_path):
    advice = "give the folder that holds your images"
    with pytest.raises(DtisError, match=f"photos: there is no such folder; {advice}"):
        load(photos)
    photos.mkdir()
    with pytest.raises(DtisError, match=f"photos: holds no image .*{advice}"):
        load(photos)
    (photos / "a.png").write_bytes(b"not an image")
    with pytest.raises(DtisError, match="a.png: cannot be read as an image .*replace or remove it"):
        load(photos)
