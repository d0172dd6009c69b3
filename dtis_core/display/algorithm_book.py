"""Algorithm 1 as a flip book: every choice for one image, with all of its candidates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.display.figures import DARK_CHECKS, over_checkerboard
from dtis_core.display.flipbook import Card, FlipBook, Frame
from dtis_core.display.widgets import Picture
from dtis_core.model.composition import compose, squared_errors
from dtis_core.model.selection import Candidates, Choice, objectives
from dtis_core.pictures import to_bytes, to_pixels


@dataclass(frozen=True)
class Step:
    """One choice of Algorithm 1, and the scene after it.

    `iteration` counts from 1, `layer` too, with 0 for the background. `losses` are Eq. (5) of the
    scene with each candidate there: backgrounds, or the empty sprite, infinite where it is none,
    and sprites 1..K. Of these `chosen` is one.
    """

    iteration: int
    layer: int
    losses: Float[Tensor, "n"]
    chosen: int
    before: float  # the loss before the choice
    composite: Float[Tensor, "C H W"]

    @property
    def loss(self) -> float:
        """The loss of Eq. (5) after the choice."""
        return float(self.losses[self.chosen])


@torch.no_grad()
def algorithm_steps(
    choice: Choice, candidates: Sequence[Candidates], penalty: float, empty: bool, steps: int
) -> list[Step]:
    """Return each choice that `greedy_selection` makes for one image, of which `choice` is to be.

    Other arguments are as there.
    """
    made, black = [], float(squared_errors(choice.images, torch.zeros_like(choice.images)))
    for iteration in range(1, steps + 1):
        for layer in range(1 - choice.below, len(candidates) + 1):
            others = choice.sprites[0].tolist()
            if layer == 0:
                losses = choice.background_errors()
                choice.put_background(losses.argmin(dim=1))
                chosen = choice.background
            else:
                others.pop(layer - 1)
                sprites = candidates[layer - 1]
                losses = objectives(choice, layer - 1, sprites, penalty, empty)
                choice.put(layer - 1, sprites, losses.argmin(dim=1))
                chosen = choice.sprites[:, layer - 1]
            losses = losses[0] + penalty * np.count_nonzero(others)
            composite = compose(choice.alphas, choice.colours, choice.occlusion)[0]
            before = made[-1].loss if made else black
            made.append(Step(iteration, layer, losses, int(chosen), before, composite))
    return made


def algorithm_book(
    images: Float[Tensor, "1 C H W"],
    occlusion: Float[Tensor, "1 M M"],
    backgrounds: Float[Tensor, "1 G C H W"],
    candidates: Sequence[Candidates],
    penalty: float,
    empty: bool,
    steps: int,
) -> FlipBook:
    """Show Algorithm 1 for one image, choice by choice; arguments are as for `greedy_selection`."""
    choice = Choice(images, occlusion, backgrounds, len(candidates))
    made = algorithm_steps(choice, candidates, penalty, empty, steps)
    pictures = [backdrops(backgrounds[0]), *(sprites_alone(one) for one in candidates)]
    image, held, frames = as_picture(images[0]), {}, []
    for step in made:
        place = f"layer {step.layer}" if step.layer else "background"
        name = f"iteration {step.iteration}, {place}"
        small = pictures[step.layer]
        cards = [
            Card(_title(step, k), small[k], _number(loss), (loss,), k == step.chosen)
            for k, loss in enumerate(step.losses.tolist())
            if loss < math.inf
        ]
        seen = {"image": image, "chosen so far": as_picture(step.composite)}
        title = f"Loss of Eq. (5), ×1000, with each candidate as {place}"
        frames.append(Frame(name, _said(step, name, held), seen, {title: cards}))
        held[step.layer] = step.chosen
    return FlipBook(frames, "Algorithm 1, choice by choice")


def as_picture(image: Float[Tensor, "C H W"]) -> Picture:
    """Return an image as uint8 (H, W, 3), grey where it has one channel."""
    return to_pixels(image.expand(3, *image.shape[1:]))


def backdrops(backgrounds: Float[Tensor, "G C H W"]) -> list[Picture]:
    """Return each background's picture."""
    return [as_picture(one) for one in backgrounds]


def sprites_alone(candidates: Candidates) -> list[Picture]:
    """Return the pictures of a layer's candidates for one image, the empty sprite first.

    Each stands by itself, where it would be put, on the checkerboard that means transparency.
    """
    alphas, colours = (part[0] for part in candidates)
    K, C, H, W = colours.shape
    rgba = torch.cat([colours.expand(K, 3, H, W), alphas], dim=1)  # (K, 4, H, W)
    rgba = torch.cat([torch.zeros_like(rgba[:1]), rgba])  # (K + 1, 4, H, W)
    return list(to_bytes(over_checkerboard(rgba.detach().cpu(), checks=DARK_CHECKS)))


def _title(step: Step, k: int) -> str:
    """Name a candidate: backgrounds are numbered from 1, as sprites are."""
    return str(k + 1) if not step.layer else str(k) if k else "empty"


def _number(loss: float) -> str:
    return f"{1e3 * loss:.2f}"


def _said(step: Step, name: str, held: dict[int, int]) -> str:
    """Say what a step chose, beside what its layer held before, and what that did to the loss."""
    kind = "sprite" if step.layer else "background"
    title = _title(step, step.chosen)
    chosen = "the empty sprite" if title == "empty" else f"{kind} {title}"
    again = " again" if held.get(step.layer) == step.chosen else ""
    count = int(step.losses.isfinite().sum())
    place = name[0].upper() + name[1:]
    said = f"{place}: of {count} candidate{'s' * (count > 1)} {chosen}{again} leaves the least loss"
    return f"{said}, {_number(step.loss)}e-3; before, it was {_number(step.before)}e-3."
