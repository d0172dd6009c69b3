"""The image model of the paper: Eq. (3) and (4) rendered, Eq. (5) as loss.

Flow: images -> predictor -> candidates -> selection -> layers of the chosen sprites -> composition.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dtis_core.config import ModelConfig
from dtis_core.errors import DtisError
from dtis_core.model.canvas import Canvas
from dtis_core.model.composition import (
    binary_occlusion,
    compose,
    occlusion_from_logits,
    ordered_occlusion,
    put_background_below,
    squared_errors,
)
from dtis_core.model.predictor import Prediction, Predictor
from dtis_core.model.selection import Candidates, Selection, exhaustive_selection, greedy_selection
from dtis_core.model.sprites import (
    BACKGROUND_START,
    Backgrounds,
    Sprites,
    beta_penalty,
    concrete_mask,
    logistic_noise,
    mask_noise,
    soft_clip,
)
from dtis_core.model.transformations import Sequence


@dataclass(frozen=True)
class Decomposition:
    """What the model makes of a batch: parameters, choice, layers and their composition.

    `occlusion` is among the L object layers; `alphas` and `colours` start with the background,
    layer 0, where the model has one (M = L + 1, else M = L).
    """

    prediction: Prediction
    occlusion: Float[Tensor, "B L L"]
    selection: Selection
    alphas: Float[Tensor, "B M 1 H W"]
    colours: Float[Tensor, "B M C H W"]
    reconstruction: Float[Tensor, "B C H W"]

    def errors(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
        """Return each image's squared error, averaged over pixels and channels."""
        return squared_errors(images, self.reconstruction)

    def objectives(self, images: Float[Tensor, "B C H W"], penalty: float) -> Float[Tensor, "B"]:
        """Return the objective of Eq. (5) for each image; `penalty` is its lambda."""
        return self.errors(images) + penalty * (self.selection.sprites > 0).sum(dim=1)


