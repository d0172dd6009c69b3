"""What the scene editor is made of: its controls, its style, pictures of sprites and of points."""

import io
from base64 import b64encode

import ipywidgets as widgets
import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from dtis_core.display.figures import HUES
from dtis_core.model.transformations import ThinPlateSpline
from dtis_core.pictures import to_bytes

PER_SIDE = ThinPlateSpline.per_side
SLIDERS = {  # name: the ability it needs; low, high, start, step; tooltip
    "right": ("shift", (-0.6, 0.6, 0.0, 0.01), "Shift to the right, in image widths"),
    "down": ("shift", (-0.6, 0.6, 0.0, 0.01), "Shift down, in image heights"),
    "scale": ("scale", (0.5, 2.0, 1.0, 0.01), "Size, as a multiple of the size found"),
    "angle": ("angle", (-180.0, 180.0, 0.0, 1.0), "Turn, in degrees clockwise"),
    "point right": ("bend", (-0.3, 0.3, 0.0, 0.01), "Shift of the point, in image widths"),
    "point down": ("bend", (-0.3, 0.3, 0.0, 0.01), "Shift of the point, in image heights"),
}
STYLE = """<style>
.dtis-editor { color: var(--jp-ui-font-color1, inherit); }
.dtis-editor .widget-image, .dtis-editor figure img {
  image-rendering: pixelated; outline: 1px solid var(--jp-border-color2, #bdbdbd); }
.dtis-editor .dtis-clear, .dtis-editor figure img {
  background: repeating-conic-gradient(#fafafa 0 25%, #e3e3e3 0 50%) 0 0 / 12px 12px; }
.dtis-editor figure { display: inline-block; margin: 0 6px 0 0; text-align: center; }
.dtis-editor figure img { display: block; }
.dtis-editor figcaption, .dtis-editor .dtis-message { line-height: 1.5; margin: 0; }
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


def make_controls(
    able: frozenset[str], images: int, sprites: int
) -> dict[str, widgets.ValueWidget]:
    """Return the controls that make sense for a model and a number of images, by name."""
    controls: dict[str, widgets.ValueWidget] = {}
    if images > 1:
        controls["image"] = widgets.IntSlider(0, 0, images - 1, tooltip="Which of the images")
    controls["object"] = widgets.Dropdown(
        options=[("1", 1)], tooltip="Which object the controls below change"
    )
    controls["sprite"] = widgets.IntSlider(0, 0, sprites, tooltip="Its sprite; 0 removes it")
    if "colour" in able:
        controls["colour"] = widgets.ColorPicker(tooltip="What its sprite is multiplied by")
    controls["depth"] = widgets.IntSlider(0, 0, 1, tooltip="How many objects lie behind it")
    for name, (ability, (low, high, start, step), tooltip) in SLIDERS.items():
        if name == "point right" and ability in able:
            places = [divmod(point, PER_SIDE) for point in range(PER_SIDE**2)]
            controls["point"] = widgets.Dropdown(
                options=[(f"row {y + 1}, column {x + 1}", PER_SIDE * y + x + 1) for y, x in places],
                value=6,
                tooltip="Which control point of its spline",
            )
        if ability in able:
            controls[name] = widgets.FloatSlider(start, min=low, max=high, step=step)
            controls[name].tooltip = tooltip
            controls[name].readout_format = ".0f" if step == 1 else ".2f"
    for name, control in controls.items():
        control.description = name
    return controls


def picture_of(width: int) -> widgets.Image:
    """Return an empty image widget, `width` CSS pixels wide."""
    layout = {"width": f"{width}px", "max_width": "100%", "height": "auto"}
    return widgets.Image(format="png", layout=layout)


def row(*children: widgets.Widget) -> widgets.HBox:
    """Return widgets side by side, in as many lines as they need."""
    return widgets.HBox(children, layout={"flex_flow": "row wrap", "grid_gap": "0 6px"})


def gallery(sprites: np.ndarray) -> str:
    """Return all sprites, uint8 (K, h, w, C + 1), with their numbers, as HTML."""
    figures = []
    for number, sprite in enumerate(sprites, 1):
        thumbnail, buffer = Image.fromarray(sprite), io.BytesIO()
        thumbnail.thumbnail((48, 48))
        thumbnail.save(buffer, "PNG")
        source = f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
        figures.append(
            f'<figure><img width="48" src="{source}" alt="sprite {number}">'
            f"<figcaption>{number}</figcaption></figure>"
        )
    return f'<div role="group" aria-label="sprites by number">{"".join(figures)}</div>'


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
