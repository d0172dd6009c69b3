"""Random models of every kind, run by the core and by literal loops, and compared."""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import oracle
import pytest
import torch

from dtis_core.config import ModelConfig
from dtis_core.model.transformations import TRANSFORMATIONS
from dtis_core.search.seeking import build_model

MODELS = range(60)
COLOURS = [name for name, module in TRANSFORMATIONS.items() if not module.spatial]


class Outcome(NamedTuple):
    loss: float
    sprites: torch.Tensor
    background: torch.Tensor
    image: torch.Tensor
    gradients: dict[str, torch.Tensor]


def draw_sequence(rng, first, resizes=False):
    """Up to three different modules, `first` among them; the last spatial one can resize."""
    more = rng.choice(list(TRANSFORMATIONS), rng.integers(0, 3), replace=False).tolist()
    names = rng.permutation([name for name in dict.fromkeys([first, *more]) if name]).tolist()
    spatial = [name for name in names if name not in COLOURS]
    if resizes and (not spatial or spatial[-1] == "morphological"):
        names = [name for name in names if name != "affine"] + ["affine"]
    return names


@lru_cache
def draw_config(number: int) -> ModelConfig:
    """A random model's settings; each module is in turn in each of the three sequences."""
    rng = np.random.default_rng(number)

    def pick(*options):
        return options[rng.integers(len(options))]

    names = list(TRANSFORMATIONS)
    turn, first = number % 3, names[number // 3 % len(names)]
    layers = int(rng.integers(1, 5))
    exhaustive = layers <= 2 and rng.random() < 0.7
    size, same_size = pick((13, 17), (16, 12), (15, 15)), rng.random() < 0.2
    in_layer = turn == 0 or rng.random() < 0.7  # else the sprite's sequence fills the image
    layer = draw_sequence(rng, first if turn == 0 else pick(*names), resizes=not same_size)
    sprite = draw_sequence(
        rng, first if turn == 1 else pick(*names, None), resizes=not (same_size or in_layer)
    )
    return ModelConfig(
        image_size=size,
        sprite_size=size if same_size else pick((9, 7), (8, 11)),
        layers=layers,
        sprites=int(rng.integers(1, 6)),
        backgrounds=int(rng.integers(turn == 2, 3)),
        channels=pick(1, 3),
        mask_sigma=3.0,
        layer_transformations=layer if in_layer else [n for n in layer if n in COLOURS],
        sprite_transformations=sprite,
        background_transformations=draw_sequence(rng, first if turn == 2 else pick(*names, None)),
        empty_sprite=bool(rng.integers(2)),
        occlusion=pick("fixed", "predicted"),
        penalty=pick(0.0, 2**-13, 2**-5),  # exact in single precision, too
        mask_noise=pick(0.0, 0.4),
        selection="exhaustive" if exhaustive else "greedy",
        selection_steps=int(rng.integers(1, 4)),
        encoder="resnet32" if number % 14 == 0 else "small",
        pool=int(rng.integers(1, 3)),
    )


def is_training(number):
    return number % 4 > 0


def build(number, search, dtype):
    """A model whose parameters are all random, so that no two errors tie; images and noise."""
    config = draw_config(number)
    if search.looks == "residual":
        config = replace(config, selection="greedy")
    generator = torch.Generator().manual_seed(number)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)

    torch.manual_seed(number)
    model = build_model(config, search).train(is_training(number))
    ranges = {"appearances": (-0.1, 1.1), "masks": (-0.4, 1.4), "gain": (0.2, 0.6)}
    ranges |= {"2": (-0.05, 0.05)}  # the heads' last layers, which start at zero
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            kind = name.split(".")[-1]
            if kind in ranges:
                parameter.copy_(uniform(*ranges[kind], *parameter.shape))
    if number % 5 == 0:  # a curriculum that has not reached every module
        names = config.layer_transformations + config.sprite_transformations
        model.active = frozenset(names[1:] + config.background_transformations[1:])
    model.may_be_empty = number % 7 != 1
    images = uniform(0, 1, 2, config.channels, *config.image_size)
    noise = model.draw_noise(generator) if model.training else None
    return model.to(dtype), images.to(dtype), None if noise is None else noise.to(dtype)


def gradients(model, loss):
    """Each parameter's gradient. At inference, where nothing is learned, there is none to check."""
    if not model.training:
        return {}
    loss.backward()
    named = model.named_parameters()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in named}


def run_core(number, search, dtype):
    model, images, noise = build(number, search, dtype)
    loss, scene = model.loss(images, noise)
    chosen = scene.selection.sprites, scene.selection.background
    return Outcome(loss.item(), *chosen, scene.reconstruction, gradients(model, loss))


def run_oracle(number, search, loops):
    model, images, noise = build(number, search, torch.float64)
    loss, *rest = oracle.oracle(model, images, noise, search=loops)
    return Outcome(loss.item(), *rest, gradients(model, loss))


def check_equality(number, search, loops):
    """The core and the loops agree on loss, choices, image and gradients."""
    expected = run_oracle(number, search, loops)
    precisions = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
    if draw_config(number).encoder == "resnet32":
        precisions.pop()  # batch normalisation of two images amplifies rounding
    for dtype, near in precisions:
        found = run_core(number, search, dtype)
        assert found.loss == pytest.approx(expected.loss, rel=near)
        assert torch.equal(found.sprites, expected.sprites)
        assert torch.equal(found.background, expected.background)
        near *= 10  # for single values
        torch.testing.assert_close(found.image.double(), expected.image, rtol=0, atol=near)
        largest = max((g.norm() for g in expected.gradients.values()), default=0)
        for name, gradient in expected.gradients.items():
            error = (found.gradients[name].double() - gradient).norm()
            assert error <= near * (gradient.norm() + 1e-3 * largest), name
