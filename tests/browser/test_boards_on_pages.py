"""Boards on a page without a kernel, under Chromium's mouse and keys."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from browser_page import overflow_in_themes, page_in_chromium, page_of_widgets, pixels_of
from PIL import Image

from dtis_core.display.layer_board import LayerBoard
from dtis_core.display.module_board import ModuleBoard
from dtis_core.model.composition import ordered_occlusion, visibilities
from dtis_core.pictures import to_bytes, to_pixels

pytestmark = pytest.mark.browser

SIDE, CYCLE = 24, [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def layer_board():
    """Three opaque squares that overlap pairwise and all three in the middle."""
    alphas = torch.zeros(1, 3, 1, SIDE, SIDE)
    for layer, (top, left) in enumerate([(2, 7), (9, 3), (9, 10)]):
        alphas[0, layer, 0, top : top + 11, left : left + 11] = 1
    colours = torch.eye(3).view(1, 3, 3, 1, 1).expand(1, 3, 3, SIDE, SIDE) * 0.8
    order = ordered_occlusion(1, 3, alphas)
    return LayerBoard(alphas, colours, order, target=colours[:, 0])


def module_board(name):
    sprite = torch.zeros(4, 12, 12)
    sprite[0], sprite[3, 2:10, 3:9] = 0.5, 1
    placing = name == "placement"
    controls = {"first": (0, 1.0), "x": (1, 2.0)}
    return ModuleBoard(sprite, name, controls, (SIDE, SIDE) if placing else None)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    boards = [layer_board(), *map(module_board, ("placement", "projective", "tps"))]
    file = page_of_widgets(folder, boards)
    with page_in_chromium(file) as page:
        yield page


@pytest.fixture
def opened(page):
    """Open one of the boards anew, by its label."""

    def opened(label):
        page.reload()
        return page.get_by_role("group", name=label, exact=True)

    return opened


def assert_shows(own, board, **state):
    """The picture is the one that Python composes under a state."""
    for name, value in state.items():
        setattr(board, name, value)
    own.page.wait_for_timeout(150)
    shown = pixels_of(own.locator(".dtis-place canvas"))
    np.testing.assert_allclose(shown, to_pixels(board.image[0]).astype(int), atol=2)


def assert_says(own, beginning):
    """The line below the picture begins so, once it is drawn anew."""
    words = re.compile(f"^{re.escape(beginning)}")
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(own.get_by_role("status")).to_have_text(words)


def drag(page, picture, start, end):
    """Drag by the mouse, between places in pixels of the picture's own."""
    picture.scroll_into_view_if_needed()
    area = picture.bounding_box()
    points = [
        (area["x"] + x * area["width"], area["y"] + y * area["height"]) for x, y in (start, end)
    ]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=6)
    page.mouse.up()


LAYERS = "layers, and who hides whom"


