"""Widgets that the browser draws by itself, with a picture for where there are no widgets."""

from base64 import b64encode
from collections.abc import Iterator

import anywidget

from dtis_core.display.widgets import Picture, png_bytes


class Alive(anywidget.AnyWidget):
    """A widget that is alive on a page without a kernel, too."""

    def still(self) -> tuple[str, Picture]:
        """Return a line and a picture, uint8 (h, w, 3), of what is shown at first."""
        raise NotImplementedError

    def _repr_keys(self) -> Iterator[str]:
        """Return which traits tell of the widget in a text: none, for they are whole pictures."""
        yield from ()

    def _repr_mimebundle_(self, **options: object) -> tuple[dict, dict]:
        """Return the widget's view, and beside it what shows where there are no widgets."""
        data, metadata = super()._repr_mimebundle_(**options)
        text, picture = self.still()
        png = b64encode(png_bytes(picture)).decode()
        return data | {"text/plain": text, "image/png": png}, metadata
