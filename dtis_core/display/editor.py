"""The scene editor: an image's objects under the hand and under sliders, after Fig. 4 of the paper.

The edited picture is a `Stage`, which the browser draws by itself. Beside it are sliders for exact
numbers, and pictures that get the bytes of a PNG of the image's true size.
"""

import asyncio
import html
import time
from base64 import b64encode
from collections.abc import Callable
from functools import partial

import ipywidgets as widgets
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from dtis_core.display.editor_controls import edited, make_controls, menu, shown
from dtis_core.display.editor_files import EditorFiles
from dtis_core.display.editor_view import COPY, NAMES, STYLE, picture_of, row, with_points
from dtis_core.display.figures import over_checkerboard
from dtis_core.display.stage import Stage
from dtis_core.display.widgets import Picture, captioned, is_live, png_bytes
from dtis_core.errors import DtisError
from dtis_core.pictures import to_bytes, to_pictures, to_pixels
from dtis_core.scenes.change import abilities
from dtis_core.scenes.history import History
from dtis_core.scenes.run import Run
from dtis_core.scenes.scene import Scene
from dtis_core.scenes.scene_json import edited_as
from dtis_core.threads import chosen_threads

PAUSE = 1.0  # seconds; later ticks of the same slider are another step to undo
LULL = 0.15  # seconds without a tick, after which all that is beside the picture follows it


