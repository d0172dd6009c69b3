"""Boards in JupyterLab: what a hand does reaches the kernel, and what the kernel sets the board."""

import numpy as np
import pytest
from browser_lab import notebook_in_lab
from browser_page import pixels_of

pytestmark = pytest.mark.browser

CELL = """\
import ipywidgets, torch
from dtis_core.display.layer_board import LayerBoard
from dtis_core.display.module_board import ModuleBoard
from dtis_core.model.composition import ordered_occlusion

alphas = torch.ones(1, 2, 1, 8, 8)
colours = torch.tensor([0.2, 0.8]).view(1, 2, 1, 1, 1).expand(1, 2, 3, 8, 8)
layers = LayerBoard(alphas, colours, ordered_occlusion(1, 2, alphas))
module = ModuleBoard(torch.ones(4, 8, 8), "similarity", {"angle": (0, 3.0)})
heard, back = ipywidgets.Label(), ipywidgets.Button(description="kernel")

def hear(change):
    heard.value = f"δ {layers.occlusion} shifts {layers.shifts} values {module.values}"

def set_back(button):
    layers.occlusion, module.values = [[0.0, 0.0], [1.0, 0.0]], [0.5, 0.0, 0.0, 0.0]

layers.observe(hear)
module.observe(hear)
back.on_click(set_back)
display(layers, module, heard, back)"""


def test_hand_and_kernel_share_a_board(tmp_path):
    with notebook_in_lab(tmp_path, CELL) as page:
        layers = page.get_by_role("group", name="layers, and who hides whom")
        picture = layers.locator(".dtis-picture")
        picture.wait_for()
        assert (pixels_of(picture) == 204).all()
        layers.get_by_role("button", name="layer 1 hides layer 2: 0").click()
        page.get_by_text("δ [[0, 1], [0, 0]]").wait_for()
        np.testing.assert_allclose(pixels_of(picture), 51, atol=1)
        picture.focus()
        page.keyboard.press("ArrowRight")
        page.get_by_text("shifts [[0, 0], [1, 0]]").wait_for()
        slider = page.get_by_role("group", name="similarity").get_by_role("slider")
        slider.fill("1.5")
        page.get_by_text("values [1.5, 0, 0, 0]").wait_for()
        page.get_by_role("button", name="kernel", exact=True).click()
        layers.get_by_role("button", name="layer 2 hides layer 1: 1").wait_for()
        page.wait_for_timeout(300)
        assert slider.get_attribute("aria-valuetext") == "0.50"
