"""Many decompositions as a flip book, the worst first or the best."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from dtis_core.display.figures import label_colours, palette
from dtis_core.display.flipbook import FlipBook, Frame
from dtis_core.pictures import to_bytes, to_pixels
from dtis_core.scenes.scene import Scene


def ranking_book(
    images: UInt8[np.ndarray, "B H W 3"], scene: Scene, aris: Sequence[float] | np.ndarray
) -> FlipBook:
    """Show the decompositions of images in the order of their ARI, a fraction each."""
    reconstructions = to_pixels(scene.reconstruction)
    labels, colours = scene.instance_map.cpu(), palette(len(scene.objects))
    instances, held = to_bytes(label_colours(labels, colours)), scene.sprite_index.tolist()
    frames = []
    for i in np.argsort(aris, kind="stable").tolist():
        name = f"image {i}, ARI {100 * aris[i]:.1f}"
        parts = [f"layer {n} holds {_sprite(k)}" for n, k in enumerate(held[i], 1)]
        pictures = {
            "image": images[i],
            "reconstruction": reconstructions[i],
            "instance map": instances[i],
        }
        text = f"{name.replace('image', 'Image')} %. {', '.join(parts).capitalize()}."
        frames.append(Frame(name, text, pictures))
    return FlipBook(frames, "decompositions by ARI", ["Worst first", "Best first"])


def _sprite(k: int) -> str:
    return f"sprite {k}" if k else "nothing"
