"""What λ of Eq. (5) does to one image, as a flip book: which layers are worth their price."""

from collections.abc import Sequence

import numpy as np
import torch

from dtis_core.display.figures import DARK_CHECKS, over_checkerboard
from dtis_core.display.flipbook import Card, FlipBook, Frame
from dtis_core.pictures import to_bytes, to_pixels
from dtis_core.scenes.scene import Scene
from dtis_core.scenes.subsets import subsets_of

PENALTIES = (0.0, *(10 ** (power / 4) for power in range(-24, -3)))
"""λ: 0, then four values a decade from 1e-6 to 1e-1."""
LOSSES = "Loss ×1000 with 0 to {} sprites: the error, and on top of it λ for each"


def stretches(errors: Sequence[float]) -> dict[int, tuple[float, float]]:
    """Return for which λ, from and to, each number of sprites has the least loss.

    `errors` are those with at most 0, 1, 2, ... sprites. Numbers that are best for no λ are left
    out: the others are the corners of the errors' lower convex hull.
    """
    spans = {}
    for k, error in enumerate(errors):
        more = [(error - other) / n for n, other in enumerate(errors[k + 1 :], 1)]
        fewer = [(other - error) / n for n, other in enumerate(reversed(errors[:k]), 1)]
        low, high = max(more, default=0.0), min(fewer, default=np.inf)
        if low < high:
            spans[k] = max(low, 0.0), high
    return spans


def penalty_book(scene: Scene, image: np.ndarray, number: int = 0) -> FlipBook:
    """Show for each λ of `PENALTIES` which layers of an image are kept, and the loss.

    `scene` was decomposed without penalty; `image`, uint8 (H, W, 3), is the one at place `number`.
    """
    subsets = subsets_of(scene, image, number)
    best = subsets.best()
    errors = subsets.errors[best].tolist()
    spans, composed = stretches(errors), to_pixels(subsets.images[best])
    rgba = torch.cat([scene.layers[number], scene.alphas[number]], dim=1)  # (L, 4, H, W)
    layers = to_bytes(over_checkerboard(rgba.cpu(), checks=DARK_CHECKS))
    frames, former = [], None
    for penalty in PENALTIES:
        losses = [error + penalty * k for k, error in enumerate(errors)]
        k = min(spans, key=losses.__getitem__)
        stays = subsets.kept[best[k]].tolist()
        kept = [
            Card(f"{n}", picture, "stays" if here else "out", marked=here)
            for n, (picture, here) in enumerate(zip(layers, stays, strict=True), 1)
        ]
        compared = [
            Card(f"{n}", picture, f"{1e3 * loss:.2f}", (error, penalty * n), n == k)
            for n, (picture, error, loss) in enumerate(zip(composed, errors, losses, strict=True))
        ]
        rows = {"Layers": kept, LOSSES.format(len(layers)): compared}
        pictures = {"image": image, "what stays": composed[k]}
        name = f"λ = {_short(penalty)}"
        text = f"{name}: {_loss(k, errors[k], penalty)} {_span(k, former, *spans[k])}"
        frames.append(Frame(name, text, pictures, rows))
        former = k
    return FlipBook(frames, "λ on one image")


def _sprites(k: int) -> str:
    return f"{k} sprite{'s' * (k != 1)}"


def _short(penalty: float) -> str:
    return f"{penalty:.1e}".replace("e-0", "e-") if penalty else "0"


def _loss(k: int, error: float, penalty: float) -> str:
    """Say what the least loss is made of."""
    parts = f"error {1e3 * error:.2f}e-3 and penalty {1e3 * penalty * k:.2f}e-3"
    return f"{_sprites(k)}. Loss {1e3 * (error + penalty * k):.2f}e-3: {parts}."


def _span(k: int, former: int | None, low: float, high: float) -> str:
    """Say where the number of sprites changes, and how many there were before if it just did."""
    change = f"The number falls from {former} to {k} here. " if former not in (None, k) else ""
    end = f" to {_short(high)}" if high < np.inf else " on"
    return f"{change}This many are best from λ = {_short(low)}{end}."
