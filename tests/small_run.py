"""A run so small that a step takes some milliseconds."""

import numpy as np
import torch

from dtis_core.config import load_preset
from dtis_core.storage.weights import read_tensors
from dtis_core.training.trainer import Trainer

SMALL = [
    "data.count=32", "data.held_out=4", "model.sprites=4", "training.batch_size=4",
    "training.length=12", "training.warm_up=3", "training.frozen=2", "training.cosine_from=6",
    "training.appearance_late=4", "training.reassign_every=3", "training.reassign_below=100",
    "training.reassign_until=null",
]  # fmt: skip
EVERY_FEATURE = [
    "search.looks=image", "search.head=pooled", "model.backgrounds=1", "model.empty_sprite=true",
    "model.occlusion=predicted", "model.penalty=1e-4", "model.layer_transformations=[colour]",
    "model.sprite_transformations=[similarity, position]", "training.unit=epoch",
    "model.background_transformations=[colour]", "training.length=1.5", "training.warm_up=0.5",
    "training.frozen=0.25", "training.cosine_from=null", "training.decay_at=[1]",
    "training.decay_sprites=false", "training.curriculum={similarity: 0.5}",
    "training.empty_from=0.75",  # or else nothing is in use at first, and nothing restarts
]  # fmt: skip

SWEPT = [
    "data.count=16", "data.held_out=8", "training.batch_size=4", "training.frozen=0",
    "training.cosine_from=null", "training.reassign_until=20", "training.appearance_late=0",
    "model.sprites=3", "search.inference_steps=1",
]  # fmt: skip


def small(*settings):
    """The fast preset, so small that a step takes some milliseconds."""
    return load_preset("tetrominoes/fast").override([*SMALL, *settings])


def random_images(count, size=35, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def trainer(*settings, seed=0, images=None):
    return Trainer(small(*settings), random_images(32) if images is None else images, seed)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def assert_same_state(first, second):
    """Both run folders hold the same trainer state and weights, bit for bit."""
    for file in ("trainer.safetensors", "model.safetensors"):
        one, header = read_tensors(first / file)
        two, other = read_tensors(second / file)
        assert header.get("step") == other.get("step")
        assert one.keys() == two.keys()
        for name, tensor in one.items():
            assert torch.equal(tensor, two[name]), name
