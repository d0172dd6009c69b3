"""Widgets over pure functions: values go in, one picture comes out.

`explore(render, controls)` shows what a function `render(**values) -> uint8 array` makes of its
sliders; `SceneEditor`, in editor.py, edits the objects of decomposed images.

A tick encodes one array as PNG and puts the bytes into one image widget, in place: matplotlib draws
nothing and no encoder runs. Ticks may be handled on a thread of their own while a cell runs; so a
`render` must keep to its arguments, and above all away from pyplot's shared state.

What is displayed holds a plain PNG beside the widget: where there is no kernel or no front end for
widgets, as on a page that shows a stored notebook, one sees that picture instead of an empty box.
"""

import html
import io
import os
from base64 import b64encode
from collections.abc import Callable, Mapping

import ipywidgets as widgets
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from dtis_core.errors import DtisError
from dtis_core.threads import chosen_threads

Picture = UInt8[np.ndarray, "height width 3"]
GAP = 8  # pixels between pictures


def is_live() -> bool:
    """Say whether someone may be watching: a Jupyter server runs this kernel, not a batch command.

    Servers name a session's notebook in `JPY_SESSION_NAME`; `dtis figures` and the tests set
    `DTIS_FIGURES`.
    """
    return "JPY_SESSION_NAME" in os.environ and "DTIS_FIGURES" not in os.environ


def png_bytes(picture: np.ndarray, level: int = 6) -> bytes:
    """Encode uint8 (h, w), (h, w, 3) or (h, w, 4) as PNG. Raises DtisError for anything else.

    `level` 0..9 trades time for size: 1 is for ticks, whose bytes travel once.
    """
    array = np.asarray(picture)
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or array.shape[2:] not in {(), (3,), (4,)}
    ):
        raise DtisError(
            "picture: expected uint8 (h, w), (h, w, 3) or (h, w, 4), "
            f"found {array.dtype} {array.shape}; to_bytes() turns values in [0, 1] into uint8"
        )
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def joined(pictures: list[np.ndarray], axis: int) -> Picture:
    """Put uint8 (h, w, 3) below (axis 0) or beside (axis 1) one another, filled up with white."""
    across = max(picture.shape[1 - axis] for picture in pictures)
    filled = []
    for index, picture in enumerate(pictures):
        after = [(0, 0)] * 3
        after[1 - axis] = (0, across - picture.shape[1 - axis])
        after[axis] = (0, GAP * (index < len(pictures) - 1))
        filled.append(np.pad(picture, after, constant_values=255))
    return np.concatenate(filled, axis=axis)


def captioned(pictures: Mapping[str, np.ndarray], zoom: int = 1) -> Picture:
    """Put pictures, uint8 (h, w, 3), side by side, `zoom` times larger, each below its name."""
    font = ImageFont.load_default(13)
    tiles = []
    for name, picture in pictures.items():
        picture = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
        width = max(picture.shape[1], round(font.getlength(name)))
        tile = Image.new("RGB", (width, 20 + len(picture)), "white")
        ImageDraw.Draw(tile).text((0, 0), name, fill="#333333", font=font)
        tile.paste(Image.fromarray(picture), (0, 20))
        tiles.append(np.asarray(tile))
    return joined(tiles, axis=1)


def make_control(name: str, values: object) -> widgets.ValueWidget:
    """Make a labelled widget from the values that it may take.

    (low, high, start) is a slider, of whole numbers where all three are; a list is a menu that
    starts with its first entry; True or False is a box to tick; a colour's name or "#rrggbb" is
    a colour picker. Raises DtisError for anything else.
    """
    label = {
        "description": name.replace("_", " "),
        "style": {"description_width": "9em"},
        "layout": {"width": "30em", "max_width": "100%"},
    }
    if isinstance(values, bool):
        return widgets.Checkbox(value=values, **label)
    if isinstance(values, str):
        return widgets.ColorPicker(value=values, **label)
    if isinstance(values, list) and values:
        return widgets.Dropdown(options=values, **label)
    if isinstance(values, tuple) and len(values) == 3:
        low, high, start = values
        if low <= start <= high and low < high:
            if all(isinstance(value, int) for value in values):
                return widgets.IntSlider(start, low, high, **label)
            step = (high - low) / 100
            if start > low:  # a front end rounds values to whole steps: let the start be one
                step = (start - low) / max(1, round((start - low) / step))
            return widgets.FloatSlider(start, min=low, max=high, step=step, **label)
    raise DtisError(
        f"control '{name}': found {values!r}; give (low, high, start) with low <= start <= high, "
        "a list of choices, a colour, or True or False"
    )


class ImagePanel(widgets.VBox):
    """Controls, a reset button and below them the picture `render(**values)`.

    An error in `render` is shown as text in the picture's place.
    """

    def __init__(self, render: Callable[..., np.ndarray], controls: Mapping[str, object]):
        self.render = render
        self.controls = {name: make_control(name, values) for name, values in controls.items()}
        self.starts = self.values
        self.held = False  # while several values are set at once
        self.image = widgets.Image(layout={"max_width": "100%", "align_self": "flex-start"})
        self.message = widgets.HTML()
        self.button = widgets.Button(
            description="Reset", icon="undo", tooltip="Set the controls back to their start"
        )
        super().__init__([*self.controls.values(), self.button, self.message, self.image])
        self.refresh()
        self.button.on_click(lambda _: self.reset())
        for control in self.controls.values():
            control.observe(self._changed, "value")

    @property
    def values(self) -> dict[str, object]:
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values: object) -> None:
        """Set some controls at once, and render once."""
        self.held = True
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self.held = False
        self.refresh()

    def reset(self) -> None:
        """Set all controls back to their start."""
        self.set(**self.starts)

    def refresh(self) -> None:
        """Render the picture for the present values."""
        try:
            with chosen_threads():
                picture = self.render(**self.values)
            self.image.value, self.message.value = png_bytes(picture, level=1), ""
        except Exception as error:  # any: a handler's error would vanish into the server's log
            text = html.escape(f"{type(error).__name__}: {error}")
            self.message.value = (
                f'<pre role="alert" style="color: var(--jp-error-color1, #A00000)">{text}</pre>'
            )
            self.image.value = b""

    def _changed(self, change: dict) -> None:
        if not self.held:
            self.refresh()

    def _repr_mimebundle_(self, **options: object) -> dict:
        """Return the widget's view, and beside it what shows without a kernel."""
        state = ", ".join(f"{name} = {value}" for name, value in self.values.items())
        bundle = super()._repr_mimebundle_(**options) | {"text/plain": f"picture at {state}"}
        if self.image.value:
            bundle["image/png"] = b64encode(self.image.value).decode()
        return bundle


def explore(
    render: Callable[..., np.ndarray], controls: Mapping[str, object], zoom: int = 1
) -> ImagePanel:
    """Return a panel with `render(**values)`, a uint8 picture, `zoom` times larger.

    `controls` are named as the function's arguments; see `make_control` for what they may be.
    Sliders take the arrow keys once they have the focus. Raises DtisError for a wrong control.
    """

    def enlarged(**values: object) -> np.ndarray:
        return np.asarray(render(**values)).repeat(zoom, axis=0).repeat(zoom, axis=1)

    return ImagePanel(enlarged, controls)
