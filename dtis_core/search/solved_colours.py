"""Colours solved for instead of predicted: each candidate's tint is the one that errs least.

Where one sprite stands for objects of many colours, a look without the right colour lowers no
error, so nothing is learned from it. The best colour is a least-squares problem with one unknown
for each channel, whose solution costs no more than the candidates' errors themselves.
"""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from dtis_core.search.windows import Windowed

MOST = 4.0  # gains at most: a dark sprite does not become bright by noise
LEAST_SEEN = 1e-3  # squared colours below which a candidate's tint stays near 1


def solved(
    candidates: Windowed, images: Float[Tensor, "B C H W"], rest: Float[Tensor, "B C H W"]
) -> tuple[Windowed, Float[Tensor, "B N C"]]:
    """Return the candidates in their best colours before the `rest`, and the gains for that.

    A gain g minimises the squared error of (1 - alpha) rest + g alpha colour, channel by channel.
    """
    window = candidates.window
    images, rest = (window.cut(part).unsqueeze(1) for part in (images, rest))  # (B, 1, C, h, w)
    shown = candidates.alphas * candidates.colours  # (B, N, C, h, w)
    missing = images - (1 - candidates.alphas) * rest
    explained = (shown * missing).sum(dim=(-2, -1)) + LEAST_SEEN  # (B, N, C)
    gains = (explained / (shown.square().sum(dim=(-2, -1)) + LEAST_SEEN)).clamp(0, MOST)
    colours = candidates.colours * gains[..., None, None]
    return replace(candidates, colours=colours), gains


def tinted(
    layer: Float[Tensor, "B L P"], tint: slice, gains: Float[Tensor, "B L C"]
) -> Float[Tensor, "B L P"]:
    """Return layers' parameters with gains put on top of their tint.

    They pass no gradient to the predictor, which has no part in them.
    """
    layer = layer.clone()
    layer[..., tint] = (gains * (1 + layer[..., tint]) - 1).detach()
    return layer
