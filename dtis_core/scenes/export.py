"""Scenes as files for other programs: the picture as PNG, its layers as PSD, ORA, SVG or GIF.

Each file holds the layers from the farthest to the nearest, with transparency, so that laid over
one another they are the picture: Eq. (1), which equals Eq. (2) wherever depths are an order.
"""

import io
import zipfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from PIL import Image

from dtis_core.errors import DtisError, suggest
from dtis_core.pictures import to_pixels
from dtis_core.scenes.scene import Scene
from dtis_core.storage.files import replacing

FRAME = 600, 2000  # milliseconds of each frame of an animation, and of the last
NEEDS_PSD = "psd-tools is not installed: pip install 'dtis[export]'"


class Layer(NamedTuple):
    """A layer by itself: its name, and its picture with transparency, of the image's size."""

    name: str
    picture: Image.Image

    @property
    def area(self) -> tuple[int, int, int, int]:
        """Return the (left, top, right, bottom) around what is not wholly transparent."""
        return self.picture.getchannel("A").getbbox() or (0, 0, 1, 1)


def export(scene: Scene, path: Path, image: int = 0) -> None:
    """Write one image of a scene as the kind of file that the path's ending says.

    Raises DtisError for another ending than those of `EXPORTS`, an image that there is not, a
    package that is not installed, and where the file cannot be written.
    """
    composed = scene.reconstruction
    count = len(composed)
    if not 0 <= image < count:
        raise DtisError(f"image: must be in 0..{count - 1}, found {image}")
    ending = path.suffix.lower()
    if ending not in EXPORTS:
        names = ", ".join(EXPORTS)
        raise DtisError(f"{path}: ends in none of {names}{suggest(ending, EXPORTS)}")
    whole = to_pixels(_as_colours(composed[image])[None])[0]
    with replacing(path) as temporary:
        EXPORTS[ending](temporary, layers_of(scene, image), Image.fromarray(whole))


def layers_of(scene: Scene, image: int = 0) -> list[Layer]:
    """Return the background, where there is one, and all objects that are not empty, back first."""
    layers, colours, alphas = [], scene.layers[image].clamp(0, 1), scene.alphas[image].clamp(0, 1)
    if scene.model.config.backgrounds:
        behind = _as_colours(scene.background[image])
        layers.append(Layer("background", _picture(behind, torch.ones_like(behind[:1]))))
    for number in scene.orders[image]:
        sprite = int(scene.sprite_index[image, number - 1])
        if sprite:
            picture = _picture(_as_colours(colours[number - 1]), alphas[number - 1])
            layers.append(Layer(f"object {number}: sprite {sprite}", picture))
    return layers


def _as_colours(image: torch.Tensor) -> torch.Tensor:
    """Return (3, H, W) of an image of one channel or three."""
    return image.expand(3, *image.shape[1:])


def _picture(colours: torch.Tensor, alpha: torch.Tensor) -> Image.Image:
    return Image.fromarray(to_pixels(torch.cat([colours, alpha])[None])[0])


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _write_png(path: Path, layers: list[Layer], whole: Image.Image) -> None:
    path.write_bytes(_png(whole))


def _write_ora(path: Path, layers: list[Layer], whole: Image.Image) -> None:
    """OpenRaster: PNGs in a zip archive, and a list of them, the nearest first."""
    lines = []
    with zipfile.ZipFile(path, "w") as archive:
        # First and as it is, for by this a program knows the format.
        archive.writestr(zipfile.ZipInfo("mimetype"), "image/openraster")
        for number, layer in enumerate(layers):
            left, top, *_ = layer.area
            file = f"data/{number:02}.png"
            archive.writestr(zipfile.ZipInfo(file), _png(layer.picture.crop(layer.area)))
            name = quoteattr(layer.name)
            lines.append(f'<layer name={name} src="{file}" x="{left}" y="{top}"/>')
        for file, picture in (("mergedimage.png", whole), ("Thumbnails/thumbnail.png", whole)):
            archive.writestr(zipfile.ZipInfo(file), _png(picture))
        stack = "".join(reversed(lines))
        size = f'w="{whole.width}" h="{whole.height}"'
        xml = f'<?xml version="1.0"?><image version="0.0.3" {size}><stack>{stack}</stack></image>'
        archive.writestr(zipfile.ZipInfo("stack.xml"), xml)


def _write_svg(path: Path, layers: list[Layer], whole: Image.Image) -> None:
    """A drawing of PNGs in place, one group for each layer."""
    size = f'width="{whole.width}" height="{whole.height}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>']
    if layers[:1] and layers[0].name != "background":
        lines.append(f'<rect {size} fill="black"/>')  # what is behind all of them
    for layer in layers:
        left, top, right, bottom = layer.area
        data = b64encode(_png(layer.picture.crop(layer.area))).decode()
        place = f'x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"'
        style = "image-rendering: pixelated"
        lines.append(
            f'<g id={quoteattr(layer.name)}><image {place} style="{style}" '
            f'href="data:image/png;base64,{data}"/></g>'
        )
    path.write_text("\n".join([*lines, "</svg>", ""]))


def _write_gif(path: Path, layers: list[Layer], whole: Image.Image) -> None:
    """An animation that lays one layer after the other over what is behind it."""
    frame, frames = Image.new("RGBA", whole.size), []
    for layer in layers:
        frame = Image.alpha_composite(frame, layer.picture)
        opaque = np.asarray(frame).copy()
        opaque[..., 3] = np.where(opaque[..., 3] > 127, 255, 0)  # a GIF's pixel is there or not
        frames.append(Image.fromarray(opaque))
    first, *others = frames or [frame]
    durations = [FRAME[0]] * len(others) + [FRAME[1]]
    first.save(
        path, "GIF", save_all=True, append_images=others, duration=durations, loop=0, disposal=2
    )


def _write_psd(path: Path, layers: list[Layer], whole: Image.Image) -> None:
    """Photoshop's format, by psd-tools."""
    try:
        from psd_tools import PSDImage
    except ImportError as error:
        raise DtisError(NEEDS_PSD) from error
    document = PSDImage.new(mode="RGBA", size=whole.size)  # for layers with transparency
    for layer in layers:
        left, top, *_ = layer.area
        part = layer.picture.crop(layer.area)
        document.create_pixel_layer(part, name=layer.name, top=top, left=left)
    with path.open("wb") as file:
        document.save(file)


EXPORTS: dict[str, Callable[[Path, list[Layer], Image.Image], None]] = {
    ".png": _write_png,
    ".psd": _write_psd,
    ".ora": _write_ora,
    ".svg": _write_svg,
    ".gif": _write_gif,
}
"""What writes each kind of file."""
