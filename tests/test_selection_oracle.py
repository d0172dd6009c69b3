"""The fast core against the loops of `oracle.py`, over random models of every kind."""

import copy
from collections import Counter
from functools import lru_cache

import numpy as np
import oracle
import pytest
import torch

from dtis_core.config import ModelConfig
from dtis_core.model import DTISprites
from dtis_core.transformations import TRANSFORMATIONS

MODELS = range(56)
SPATIAL = [name for name, module in TRANSFORMATIONS.items() if module.spatial]
COLOURS = [name for name, module in TRANSFORMATIONS.items() if not module.spatial]


def draw_sequence(rng, first, resizes=False):
    """Up to three different modules, `first` among them; the last spatial one can resize."""
    names = [first, *rng.choice(list(TRANSFORMATIONS), rng.integers(0, 3), replace=False).tolist()]
    names = rng.permutation(list(dict.fromkeys(name for name in names if name))).tolist()
    spatial = [name for name in names if name in SPATIAL]
    if resizes and (not spatial or spatial[-1] == "morphological"):
        names = [name for name in names if name != "affine"] + ["affine"]
    return names


@lru_cache
def draw_config(number):
    """A random configuration; consecutive numbers share out what must not be missed."""
    rng = np.random.default_rng(number)

    def pick(*options):
        return options[rng.integers(len(options))]

    # Each module is first in turn, in the layer's, the sprite's or the background's sequence.
    turn, names = number % 3, list(TRANSFORMATIONS)
    first = names[number // 3 % len(names)]
    looks = pick("image", "residual")
    layers = int(rng.integers(1, 5))
    exhaustive = looks == "image" and layers <= 2 and rng.random() < 0.7
    backgrounds = int(rng.integers(1, 3)) if turn == 2 else int(rng.integers(0, 3))
    same_size = rng.random() < 0.2
    size = pick((13, 17), (16, 12), (15, 15))
    in_layer = turn == 0 or rng.random() < 0.7  # else the sprite's sequence has the last word
    layer = draw_sequence(rng, first if turn == 0 else pick(*names), resizes=not same_size)
    sprite = draw_sequence(
        rng, first if turn == 1 else pick(*names, None), resizes=not (same_size or in_layer)
    )
    return ModelConfig(
        image_size=size,
        sprite_size=size if same_size else pick((9, 7), (8, 11)),
        layers=layers,
        sprites=int(rng.integers(1, 6)),
        backgrounds=backgrounds,
        channels=pick(1, 3),
        mask_sigma=3.0,
        layer_transformations=layer if in_layer else [n for n in layer if n in COLOURS],
        sprite_transformations=sprite,
        background_transformations=draw_sequence(rng, first if turn == 2 else pick(*names, None)),
        empty_sprite=bool(rng.integers(2)),
        occlusion=pick("fixed", "predicted"),
        penalty=pick(0.0, 1e-4, 1e-2),
        mask_noise=pick(0.0, 0.4),
        selection="exhaustive" if exhaustive else "greedy",
        selection_steps=int(rng.integers(1, 4)),
        encoder="resnet32" if number % 14 == 0 else "small",
        head=pick("pooled", "attention"),
        pool=int(rng.integers(1, 3)),
        looks=looks,
    )


def build(number, dtype=torch.float64):
    """A model with random parameters, training or not, with its images and noise."""
    config = draw_config(number)
    generator = torch.Generator().manual_seed(number)

    def uniform(low, high, *shape):
        values = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return low + (high - low) * values

    torch.manual_seed(number)
    model = DTISprites(config).train(number % 4 > 0)
    with torch.no_grad():
        model.sprites.appearances.copy_(uniform(-0.1, 1.1, *model.sprites.appearances.shape))
        model.sprites.masks.copy_(uniform(-0.4, 1.4, *model.sprites.masks.shape))
        model.backgrounds.appearances.copy_(uniform(-0.1, 1.1, *model.backgrounds.appearances.shape))
        for name, parameter in model.predictor.named_parameters():
            if name.endswith("gain"):
                parameter.fill_(0.5)
            if "head.weights.2" in name or "head.biases" in name:
                parameter.copy_(uniform(-1, 1, *parameter.shape) * 0.05)
    if number % 5 == 0:  # a curriculum that has not reached every module
        names = config.layer_transformations + config.sprite_transformations
        model.active = frozenset(names[1:] + config.background_transformations[1:])
    images = uniform(0, 1, 2, config.channels, *config.image_size)
    noise = model.draw_noise(generator) if model.training else None
    return model.to(dtype), images.to(dtype), None if noise is None else noise.to(dtype)


def run_core(number, dtype):
    """Loss, choices, reconstructions and gradients of the core."""
    model, images, noise = build(number, dtype)
    loss, scene = model.loss(images, noise)
    loss.backward()
    chosen = scene.selection
    return loss, chosen.sprites, chosen.background, scene.reconstruction, gradients(model)


def run_oracle(number):
    """The same of the oracle, in double precision."""
    model, images, noise = build(number)
    loss, *rest = oracle.oracle(model, images, noise)
    loss.backward()
    return loss, *rest, gradients(model)


def gradients(model):
    """The gradient of each parameter, zero where there is none."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
    }


@pytest.mark.parametrize("number", MODELS)
def test_the_core_equals_the_oracle(number):
    loss, sprites, background, reconstruction, expected = run_oracle(number)
    for dtype, near, near_gradient in ((torch.float64, 1e-10, 1e-8), (torch.float32, 1e-5, 1e-2)):
        found = run_core(number, dtype)
        assert found[0].item() == pytest.approx(loss.item(), rel=near)
        assert torch.equal(found[1], sprites)
        assert torch.equal(found[2], background)
        torch.testing.assert_close(found[3].double(), reconstruction, rtol=0, atol=near)
        for name, gradient in found[4].items():
            error = (gradient.double() - expected[name]).abs().max() if gradient.numel() else 0.0
            scale = expected[name].abs().max() if gradient.numel() else 0.0
            assert error <= near_gradient * scale + 1e-12, name
