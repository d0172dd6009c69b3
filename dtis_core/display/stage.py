"""The stage: a scene's picture in the browser, whose objects a hand can drag, scale and turn.

The browser draws by itself (web/composition.js, from plain numbers), so a drag asks no kernel.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anywidget
import numpy as np
import traitlets

from dtis_core.display.scripts import STAGE, module_of, style
from dtis_core.display.stage_data import described, edits_of, packed
from dtis_core.pictures import to_tensor
from dtis_core.scenes.scene import Scene


def packed_image(image: np.ndarray) -> dict:
    """Return an image, uint8 (H, W, C), as `packed` does."""
    return packed(to_tensor(image[None])[0], 8)


class Stage(anywidget.AnyWidget):
    """One image's scene under the hand; the kernel's side of it.

    `edits` are an edited scene's, as in its JSON. When the hand changes them, `on_edit` is called
    with them and the step that they belong to; `on_undo` and `on_redo` when it asks for that.
    """

    _esm = module_of(*STAGE, "widget.js")
    _css = style("picture.css", "stage.css")
    description = traitlets.Dict().tag(sync=True)
    before = traitlets.Dict(allow_none=True).tag(sync=True)
    # Without an echo, which would come while the hand is further on, and take it back.
    edits = traitlets.Dict().tag(sync=True, echo_update=False)
    step = traitlets.Unicode().tag(sync=True, echo_update=False)
    chosen = traitlets.Int(0).tag(sync=True, echo_update=False)
    side = traitlets.Int(360).tag(sync=True)

    def __init__(
        self,
        scene: Scene,
        image: np.ndarray | None = None,
        side: int = 360,
        on_edit: Callable[[dict, str], None] | None = None,
        on_undo: Callable[[], None] | None = None,
        on_redo: Callable[[], None] | None = None,
    ):
        """Show a scene of one image, and that image, uint8 (H, W, C), where it is at hand."""
        super().__init__(side=side)
        self.held = False  # while edits follow the scene instead of making it
        self.on_edit, self.on_undo, self.on_redo = on_edit, on_undo, on_redo
        self.present(scene, image)
        self.observe(self._edited, "edits")
        self.on_msg(self._asked)

    def _repr_keys(self) -> Iterator[str]:
        """Return which traits tell of the stage in a text: none, for they are whole scenes."""
        yield from ()

    def present(self, scene: Scene, image: np.ndarray | None = None) -> None:
        """Show another scene, as `__init__`."""
        with self.following(), self.hold_trait_notifications():
            self.description = described(scene)
            self.before = None if image is None else packed_image(image)
            self.edits = edits_of(scene)

    def follow(self, scene: Scene) -> None:
        """Show the shown scene under other edits."""
        with self.following():
            self.edits = edits_of(scene)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Let edits follow the scene, without a call of `on_edit`."""
        self.held, before = True, self.held
        try:
            yield
        finally:
            self.held = before

    def _edited(self, change: dict) -> None:
        if not self.held and self.on_edit:
            self.on_edit(change["new"], self.step)

    def _asked(self, _: object, content: dict, __: object) -> None:
        act = {"undo": self.on_undo, "redo": self.on_redo}.get(content.get("does", ""))
        if act:
            act()