class DTISprites(nn.Module):
    """K sprites, K' backgrounds and a predictor; see `ModelConfig` for the settings."""

    def __init__(
        self,
        config: ModelConfig,
        encoder_size: tuple[int, int] | None = None,
        predictor: Callable[..., Predictor] = Predictor,
    ):
        """Build an untrained model; its encoder may be made for images of another size."""
        super().__init__()
        self.config = config
        C, size, sprite_size = config.channels, config.image_size, config.sprite_size
        self.sprites = Sprites(
            config.sprites, C, sprite_size, config.mask_sigma,
            config.opaque_sprites, config.sprite_colour, config.mask_excess,
        )  # fmt: skip
        start = BACKGROUND_START if config.background_colour is None else config.background_colour
        self.backgrounds = Backgrounds(config.backgrounds, C, size, start)
        layer = Sequence(config.layer_transformations, C, size)
        # Whichever spatial module comes last carries the sprite from its own frame to the image.
        resize = size if layer.last_spatial is None else None
        sprite = Sequence(config.sprite_transformations, C, resize)
        background = Sequence(config.background_transformations, C, size)
        carrier = layer if resize is None else sprite
        last = None if carrier.last_spatial is None else carrier.names[carrier.last_spatial]
        if sprite_size != size and last in (None, "morphological"):
            raise DtisError(
                f"model.sprite_size: {sprite_size} differs from image_size {size}, but no "
                "transformation carries sprites into images; add one, such as placement"
            )
        self.sequences = layer, sprite, background
        self.predictor = predictor(config, self.sequences, encoder_size or size)
        self.active: frozenset[str] | None = None  # transformations the curriculum has reached
        self.temperature = config.mask_temperature[0]  # of Concrete masks, in training
        self.may_be_empty = True  # in training, whether the empty sprite and lambda count yet

    def draw_noise(self, generator: torch.Generator) -> Float[Tensor, "K H W"] | None:
        """Draw one step's mask noise (C.3), or None for a model that trains without."""
        config = self.config
        if config.mask_binarity == "concrete":
            return logistic_noise(config.sprites, config.image_size, generator)
        if config.opaque_sprites or config.mask_binarity == "beta" or not config.mask_noise:
            return None
        return mask_noise(config.sprites, config.image_size, config.mask_noise, generator)

    def transform(
        self,
        canvases: Float[Tensor, "b l K D h w"],
        layer: Float[Tensor, "B L P"],
        sprite: Float[Tensor, "B L K R"],
    ) -> Canvas:
        """Apply Eq. (3): the sprite-specific transformations, then those of the layer."""
        canvas = Canvas(canvases, torch.ones_like(canvases[:, :, :1, :1]))
        canvas = self.sequences[1](canvas, sprite, self.active)
        return self.sequences[0](canvas, layer.unsqueeze(2), self.active)

    def masks_of(self, canvas: Canvas, noise: Tensor | None = None) -> Float[Tensor, "B L K 1 H W"]:
        """Return the clipped, in training noisy, transformed masks; or Concrete ones."""
        masks = canvas.mask
        noise = noise if noise is None else noise.unsqueeze(-3)
        if self.config.mask_binarity == "concrete":
            return canvas.support * concrete_mask(masks, self._temperature, noise)
        if noise is not None:
            masks = torch.addcmul(masks, noise, canvas.support)
        return soft_clip(masks) if self.training else masks.clamp(0, 1)

    @property
    def _temperature(self) -> float:
        """Concrete masks' temperature: the present step's, and at inference the last."""
        return self.temperature if self.training else self.config.mask_temperature[1]

    @property
    def empty_sprite(self) -> bool:
        """Whether the empty sprite is a candidate at present."""
        return self.config.empty_sprite and (self.may_be_empty or not self.training)

    @property
    def penalty(self) -> float:
        """Lambda of Eq. (5) at present: 0 while the empty sprite does not count yet."""
        return self.config.penalty if self.may_be_empty or not self.training else 0.0

    @torch.no_grad()
    def sprite_images(self) -> Float[Tensor, "K D h w"]:
        """Return all sprites as inference shows them, colours then mask, in [0, 1]."""
        images = self.sprites.canvases()
        if self.config.mask_binarity == "concrete":
            images[:, -1:] = concrete_mask(images[:, -1:], self.config.mask_temperature[1])
        return images.clamp(0, 1)

    def candidates(
        self,
        layer: Float[Tensor, "B P"],
        sprite: Float[Tensor, "B K R"],
        noise: Float[Tensor, "K H W"] | None = None,
    ) -> Candidates:
        """Render all sprites as one layer: alphas (B, K, 1, H, W) and colours (B, K, C, H, W)."""
        return self.render_candidates(self.sprites.canvases(), layer, sprite, noise)

    def render_candidates(
        self,
        canvases: Float[Tensor, "N D h w"],
        layer: Float[Tensor, "B P"],
        sprite: Float[Tensor, "B N R"],
        noise: Float[Tensor, "N H W"] | None,
    ) -> Candidates:
        """Render canvases as one layer, each with its own sprite parameters and noise."""
        canvas = self.transform(canvases[None, None], layer[:, None], sprite[:, None])
        alphas, colours = self.masks_of(canvas, noise)[:, 0], canvas.colour[:, 0]
        # What no transformation touches is still shared by all images.
        B = len(layer)
        return alphas.expand(B, *alphas.shape[1:]), colours.expand(B, *colours.shape[1:])

    def chosen_layers(
        self,
        chosen: Int[Tensor, "B L"],
        layer: Float[Tensor, "B L P"],
        sprite: Float[Tensor, "B L K R"],
        noise: Float[Tensor, "K H W"] | None = None,
    ) -> tuple[Float[Tensor, "B L 1 H W"], Float[Tensor, "B L C H W"]]:
        """Render the chosen sprites only, with gradient: alphas and colours of the L layers.

        Sprites are picked by products with one-hot rows, whose gradients sum in a fixed order; the
        empty sprite is the row of zeros.
        """
        one_hot = nn.functional.one_hot(chosen, self.config.sprites + 1)[..., 1:]  # (B, L, K)
        one_hot = one_hot.to(layer.dtype)
        canvases = torch.einsum("blk,kdhw->bldhw", one_hot, self.sprites.canvases())
        sprite = torch.einsum("blk,blkr->blr", one_hot, sprite)
        canvas = self.transform(canvases.unsqueeze(2), layer, sprite.unsqueeze(2))
        if noise is not None:
            noise = torch.einsum("blk,khw->blhw", one_hot, noise).unsqueeze(2)
        there = (chosen > 0)[:, :, None, None, None]  # (B, L, 1, 1, 1)
        return self.masks_of(canvas, noise)[:, :, 0] * there, canvas.colour[:, :, 0]

    def background_colours(self, parameters: Float[Tensor, "B G S"]) -> Float[Tensor, "B G C H W"]:
        """Render all backgrounds; beyond their border they repeat it."""
        canvases = self.backgrounds.canvases()[None, None]
        if not canvases.shape[2]:
            return canvases.new_zeros(len(parameters), 0, *self.backgrounds.appearances.shape[1:])
        canvas = Canvas(canvases, torch.ones_like(canvases[:, :, :1, :1]), padding="border")
        canvas = self.sequences[2](canvas, parameters.unsqueeze(1), self.active)
        colours = canvas.colour[:, 0]
        return colours.expand(len(parameters), *colours.shape[1:])

    def occlusion(self, features: Float[Tensor, "B L F"]) -> Float[Tensor, "B L L"]:
        """Return the occlusion matrix among object layers: predicted, or in the layers' order.

        Probabilities while training, thresholded at 0.5 at inference.
        """
        L = self.config.layers
        if self.config.occlusion != "predicted":
            return ordered_occlusion(len(features), L, features)
        matrix = occlusion_from_logits(self.predictor.occlusion_logits(features), L)
        return matrix if self.training else binary_occlusion(matrix)

    def below(self, occlusion: Float[Tensor, "B L L"]) -> Float[Tensor, "B M M"]:
        """Add the background, where the model has one."""
        return put_background_below(occlusion) if self.config.backgrounds else occlusion

    def predict_and_select(
        self, images: Float[Tensor, "B C H W"], noise: Tensor | None, steps: int
    ) -> tuple[Prediction, Float[Tensor, "B L L"], Selection]:
        """Predict the scene's parameters and occlusions; choose its sprites, minimising Eq. (5)."""
        prediction = self.predictor(images)
        occlusion = self.occlusion(prediction.features)
        with torch.no_grad():
            layers = zip(prediction.layer.unbind(1), prediction.sprite.unbind(1), strict=True)
            scene = (
                images,
                self.below(occlusion),
                self.background_colours(prediction.background),
                [self.candidates(layer, sprite, noise) for layer, sprite in layers],
                self.penalty,
                self.empty_sprite,
            )
            if self.config.selection == "exhaustive":
                return prediction, occlusion, exhaustive_selection(*scene)
            return prediction, occlusion, greedy_selection(*scene, steps)

    def render(
        self,
        prediction: Prediction,
        occlusion: Float[Tensor, "B L L"],
        selection: Selection,
        noise: Float[Tensor, "K H W"] | None = None,
    ) -> Decomposition:
        """Render the chosen sprites and compose them, Eq. (4)."""
        alphas, colours = self.chosen_layers(
            selection.sprites, prediction.layer, prediction.sprite, noise
        )
        if self.config.backgrounds:
            backgrounds = self.background_colours(prediction.background)
            image = torch.arange(len(backgrounds), device=backgrounds.device)
            background = backgrounds[image, selection.background]
            alphas = torch.cat([torch.ones_like(alphas[:, :1]), alphas], dim=1)
            colours = torch.cat([background[:, None], colours], dim=1)
        reconstruction = compose(alphas, colours, self.below(occlusion))
        return Decomposition(prediction, occlusion, selection, alphas, colours, reconstruction)

    def forward(
        self, images: Float[Tensor, "B C H W"], noise: Tensor | None = None, steps: int = 0
    ) -> Decomposition:
        """Decompose images in [0, 1]; `steps` is T of Algorithm 1 (0: as configured)."""
        found = self.predict_and_select(images, noise, steps or self.config.selection_steps)
        return self.render(*found, noise)

    def loss(
        self, images: Float[Tensor, "B C H W"], noise: Tensor | None = None, steps: int = 0
    ) -> tuple[Tensor, Decomposition]:
        """Return the objective of Eq. (5), averaged over images, pixels and channels.

        With the error averaged instead of summed, lambda is per pixel and channel too (1e-4). Where
        masks are made binary by a Beta penalty (C.3), it is added.
        """
        scene = self(images, noise, steps)
        loss = scene.objectives(images, self.penalty).mean()
        if self.config.mask_binarity == "beta":
            loss = loss + self.config.mask_beta * beta_penalty(self.sprites.masks)
        return loss, scene
