"""Our model: the paper's, with another way to seek the scene.

What differs is in `SearchConfig`. Sprites are candidates in several turns; and with residual looks
the predictor sees the image once per layer, beside what the layers found so far explain of it, so
that all layers share one question: what is missing?
"""

import math
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.config import ModelConfig, SearchConfig
from dtis_core.model.canvas import Canvas
from dtis_core.model.composition import ordered_occlusion
from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.model.encoders import ENCODERS, Kind
from dtis_core.model.predictor import Prediction
from dtis_core.model.selection import Candidates, Selection
from dtis_core.model.transformations import TRANSFORMATIONS, Similarity
from dtis_core.search.joint_choice import choose_jointly
from dtis_core.search.looks import Looks
from dtis_core.search.residual import ResidualSearch, Rules
from dtis_core.search.seeking_predictor import SeekingPrediction, SeekingPredictor
from dtis_core.search.small_encoder import Small, start_heads
from dtis_core.search.solved_colours import solved, tinted
from dtis_core.search.transformations import OURS
from dtis_core.search.windows import Windowed, placed, window_of

OUTSIDE = 9.0  # a place that is in no image

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

    predictor: SeekingPredictor

    def __init__(
        self,
        config: ModelConfig,
        search: SearchConfig,
        encoder_size: tuple[int, int] | None = None,
    ):
        super().__init__(config, encoder_size, partial(SeekingPredictor, search=search))
        self.search = search

    @property
    def angle(self) -> int | None:
        """Which of a sprite's parameters turns it; None where, or for as long as, none does."""
        sequence = self.sequences[1]
        for name, module in zip(sequence.names, sequence.modules, strict=True):
            if isinstance(module, Similarity) and (self.active is None or name in self.active):
                return sequence.slices[name].start + module.angle
        return None

    @property
    def tint(self) -> slice | None:
        """Which of a layer's parameters are the colours to solve for; None where none are."""
        joined = self.active is None or "tint" in self.active
        solves = self.search.colours == "solved" and joined
        return self.sequences[0].slices["tint"] if solves else None

    def open_angles(self, prediction: Prediction) -> Float[Tensor, "#B #L #K T"]:
        """Return the angles, on top of the predicted one, in which a sprite is a candidate.

        They are read, or else even turns; until the curriculum turns sprites there is only one.
        """
        reads = self.search.harmonics and self.angle is not None
        if reads and isinstance(prediction, SeekingPrediction):
            return prediction.angles
        return self.even_turns(prediction.layer).view(1, 1, 1, -1)

    @property
    def turns(self) -> int:
        """How many even turns of each sprite are candidates: one until the curriculum has turns."""
        search = self.search
        turns = search.turns if self.training else search.inference_turns or search.turns
        return 1 if self.angle is None else turns

    def even_turns(self, like: Tensor) -> Float[Tensor, "T"]:
        """Return the angles of these turns."""
        turn = torch.arange(self.turns, dtype=like.dtype, device=like.device)
        return 2 * math.pi / self.turns * turn

    def candidates(
        self,
        layer: Float[Tensor, "B P"],
        sprite: Float[Tensor, "B K R"],
        noise: Float[Tensor, "K H W"] | None = None,
    ) -> Candidates:
        """Render all sprites, each in all T even turns, as one layer: N = K * T candidates."""
        turns = self.even_turns(layer)
        T = len(turns)
        if T == 1:
            return super().candidates(layer, sprite, noise)
        return self.render_candidates(
            self.sprites.canvases().repeat_interleave(T, dim=0),
            layer,
            self.turned(sprite.unsqueeze(2), turns).flatten(1, 2),  # (B, K T, R)
            noise if noise is None else noise.repeat_interleave(T, dim=0),
        )

    def turned(
        self, sprite: Float[Tensor, "*lead R"], angles: Float[Tensor, "*each"]
    ) -> Float[Tensor, "*both R"]:
        """Return sprite parameters with angles added, which broadcast with all axes but R."""
        if self.angle is None:
            return sprite
        unit = sprite.new_zeros(sprite.shape[-1])
        unit[self.angle] = 1
        return sprite + angles.unsqueeze(-1) * unit

    def seen_candidates(
        self,
        prediction: Prediction,
        noise: Float[Tensor, "K H W"] | None = None,
    ) -> Windowed:
        """Render all sprites, at each of their T angles, as the one layer predicted: N = K * T.

        What `candidates` renders, but only where the layer can be seen.
        """
        layer, angles = prediction.layer, self.open_angles(prediction)  # (B, 1, P)
        T = angles.shape[-1]
        sprite = self.turned(prediction.sprite.unsqueeze(3), angles)  # (B, 1, K, T, R)
        window = window_of(self, layer)
        canvases = self.sprites.canvases().repeat_interleave(T, dim=0)[None, None]
        canvas = Canvas(canvases, torch.ones_like(canvases[:, :, :1, :1]))
        canvas = self.sequences[1](canvas, sprite.flatten(2, 3), self.active)
        canvas = placed(self, canvas, layer, window)
        if noise is not None:  # of the whole image, so that windows change nothing
            noise = noise.repeat_interleave(T, dim=0).expand(len(layer), -1, -1, -1)
            noise = window.cut(noise).unsqueeze(1)  # (B, 1, N, h, w)
        alphas, colours = self.masks_of(canvas, noise)[:, 0], canvas.colour[:, 0]
        B = len(layer)
        alphas, colours = (part.expand(B, *part.shape[1:]) for part in (alphas, colours))
        return Windowed(alphas, colours, window)

    def predict_and_select(
        self,
        images: Float[Tensor, "B C H W"],
        noise: Tensor | None,
        steps: int,
        start: Decomposition | None = None,
        done: int = 1,
    ) -> tuple[Prediction, Float[Tensor, "B L L"], Selection]:
        """Predict the scene's parameters and occlusions; choose its sprites, minimising Eq. (5).

        Residual looks may go on from the scenes of a `start`, such as those of frames before, which
        stand for so many `done` iterations.
        """
        if self.search.looks == "residual":
            found = self._look_and_select(images, noise, steps, start, done)
        else:
            found = super().predict_and_select(images, noise, steps)
        prediction, occlusion, selection = found
        if self.angle is None:
            return prediction, occlusion, selection
        angles = self.open_angles(prediction)  # (B or 1, L or 1, K or 1, T)
        T, chosen = angles.shape[-1], selection.sprites  # (B, L), of N = K * T candidates
        turn = ((chosen - 1).clamp(min=0) % T)[:, :, None, None]
        angles = angles.expand(*prediction.sprite.shape[:3], T)
        angles = angles.gather(3, turn.expand(-1, -1, angles.shape[2], -1)).squeeze(3)  # (B, L, K)
        sprite = self.turned(prediction.sprite, angles)
        selection = replace(selection, sprites=(chosen + T - 1) // T)
        return replace(prediction, sprite=sprite), occlusion, selection

    @torch.no_grad()
    def resumed(
        self,
        images: Float[Tensor, "B C H W"],
        start: Decomposition,
        steps: int = 1,
        done: int = 1,
    ) -> Decomposition:
        """Return scenes after more iterations of Algorithm 1, from where so many are `done`."""
        return self.render(*self.predict_and_select(images, None, steps, start, done))

    def _look_and_select(
        self,
        images: Float[Tensor, "B C H W"],
        noise: Tensor | None,
        steps: int,
        start: Decomposition | None,
        done: int,
    ) -> tuple[Prediction, Float[Tensor, "B L L"], Selection]:
        """Interleave Algorithm 1 with the predictor: a look at the rest before each layer's choice.

        Only the last iteration's looks learn.
        """
        config, looks, proposed = self.config, Looks(), {}
        background = images.new_zeros(len(images), 0, 0)
        if config.backgrounds:
            nothing = torch.zeros_like(images)
            background = self.predictor(torch.cat([images, nothing], dim=1)).background
        learning = (steps - 1) * config.layers if torch.is_grad_enabled() else steps * config.layers

        def look(
            layer: int, rest: Tensor, avoided: list[int], held: Tensor | None
        ) -> tuple[Windowed, Tensor]:
            places, own, gains = self._avoided_places(looks, search, layer, avoided), None, None
            if held is not None:
                own = self._places(looks, search, [layer])[:, 0]  # (B, 2)
                own = torch.where(held[:, None], own, torch.nan)
            with torch.set_grad_enabled(len(looks) >= learning):
                found = self.predictor(torch.cat([images, rest], dim=1), places, own)
            candidates = self.seen_candidates(found, noise)
            if self.tint:
                candidates, gains = solved(candidates, images, rest)
            if config.selection == "exhaustive":
                proposed[layer] = search.looks, candidates
            looks.add(found, gains)
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
            reread=self.search.fovea and self.search.polish_every > 0,
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
        if start is not None:
            turns = self.open_angles(start.prediction).shape[-1]
            looks.begin(start.prediction, turns, config.channels)
            search.begin(start, turns, done)
        selection = search.run(steps)
        if proposed:
            choose_jointly(search, proposed[0], proposed[1])
            selection = search.selection()
        prediction = looks.prediction(search.look, background)
        if self.tint:
            gains = looks.chosen_gains(search.look, selection.sprites)
            prediction = replace(prediction, layer=tinted(prediction.layer, self.tint, gains))
        if sought:
            return prediction, search.object_occlusion, selection
        return prediction, self.occlusion(prediction.features), selection

    def _avoided_places(
        self, looks: Looks, search: ResidualSearch, layer: int, avoided: list[int]
    ) -> Float[Tensor, "B n 2"] | None:
        """Return the places of empty layers where not to look again, far off for those in use.

        They are the `avoided` ones; or else, if the error draws looks, all others that were looked
        for: what is missing there, and was not explained, would draw all later looks, too.
        """
        drawn = self.search.drawn_by == "error"
        former = range(min(search.looks, self.config.layers)) if drawn else ()
        layers = avoided or [other for other in former if other != layer]
        if self.predictor.at is None or not layers:
            return None
        places = self._places(looks, search, layers)
        return torch.where(search.sprites[:, layers, None] > 0, OUTSIDE, places)

    def _places(
        self, looks: Looks, search: ResidualSearch, layers: list[int]
    ) -> Float[Tensor, "B n 2"]:
        """Return where some layers were found last, or where they were looked for."""
        parameters = looks.part("layer", search.look)[:, layers]  # (B, n, P)
        return torch.tanh(parameters[..., self.predictor.at])
