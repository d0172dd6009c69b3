"""Exported scenes, opened again by other programs' readers: layers in place, with transparency."""

import base64
import io
import re
import sys
import xml.etree.ElementTree as ElementTree
import zipfile

import numpy as np
import pytest
from kinds import IMAGES, only
from PIL import Image

from dtis_core.errors import DtisError
from dtis_core.pictures import to_pixels
from dtis_core.scenes.export import EXPORTS, export, layers_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def scene(unedited):
    """A scene with a copy, an empty object and an order of depths."""
    scene = unedited.edit(1, sprite=2)
    if len(scene.objects) > 1:
        scene = scene.edit(2, sprite=0)
    scene = scene.duplicate(1)
    return scene.edit(1, to_front=True)


def composed(parts, size):
    """Lay pictures with transparency over one another, each at its place, on black."""
    whole = Image.new("RGBA", size, "black")
    for left, top, picture in parts:
        whole.alpha_composite(picture.convert("RGBA"), (left, top))
    return np.asarray(whole.convert("RGB")).astype(int)


def by_hand(scene):
    """Eq. (1) over layers whose colours a file can hold: those of an untrained model may not."""
    image = scene.background[0].clamp(0, 1)
    for number in scene.orders[0]:
        alpha, colours = scene.alphas[0, number - 1], scene.layers[0, number - 1].clamp(0, 1)
        image = alpha * colours + (1 - alpha) * image
    return to_pixels(image[None])[0].astype(int)


def assert_equal_picture(parts, scene):
    """The layers make the picture, but for the rounding of each."""
    wanted = by_hand(scene)
    drawn = composed(parts, wanted.shape[1::-1])
    assert np.abs(drawn - wanted).max() <= 2 + len(parts)
    inside = (scene.layers >= 0).all() and (scene.layers <= 1).all()
    if inside:
        assert np.abs(wanted - to_pixels(scene.reconstruction)[0]).max() <= 1


def test_png_is_the_picture(scene, tmp_path):
    export(scene, tmp_path / "a.png")
    drawn = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(drawn, to_pixels(scene.reconstruction)[0])


def test_openraster_has_the_layers_the_nearest_first(scene, tmp_path):
    export(scene, tmp_path / "a.ora")
    with zipfile.ZipFile(tmp_path / "a.ora") as archive:
        assert archive.infolist()[0].filename == "mimetype"
        assert archive.read("mimetype") == b"image/openraster"
        stack = ElementTree.fromstring(archive.read("stack.xml")).find("stack")
        parts = [
            (
                int(one.get("x")),
                int(one.get("y")),
                Image.open(io.BytesIO(archive.read(one.get("src")))),
            )
            for one in reversed(stack)
        ]
        assert [one.get("name") for one in reversed(stack)] == [
            one.name for one in layers_of(scene)
        ]
    assert_equal_picture(parts, scene)


def test_a_drawing_has_the_layers_in_place(scene, tmp_path):
    export(scene, tmp_path / "a.svg")
    parts = []
    for group in ElementTree.parse(tmp_path / "a.svg").iter(f"{SVG}image"):
        png = base64.b64decode(group.get("href").partition(",")[2])
        picture = Image.open(io.BytesIO(png))
        assert picture.size == (int(group.get("width")), int(group.get("height")))
        parts.append((int(group.get("x")), int(group.get("y")), picture))
    assert_equal_picture(parts, scene)


def test_an_animation_adds_layer_after_layer(scene, tmp_path):
    export(scene, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as animation:
        shown = len(layers_of(scene))
        assert animation.n_frames <= shown  # equal frames are one
        animation.seek(animation.n_frames - 1)
        last = np.asarray(animation.convert("RGBA")).astype(int)
    there = last[..., 3] == 255
    covered = 1 - (1 - scene.alphas[0, :, 0]).prod(dim=0).numpy()
    if scene.model.config.backgrounds:
        assert there.all()
        assert np.abs(last[..., :3] - by_hand(scene)).mean() < 8  # a GIF has 256 colours
    else:
        assert (there == (covered > 0.5))[np.abs(covered - 0.5) > 0.05].all()


def test_photoshop_has_named_layers(scene, tmp_path):
    psd_tools = pytest.importorskip("psd_tools", reason="pip install 'dtis[export]'")
    export(scene, tmp_path / "a.psd")
    document = psd_tools.PSDImage.open(tmp_path / "a.psd")
    assert [one.name for one in document] == [one.name for one in layers_of(scene)]
    assert_equal_picture([(one.left, one.top, one.topil()) for one in document], scene)


@only("tetrominoes")
def test_without_the_package_it_says_how_to_get_it(scene, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psd_tools", None)
    with pytest.raises(DtisError, match=re.escape("pip install 'dtis[export]'")):
        export(scene, tmp_path / "a.psd")
    assert not list(tmp_path.iterdir())


@only("tetrominoes")
@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("a.psb", 0, "did you mean '.psd'"),
        ("a", 0, "ends in none of"),
        ("a.png", 1, "must be in 0..0"),
    ],
)
def test_what_cannot_be_written_is_named(scene, tmp_path, name, image, message):
    with pytest.raises(DtisError, match=re.escape(message)):
        export(scene, tmp_path / name, image)


@only("clevr")
def test_equal_scenes_give_equal_bytes(run, tmp_path):
    for ending in EXPORTS.keys() - {".psd"}:
        for name in ("a", "b"):
            export(run.decompose(IMAGES), tmp_path / f"{name}{ending}", image=1)
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
