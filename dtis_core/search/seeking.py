"""Our model: the paper's, with another way to seek the scene.

What differs is in `SearchConfig`. Sprites are candidates in several turns; and with residual looks
the predictor sees the image once per layer, beside what the layers found so far explain of it, so
that all layers share one question: what is missing?
"""

import math
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.config import ModelConfig, SearchConfig
from dtis_core.model.canvas import Canvas
from dtis_core.model.composition import ordered_occlusion
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.model.encoders import ENCODERS, Kind
from dtis_core.model.predictor import Prediction
from dtis_core.model.selection import Candidates, Selection
from dtis_core.model.transformations import TRANSFORMATIONS
from dtis_core.search.residual import ResidualSearch, Rules
from dtis_core.search.seeking_predictor import SeekingPredictor
from dtis_core.search.small_encoder import Small, start_heads
from dtis_core.search.transformations import OURS
from dtis_core.search.windows import Windowed, placed, window_of

# What is ours has its names beside the paper's.
ENCODERS["small"] = Kind(Small, 64, start_heads)
TRANSFORMATIONS |= OURS


def build_model(
    model: ModelConfig, search: SearchConfig, encoder_size: tuple[int, int] | None = None
) -> DTISprites:
    """Return the untrained model of a configuration: the paper's, or ours where `search` asks.

    Raises DtisError for transformations that do not carry sprites into images.
    """
    if search == SearchConfig():
        return DTISprites(model, encoder_size)
    return SeekingSprites(model, search, encoder_size)