class SceneEditor(EditorFiles, widgets.VBox):
    """Edit the objects of decomposed images by hand, or with sliders for exact numbers.

    Images, uint8 (B, H, W, 3) or float (B, 3, H, W) in [0, 1], are decomposed once, here. Controls
    of what the model cannot change are left out. Every image has its own edits, in `histories`;
    `unedited` are their scenes as found. Files are written into the kernel's folder. `side` is the
    width of the picture in CSS pixels.
    """

    @chosen_threads()
    def __init__(self, run: Run, images: np.ndarray | Tensor, side: int = 360):
        self.inputs = to_bytes(to_pictures(images))
        self.unedited = [run.decompose(images[i : i + 1]) for i in range(len(images))]
        self.histories = [History((scene,)) for scene in self.unedited]
        self.held = False  # while controls follow the scene instead of leading it
        self.burst, self.last_tick = 0, 0.0
        self.shown = 0  # the image that is on the stage
        self.live, self.later = is_live(), None
        self.controls = make_controls(
            abilities(run.model), len(self.inputs), run.config.model.sprites
        )
        self.buttons = {
            "Undo": (self.undo, "undo", "Take back the last edit of this image"),
            "Redo": (self.redo, "repeat", "Do again what was taken back"),
            "Reset": (self.reset, "refresh", "Take back all edits of this image"),
            "Duplicate": (self.duplicate, "clone", "Add a copy of this object"),
            "Remove": (self.remove, "trash", "Remove this object"),
            "Save": (self.save, "save", "Save the edits of this image as JSON"),
            "Load": (self.load, "folder-open", "Load edits from JSON"),
            "Export": (
                self.export,
                "picture-o",
                "Write the edited scene as PNG, or as PSD, ORA, SVG or GIF where the name ends so",
            ),
        }
        self.buttons = {name: self._make_button(name, *of) for name, of in self.buttons.items()}
        self.file = widgets.Text(
            "scene",
            description="file",
            tooltip="Name of the files; an ending such as .psd says what Export writes",
        )
        self.code = widgets.Textarea(
            description="Python", rows=5, tooltip="The Python that makes this scene"
        )
        self.code.layout.width = "auto"
        for control in (*self.controls.values(), self.file):
            control.style.description_width = "6em"
            control.layout.width, control.layout.max_width = "32em", "100%"
        self.message = widgets.HTML()
        self.pictures = {
            name: picture_of(side // 3 - 5) for name in ("image", "reconstruction", "object")
        }
        self.pictures["object"].add_class("dtis-clear")
        self.stage = Stage(
            self.unedited[0], self.inputs[0], side, self._handed, self.undo, self.redo
        )
        buttons, code = list(self.buttons.values()), [self.code, widgets.HTML(COPY)]
        pictures = [widgets.VBox([widgets.Label(n), p]) for n, p in self.pictures.items()]
        files = [row(*buttons[:5]), self.file, row(*buttons[5:]), self.message]
        right = widgets.VBox([*self.controls.values(), *files], layout={"max_width": "100%"})
        # In the order of the tab key.
        parts = [self.stage, row(right, row(*pictures)), *code, widgets.HTML(STYLE + NAMES)]
        super().__init__(parts)
        self.add_class("dtis-editor")
        self._show_found()
        self._show()
        for name, control in self.controls.items():
            control.observe(partial(self._tick, name), "value")
        self.stage.observe(self._chose, "chosen")

    def _make_button(
        self, name: str, action: Callable[[], str | None], icon: str, tooltip: str
    ) -> widgets.Button:
        button = widgets.Button(
            description=name, icon=icon, tooltip=tooltip, layout={"width": "8.4em"}
        )
        button.on_click(lambda _: self._do(action))
        return button

    @chosen_threads()
    def _do(self, action: Callable[[], str | None]) -> None:
        """Act, and show what the action returns or why it failed."""
        try:
            self._say(action() or "")
        except Exception as error:  # any: a handler's error would vanish into a log
            self._say(f"{type(error).__name__}: {error}", error=True)

    # What the user has chosen

    @property
    def values(self) -> dict[str, object]:
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    @property
    def image(self) -> int:
        """The image that is shown, from 0."""
        return self.controls["image"].value if "image" in self.controls else 0

    @property
    def number(self) -> int:
        """The object that the controls change, from 1."""
        return self.controls["object"].value

    @property
    def point(self) -> int:
        """The control point that they bend, from 1; 0 in a model without."""
        return self.controls["point"].value if "point" in self.controls else 0

    @property
    def scene(self) -> Scene:
        """The shown image's scene, edited."""
        return self.histories[self.image].present

    @property
    def python(self) -> str:
        """The Python that makes the scene."""
        return self.scene.python(self.image)

    @property
    def picture(self) -> Picture:
        """The edited picture, of the image's true size."""
        return to_pixels(self.scene.reconstruction[0])

    # Edits

    def set(self, **values: object) -> None:
        """Set controls, by name, as if by hand, one after the other.

        Spaces in names are underscores. Raises DtisError for a control that there is not.
        """
        for name, value in values.items():
            name = name.replace("_", " ")
            if name not in self.controls:
                raise DtisError(f"{name}: no such control; there are {', '.join(self.controls)}")
            self.controls[name].value = value

    def undo(self) -> None:
        """Take back the last edit of the shown image: all ticks of one drag at once."""
        self.histories[self.image] = self.histories[self.image].undone()
        self._show()

    def redo(self) -> None:
        """Do again what was taken back last, if nothing was edited since."""
        self.histories[self.image] = self.histories[self.image].redone()
        self._show()

    def reset(self) -> None:
        """Take back all edits of the shown image, which can be undone."""
        self._change(self.unedited[self.image])

    def duplicate(self) -> None:
        """Add a copy of the object and go on with that."""
        self._change(self.scene.duplicate(self.number))
        self.controls["object"].value = len(self.scene.objects)

    def remove(self) -> None:
        """Remove the object; its sprite slider brings it back."""
        self._change(self.scene.edit(self.number, sprite=0))

    def _change(self, scene: Scene) -> None:
        self.histories[self.image] = self.histories[self.image].changed(scene, None)
        self._show()

    @chosen_threads()
    def _tick(self, name: str, change: dict) -> None:
        """Follow one control, which a front end may set many times a second."""
        if self.held:
            return
        if name in ("image", "object", "point"):
            self._say("")
            if name == "object":
                self.stage.chosen = self.number
            self._show()
            return
        control = self.controls[name]
        if isinstance(control, widgets.FloatSlider):
            present = shown(self.scene, self.number, self.point)[name]
            if abs(change["new"] - present) < 0.51 * control.step:
                return  # the front end rounds what the hand has set, and says so
        now = time.monotonic()
        self.burst += now - self.last_tick > PAUSE
        self.last_tick = now
        value = change["new"]
        # A front end's steps add up to values such as 0.29000000000000004.
        value = round(value, 6) if isinstance(value, float) else value
        self._do(partial(self._set, name, value))

    def _set(self, name: str, value: object) -> None:
        """Change the scene as one control has it."""
        scene, step = self.scene, (self.number, name, self.burst)
        scene = edited(scene, self.number, self.point, name, value)
        self.histories[self.image] = self.histories[self.image].changed(scene, step)
        # Another sprite may be none, or have a colour of its own.
        (self._show if name == "sprite" else self._draw)()

    @chosen_threads()
    def _handed(self, edits: dict, step: str) -> None:
        """Follow the hand, which moved, changed or copied something on the stage."""

        def take() -> None:
            scene = edited_as(self.scene, self.unedited[self.image], edits)
            self.histories[self.image] = self.histories[self.image].changed(scene, step)
            self._show(self.stage.chosen)

        self._do(take)

    @chosen_threads()
    def _chose(self, change: dict) -> None:
        """Follow the choice of an object on the stage; where none is chosen the last one stays."""
        if change["new"] not in (0, self.number):
            self._show(change["new"])

    # Showing

    def _show(self, number: int = 0) -> None:
        """Set all controls and pictures as the present scene has them, of an object by number."""
        scene, objects = self.scene, self.controls["object"]
        self.held = True
        try:
            options = menu(scene)
            number = min(number or objects.value, len(options))  # if it is still there
            if tuple(options) != tuple(objects.options):
                objects.options = options
            objects.value = number
            self.controls["in front of"].max = max(1, len(scene.objects) - 1)
            values = shown(scene, self.number, self.point)
            for name in values.keys() & self.controls.keys():
                self.controls[name].value = values[name]
        finally:
            self.held = False
        several = len(scene.objects) > 1
        self.controls["in front of"].layout.display = None if several else "none"
        if self.shown != self.image:
            self.stage.present(self.unedited[self.image], self.inputs[self.image])
            self._show_found()
        if self.stage.chosen:  # else the hand has let go of all
            self.stage.chosen = self.number
        self._draw()

    def _show_found(self) -> None:
        """Show the image and its reconstruction, which no edit changes."""
        self.shown = self.image
        found = self.unedited[self.image].reconstruction[0]
        self.pictures["image"].value = png_bytes(self.inputs[self.image])
        self.pictures["reconstruction"].value = png_bytes(to_pixels(found))

    def _draw(self) -> None:
        """Draw the scene, and in a lull all else that an edit changes.

        Each message to a browser takes it some milliseconds, which a drag has for one picture only.
        """
        self.stage.follow(self.scene)
        if self.later:
            self.later.cancel()
        try:
            loop = asyncio.get_running_loop() if self.live else None
        except RuntimeError:  # a thread without one
            loop = None
        self.later = loop.call_later(LULL, self._follow) if loop else self._follow()

    @chosen_threads()
    def _follow(self) -> None:
        """Show the object by itself, the Python and whether there is anything to undo."""
        alone = self._alone
        if "point" in self.controls:
            bend = self.scene.objects[self.number - 1].change.bend
            alone = with_points(alone, bend, self.point)
        self.pictures["object"].value = png_bytes(alone, level=1)
        self.code.value = self.python
        history = self.histories[self.image]
        self.buttons["Undo"].disabled = len(history.states) == 1
        self.buttons["Redo"].disabled = not history.future

    @property
    def _alone(self) -> UInt8[np.ndarray, "height width 4"]:
        """The chosen object by itself, colours and transparency."""
        parts = self.scene.objects[self.number - 1].parts
        return to_pixels(torch.cat([parts.colours, parts.alphas], dim=2)[0, 0])

    def _say(self, text: str, error: bool = False) -> None:
        role, colour = ("alert", "--jp-error-color1, #a00000") if error else ("status", "inherit")
        style = f'style="color: var({colour})"' if error else ""
        line = f'<div class="dtis-message" role="{role}" {style}>{html.escape(text)}</div>'
        self.message.value = line if text else ""

    def panel(self) -> Picture:
        """Return one picture for where there are no widgets: image, reconstruction, edited."""
        pictures = {
            "image": self.inputs[self.image],
            "reconstruction": to_pixels(self.unedited[self.image].reconstruction[0]),
            "edited": self.picture,
        }
        alone = self._alone.transpose(2, 0, 1) / np.float32(255)
        pictures[f"object {self.number}"] = to_bytes(over_checkerboard(alone))
        return captioned(pictures, zoom=max(1, 160 // self.inputs.shape[1]))

    def _repr_mimebundle_(self, **options: object) -> dict:
        """Return the widget's view, and beside it what shows without a kernel."""
        bundle = super()._repr_mimebundle_(**options)
        picture = b64encode(png_bytes(self.panel())).decode()
        return bundle | {"text/plain": self.python, "image/png": picture}
