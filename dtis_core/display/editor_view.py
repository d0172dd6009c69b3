"""What the scene editor looks like: its style, its rows, pictures of control points."""

import ipywidgets as widgets
import numpy as np
from matplotlib.colors import to_rgb

from dtis_core.display.figures import HUES
from dtis_core.model.transformations import ThinPlateSpline
from dtis_core.pictures import to_bytes

PER_SIDE = ThinPlateSpline.per_side
STYLE = """<style>
.dtis-editor { color: var(--jp-ui-font-color1, inherit); }
.dtis-editor .widget-image {
  image-rendering: pixelated; outline: 1px solid var(--jp-border-color2, #bdbdbd); }
.dtis-editor .dtis-clear {
  background: repeating-conic-gradient(#fafafa 0 25%, #e3e3e3 0 50%) 0 0 / 12px 12px; }
.dtis-editor .dtis-message { line-height: 1.5; margin: 0; }
.dtis-editor textarea { white-space: pre; font-family: var(--jp-code-font-family, monospace); }
.dtis-editor :focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2); }
</style>"""
# Sliders and image widgets have no names for screen readers: they get those of the labels beside.
NAMES = """<img alt="" hidden src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=" onload="
const editor = this.closest('.dtis-editor');
const name = () => {
  for (const handle of editor.querySelectorAll('[role=slider]:not([aria-label])'))
    handle.ariaLabel = handle.closest('.widget-slider').querySelector('label').textContent;
  for (const image of editor.querySelectorAll('img.widget-image:not([alt])'))
    image.alt = image.parentElement.querySelector('.widget-label').textContent + ' picture';
};
new MutationObserver(name).observe(editor, {childList: true, subtree: true});
name();">"""
COPY = """<button type="button" class="jupyter-button widget-button lm-Widget" style="width: 9em"
title="Copy the Python above to the clipboard" onclick="navigator.clipboard.writeText(
this.closest('.dtis-editor').querySelector('textarea').value)">Copy Python</button>"""


def picture_of(width: int) -> widgets.Image:
    """Return an empty image widget, `width` CSS pixels wide."""
    layout = {"width": f"{width}px", "max_width": "100%", "height": "auto"}
    return widgets.Image(format="png", layout=layout)


def row(*children: widgets.Widget) -> widgets.HBox:
    """Return widgets side by side, in as many lines as they need."""
    return widgets.HBox(children, layout={"flex_flow": "row wrap", "grid_gap": "0 6px"})


def with_points(
    picture: np.ndarray, bend: tuple[tuple[float, ...], ...], chosen: int
) -> np.ndarray:
    """Return a picture (H, W, 4) with the control points of a bent spline, the chosen one red."""
    H, W = picture.shape[:2]
    shifts = {point: (x, y) for point, x, y in bend}
    half = max(H // 64, 0)
    picture = picture.copy()
    for point in range(1, PER_SIDE**2 + 1):
        row, column = divmod(point - 1, PER_SIDE)
        x, y = shifts.get(point, (0.0, 0.0))
        y = round((row / (PER_SIDE - 1) + y) * (H - 1))
        x = round((column / (PER_SIDE - 1) + x) * (W - 1))
        area = (
            slice(max(y - half, 0), max(y + half + 1, 0)),
            slice(max(x - half, 0), max(x + half + 1, 0)),
        )
        colour = to_rgb(HUES[5 if point == chosen else 4])
        picture[area] = [*to_bytes(np.array(colour)), 255]
    return picture