class SeekingSprites(DTISprites):
    """The paper's model, whose scenes are sought as a `SearchConfig` says."""

    def __init__(
        self,
        config: ModelConfig,
        search: SearchConfig,
        encoder_size: tuple[int, int] | None = None,
    ):
        super().__init__(config, encoder_size, partial(SeekingPredictor, search=search))
        self.search = search

    @property
    def turns(self) -> int:
        """How many turns of each sprite are candidates: one until the curriculum turns sprites."""
        search = self.search
        turns = search.turns if self.training else search.inference_turns or search.turns
        turning = self.active is None or "similarity" in self.active
        return turns if turning else 1

    def candidates(
        self,
        layer: Float[Tensor, "B P"],
        sprite: Float[Tensor, "B K R"],
        noise: Float[Tensor, "K H W"] | None = None,
    ) -> Candidates:
        """Render all sprites, each in all turns, as one layer: N = K * turns candidates."""
        if self.turns == 1:
            return super().candidates(layer, sprite, noise)
        canvases = self.sprites.canvases().repeat_interleave(self.turns, dim=0)
        return self.render_candidates(canvases, layer, *self.in_turns(sprite, noise))

    def in_turns(
        self, sprite: Float[Tensor, "B K R"], noise: Float[Tensor, "K H W"] | None
    ) -> tuple[Float[Tensor, "B N R"], Float[Tensor, "N H W"] | None]:
        """Return parameters and noise of N = K * turns candidates."""
        turns = self.turns
        if turns == 1:
            return sprite, noise
        turn = torch.arange(turns, device=sprite.device)
        every = self.turned(sprite.unsqueeze(2), turn).flatten(1, 2)  # (B, K turns, R)
        return every, noise if noise is None else noise.repeat_interleave(turns, dim=0)

    def seen_candidates(
        self,
        layer: Float[Tensor, "B P"],
        sprite: Float[Tensor, "B K R"],
        noise: Float[Tensor, "K H W"] | None = None,
    ) -> Windowed:
        """Render what `candidates` does, but only where the layer can be seen."""
        window = window_of(self, layer[:, None])
        every, noise = self.in_turns(sprite, noise)
        canvases = self.sprites.canvases().repeat_interleave(self.turns, dim=0)[None, None]
        canvas = Canvas(canvases, torch.ones_like(canvases[:, :, :1, :1]))
        canvas = self.sequences[1](canvas, every.unsqueeze(1), self.active)
        canvas = placed(self, canvas, layer[:, None], window)
        if noise is not None:  # of the whole image, so that windows change nothing
            noise = window.cut(noise.expand(len(layer), *noise.shape)).unsqueeze(1)
        alphas, colours = self.masks_of(canvas, noise)[:, 0], canvas.colour[:, 0]
        B = len(layer)
        alphas, colours = (part.expand(B, *part.shape[1:]) for part in (alphas, colours))
        return Windowed(alphas, colours, window)

    def turned(self, sprite: Float[Tensor, "*lead R"], turn: Int[Tensor, "..."]) -> Tensor:
        """Return sprite parameters, which broadcast, with turns 0..turns - 1 added (..., R)."""
        sequence = self.sequences[1]
        module = sequence.modules[sequence.names.index("similarity")]
        unit = sprite.new_zeros(sequence.size)
        unit[sequence.slices["similarity"].start + module.angle] = 2 * math.pi / self.turns
        return sprite + turn[..., None] * unit

    def predict_and_select(
        self, images: Float[Tensor, "B C H W"], noise: Tensor | None, steps: int
    ) -> tuple[Prediction, Float[Tensor, "B L L"], Selection]:
        """Predict the scene's parameters and occlusions; choose its sprites, minimising Eq. (5)."""
        if self.search.looks == "residual":
            prediction, occlusion, selection = self._look_and_select(images, noise, steps)
        else:
            prediction, occlusion, selection = super().predict_and_select(images, noise, steps)
        turns = self.turns
        if turns == 1:
            return prediction, occlusion, selection
        chosen = selection.sprites  # (B, L), of N = K * turns candidates, 0 the empty one
        turn = (chosen - 1).clamp(min=0) % turns
        sprite = self.turned(prediction.sprite, turn.unsqueeze(2))
        selection = replace(selection, sprites=(chosen + turns - 1) // turns)
        return replace(prediction, sprite=sprite), occlusion, selection

    def _look_and_select(
        self, images: Float[Tensor, "B C H W"], noise: Tensor | None, steps: int
    ) -> tuple[Prediction, Float[Tensor, "B L L"], Selection]:
        """Interleave Algorithm 1 with the predictor: a look at the rest before each layer's choice.

        Only the last iteration's looks learn.
        """
        config, looks = self.config, []
        background = images.new_zeros(len(images), 0, 0)
        if config.backgrounds:
            nothing = torch.zeros_like(images)
            background = self.predictor(torch.cat([images, nothing], dim=1)).background
        learning = (steps - 1) * config.layers if torch.is_grad_enabled() else steps * config.layers

        def look(layer: int, rest: Tensor) -> tuple[Windowed, Tensor]:
            with torch.set_grad_enabled(len(looks) >= learning):
                looks.append(self.predictor(torch.cat([images, rest], dim=1)))
            found = looks[-1]
            candidates = self.seen_candidates(found.layer[:, 0], found.sprite[:, 0], noise)
            return candidates, found.features[:, 0]

        with torch.no_grad():
            backgrounds = self.background_colours(background)
            order = self.below(ordered_occlusion(len(images), config.layers, images))
        sought = self.search.depths == "sought"
        rules = Rules(
            self.penalty,
            self.empty_sprite,
            keep_better=not self.training,
            pairs=self.search.pairs,
            seek_depths=sought,
        )
        search = ResidualSearch(
            images,
            order,
            backgrounds,
            config.layers,
            rules,
            look,
            self.occlusion if config.occlusion == "predicted" else None,
        )
        selection = search.run(steps)
        image = torch.arange(len(images), device=images.device)[:, None]  # (B, 1)

        def taken(part: str) -> Tensor:
            """Gather what each layer's content was rendered from."""
            every = torch.cat([getattr(found, part) for found in looks], dim=1)  # (B, looks, ...)
            return every[image, search.look]

        prediction = Prediction(taken("layer"), taken("sprite"), background, taken("features"))
        if sought:
            return prediction, search.object_occlusion, selection
        return prediction, self.occlusion(prediction.features), selection