def test_a_layer_is_dragged_and_brought_closer(page, opened):
    own, board = opened(LAYERS), layer_board()
    assert_shows(own, board)
    drag(page, own.locator(".dtis-picture"), (12.5 / SIDE, 3.5 / SIDE), (8.5 / SIDE, 5.5 / SIDE))
    shifts = [[-4, 2], [0, 0], [0, 0]]
    assert_shows(own, board, shifts=shifts)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowUp")
    assert_shows(own, board, shifts=[[1, 1], [0, 0], [0, 0]])
    page.keyboard.press("PageUp")
    assert_says(own, "An order, the farthest first: 2 < 1 < 3.")
    swapped = [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    assert_shows(own, board, occlusion=swapped)
    own.get_by_role("button", name="layer 1 farther").click()
    assert_shows(own, board, occlusion=ordered_occlusion(1, 3, board.alphas)[0].tolist())
    own.get_by_role("button", name="Start over").click()
    assert_shows(own, board, shifts=[[0, 0]] * 3)


def test_pairs_make_a_cycle_that_no_order_has(page, opened):
    own, board = opened(LAYERS), layer_board()
    own.get_by_role("button", name="layer 1 hides layer 3: 0").click()
    assert_says(own, "No order: ")
    assert_shows(own, board, occlusion=CYCLE)
    seen = 100 * visibilities(board.alphas, torch.tensor([CYCLE])).mean(dim=(0, 2, 3, 4))
    shares = own.locator(".dtis-seen > span").all_inner_texts()
    assert shares == [f"{share:.1f} %" for share in seen]
    error = (board.image - board.colours[:, 0]).square().mean().item()
    assert f"error: {1000 * error:.2f}e-3" in own.get_by_role("status").inner_text()
    own.get_by_role("slider", name="2 hides 1").fill("0.5")
    half = [[0.0, 0.5, 1.0], [0.5, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert_shows(own, board, occlusion=half)
    own.get_by_role("slider", name="opacity").fill("0.4")
    assert_shows(own, board, opacity=0.4)


def test_the_matrix_is_one_stop_of_tab_and_arrows_walk_in_it(page, opened):
    own = opened(LAYERS)
    own.get_by_role("button", name="Start over").focus()
    page.keyboard.press("Tab")
    named = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(named) == "layer 2 hides layer 1: 1"
    for key, pair in {"ArrowRight": (2, 3), "ArrowDown": (2, 3), "ArrowUp": (1, 3)}.items():
        page.keyboard.press(key)
        assert page.evaluate(named).startswith(f"layer {pair[0]} hides layer {pair[1]}")
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    assert page.evaluate(named) == "layer 1 hides layer 3: 1"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "range"


def rgba(own):
    url = own.locator(".dtis-place canvas").evaluate("canvas => canvas.toDataURL('image/png')")
    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA")
    )


def parameters(own):
    """What the sliders say, in their order."""
    said = [one.get_attribute("aria-valuetext") for one in own.get_by_role("slider").all()]
    return [float(text.replace("−", "-")) for text in said]


def test_a_sprite_is_placed_by_hand_keys_and_sliders(page, opened):
    own, board = opened("placement"), module_board("placement")
    drag(page, own.locator(".dtis-picture"), (0.4, 0.4), (0.4 + 3 / SIDE, 0.4))
    page.wait_for_timeout(150)
    x = float(np.arctanh(6 / SIDE))
    assert parameters(own) == [0.0, round(x, 2)]
    board.values = [0.0, x, 0.0]
    np.testing.assert_allclose(
        rgba(own)[..., 3].astype(int), to_bytes(board.image[3].numpy()).astype(int), atol=2
    )
    own.get_by_role("button", name="middle").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(150)
    assert parameters(own) == [0.0, 0.0]
    own.get_by_role("slider", name="first").fill("0.5")
    page.wait_for_timeout(150)
    assert parameters(own)[0] == 0.5
    own.get_by_role("button", name="All zero").click()
    page.wait_for_timeout(150)
    assert parameters(own) == [0.0, 0.0]


def test_corners_and_control_points_are_pulled(page, opened):
    own = opened("projective")
    drag(page, own.locator(".dtis-picture"), (0.0, 0.0), (0.2, 0.1))
    page.wait_for_timeout(150)
    assert parameters(own) != [0.0, 0.0]
    corner = own.get_by_role("button", name="upper left corner")
    place = corner.evaluate("one => [one.style.left, one.style.top]")
    assert [float(text.strip("%")) for text in place] == pytest.approx([20, 10], abs=1)
    own = opened("tps")
    own.get_by_role("button", name="point in row 2, column 3").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_timeout(150)
    said = own.locator("pre").inner_text().splitlines()[1].split()
    assert said[4:6] == [f"−{10 / 12:.2f}", "0.00"]


def test_every_control_has_a_name(page, opened):
    opened(LAYERS)
    unnamed = """[...document.querySelectorAll('.dtis-bench :is(button, input)')].filter(one =>
      !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length)).length"""
    assert page.evaluate(unnamed) == 0


def test_narrow_and_dark_pages_hold_them(page, opened):
    opened(LAYERS)
    assert max(overflow_in_themes(page)) <= 0
