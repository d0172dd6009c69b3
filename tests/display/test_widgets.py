"""Widgets driven from Python, as a front end would drive them."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from dtis_core.display.widgets import (
    captioned,
    explore,
    is_live,
    make_control,
    png_bytes,
)
from dtis_core.errors import DtisError
from dtis_core.pictures import to_bytes


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def shaded(brightness: float, rows: int = 4, kind: str = "plain", wide: bool = False):
    picture = np.full((rows, 6 if wide else 3), round(255 * brightness), np.uint8)
    if kind == "broken":
        raise ValueError("no <such> kind")
    return picture


CONTROLS = {
    "brightness": (0.0, 1.0, 0.2),
    "rows": (1, 9, 4),
    "kind": ["plain", "broken"],
    "wide": False,
}


@pytest.fixture
def panel():
    return explore(shaded, CONTROLS, zoom=2)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 4)])
def test_png_keeps_every_pixel(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(decoded(png_bytes(picture)), picture)


@pytest.mark.parametrize("picture", [np.zeros((4, 5)), np.zeros((4, 5, 2), np.uint8)])
def test_png_of_something_else_is_an_error_that_says_what(picture):
    with pytest.raises(DtisError, match=rf"{picture.dtype} \(4, 5.*to_bytes"):
        png_bytes(picture)


def test_bytes_are_rounded_and_clipped():
    assert to_bytes(np.array([-1, 0, 0.4999, 1, 2])).tolist() == [0, 0, 127, 255, 255]


def test_captioned_shows_all_pictures_unchanged():
    pictures = {name: np.full((3, 40, 3), value, np.uint8) for name, value in (("a", 7), ("b", 9))}
    whole = captioned(pictures, zoom=2)
    for value in (7, 9):
        assert (whole == value).all(axis=2).sum() == 6 * 80


def test_a_slider_renders_at_once_and_in_place(panel):
    before = panel.image
    panel.controls["brightness"].value = 1.0
    assert panel.image is before
    assert np.array_equal(decoded(panel.image.value), np.full((8, 6), 255))


def test_controls_have_their_arguments_names_and_kinds(panel):
    assert [c.description for c in panel.controls.values()] == list(CONTROLS)
    assert panel.values == {"brightness": 0.2, "rows": 4, "kind": "plain", "wide": False}
    assert isinstance(panel.controls["rows"].value, int)


def test_reset_restores_all_controls_and_renders_once(panel):
    start = panel.image.value
    panel.set(brightness=0.9, rows=7, wide=True)
    rendered = []
    panel.image.observe(rendered.append, "value")
    panel.button.click()
    assert panel.values == {"brightness": 0.2, "rows": 4, "kind": "plain", "wide": False}
    assert panel.image.value == start
    assert len(rendered) == 1


def test_an_error_in_render_is_shown_and_goes_away(panel):
    panel.controls["kind"].value = "broken"
    assert "ValueError: no &lt;such&gt; kind" in panel.message.value
    assert panel.image.value == b""
    panel.controls["kind"].value = "plain"
    assert panel.message.value == ""
    assert decoded(panel.image.value).shape == (8, 6)


def test_what_is_displayed_holds_a_plain_picture_beside_the_widget(panel):
    bundle = panel._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id
    assert base64.b64decode(bundle["image/png"]) == panel.image.value
    assert "brightness = 0.2" in bundle["text/plain"]


@pytest.mark.parametrize("values", [(0, 1), (0, 1, 2), (1, 0, 1), [], None])
def test_a_wrong_control_is_named(values):
    with pytest.raises(DtisError, match="control 'angle': found"):
        make_control("angle", values)


def test_live_means_a_server_and_no_batch_run(monkeypatch):
    monkeypatch.delenv("DTIS_FIGURES", raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/some.ipynb")
    assert is_live()
    monkeypatch.setenv("DTIS_FIGURES", "figures")
    assert not is_live()
    monkeypatch.delenv("JPY_SESSION_NAME")
    monkeypatch.delenv("DTIS_FIGURES")
    assert not is_live()
