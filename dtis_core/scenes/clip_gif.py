"""A clip as an animated GIF: its frames, each object under a mark of its track's own colour."""

import colorsys
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from dtis_core.errors import DtisError
from dtis_core.storage.files import replacing

LASTS = 80  # milliseconds that a frame is shown
SIDE = 320  # pixels: to about this side frames are enlarged
TRAIL = 12  # frames for which the way of an object stays in sight
RADIUS = 8  # pixels, of a mark
TURN = 0.618  # of the circle of hues, from one track to the next: no two near ones are alike


def write_gif(
    path: Path, frames: UInt8[np.ndarray, "F H W 3"], places: Float[np.ndarray, "F T 2"]
) -> None:
    """Write frames with marks at the places (x, y) of T tracks, in pixels; nan for not seen.

    Raises DtisError for a name that does not end in .gif, and where the file cannot be written.
    """
    if path.suffix.lower() != ".gif":
        raise DtisError(f"{path}: an animation is written as .gif; name the file so")
    zoom = max(1, round(SIDE / max(frames.shape[1:3])))
    pictures = [
        _marked(frame.repeat(zoom, axis=0).repeat(zoom, axis=1), (trail + 0.5) * zoom)
        for frame, trail in zip(frames, _trails(places), strict=True)
    ]
    first, *others = pictures
    with replacing(path) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=others, duration=LASTS, loop=0)


def _trails(places: Float[np.ndarray, "F T 2"]) -> list[Float[np.ndarray, "n T 2"]]:
    """Return the places of the last frames, up to each."""
    return [places[max(0, f + 1 - TRAIL) : f + 1] for f in range(len(places))]


def _marked(frame: UInt8[np.ndarray, "H W 3"], trail: Float[np.ndarray, "n T 2"]) -> Image.Image:
    """Draw a ring around where each track is now, and the way by which it came."""
    picture = Image.fromarray(frame)
    draw = ImageDraw.Draw(picture)
    for track, way in enumerate(trail.swapaxes(0, 1)):  # (n, 2)
        if np.isnan(way[-1]).any():
            continue
        hue = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(TURN * track % 1, 0.9, 1.0))
        seen = [tuple(place) for place in way if not np.isnan(place).any()]
        if len(seen) > 1:
            draw.line(seen, fill=hue, width=1)
        x, y = seen[-1]
        draw.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), outline=hue, width=2)
    return picture
