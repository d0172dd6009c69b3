"""What the scene editor writes and reads: edits as JSON, scenes for other programs."""

from pathlib import Path

import ipywidgets as widgets
import numpy as np

from dtis_core.errors import DtisError
from dtis_core.scenes.export import EXPORTS, export
from dtis_core.scenes.scene import Scene
from dtis_core.scenes.scene_json import load_scene, save_scene


class EditorFiles:
    """The part of an editor that is about files, whose name stands in the field `file`."""

    inputs: np.ndarray
    unedited: list[Scene]
    controls: dict[str, widgets.ValueWidget]
    file: widgets.Text
    image: int
    scene: Scene

    def save(self) -> str:
        """Save the edits of the shown image as JSON."""
        path = self.named(".json")
        save_scene(path, self.scene, self.inputs[self.image])
        return f"saved {path}"

    def load(self) -> str:
        """Load edits from JSON, and show the image that they belong to. Raises DtisError."""
        path = self.named(".json")
        image, scene = load_scene(path, self.unedited, self.inputs)
        if "image" in self.controls:
            self.controls["image"].value = image
        self._change(scene)
        return f"loaded {path}"

    def export(self) -> str:
        """Write the edited scene for other programs, as the name's ending says; PNG without one."""
        name = Path(self.file.value.strip())
        path = self.named(name.suffix if name.suffix in EXPORTS else ".png")
        export(self.scene, path)
        return f"wrote {path}"

    def named(self, suffix: str) -> Path:
        """Return the file of the name given, below the kernel's folder."""
        name = self.file.value.strip()
        for ending in (".json", *EXPORTS):
            name = name.removesuffix(ending)
        if not name:
            raise DtisError("file: empty; give a name such as scene")
        return Path(name + suffix)
