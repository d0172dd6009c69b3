"""What the scene editor writes and reads: edits as JSON, the edited picture as PNG."""

from pathlib import Path

import ipywidgets as widgets
import numpy as np

from dtis_core.display.widgets import Picture, png_bytes
from dtis_core.errors import DtisError
from dtis_core.scenes.scene import Scene
from dtis_core.scenes.scene_json import load_scene, save_scene
from dtis_core.storage.files import replacing


class EditorFiles:
    """The part of an editor that is about files, whose name stands in the field `file`."""

    inputs: np.ndarray
    unedited: list[Scene]
    controls: dict[str, widgets.ValueWidget]
    file: widgets.Text
    image: int
    scene: Scene
    picture: Picture

    def save(self) -> str:
        """Save the edits of the shown image as JSON."""
        path = self._path(".json")
        save_scene(path, self.scene, self.inputs[self.image])
        return f"saved {path}"

    def load(self) -> str:
        """Load edits from JSON, and show the image that they belong to. Raises DtisError."""
        path = self._path(".json")
        image, scene = load_scene(path, self.unedited, self.inputs)
        if "image" in self.controls:
            self.controls["image"].value = image
        self._change(scene)
        return f"loaded {path}"

    def export(self) -> str:
        """Write the edited picture as PNG, of the image's true size."""
        path = self._path(".png")
        with replacing(path) as temporary:
            temporary.write_bytes(png_bytes(self.picture))
        return f"wrote {path}"

    def _path(self, suffix: str) -> Path:
        """Return the file of the name given, below the kernel's folder."""
        name = self.file.value.strip().removesuffix(".json").removesuffix(".png")
        if not name:
            raise DtisError("file: empty; give a name such as scene")
        return Path(name + suffix)
