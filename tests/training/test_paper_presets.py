"""The paper's presets begin to learn: all layers are in use, and gradients reach every head."""

from functools import cache

import numpy as np
import pytest
import torch
from small_run import weights

from dtis_core.config import load_preset, preset_names
from dtis_core.datasets.multi_dsprites import render, sample
from dtis_core.training.gradients import without_gradient
from dtis_core.training.trainer import Trainer

STEPS, BATCH = 3, 4


@cache
def scenes():
    """Coloured shapes on grey, uint8 (N, 64, 64, 3)."""
    return render(sample(STEPS * BATCH, np.random.default_rng(0)))[0]


def at_size(side):
    """The scenes cut, or doubled, to images of a size."""
    doubled = scenes().repeat(2, axis=1).repeat(2, axis=2) if side > 64 else scenes()
    return doubled[:, :side, :side]


@pytest.mark.parametrize("name", [name for name in preset_names() if name.endswith("/paper")])
def test_a_paper_preset_begins_to_learn(name):
    config = load_preset(name).override([f"training.batch_size={BATCH}"])
    run = Trainer(config, at_size(config.model.image_size[0]), seed=0)
    before = weights(run.model)
    for _ in range(STEPS):
        run.train_step()
    run.step = 0
    with torch.no_grad():
        _, scene = run.model.train().loss(run.batch(), steps=1)
    assert scene.selection.sprites.all()
    assert not without_gradient(run.model, run.optimizer).keys() - {"sprite"}
    after = weights(run.model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    heads = {"layer_head": 0, "sprite_head": 1, "background_head": 2}
    for head, index in heads.items():
        active = set(run.model.sequences[index].names) & run.active_transformations()
        assert (f"predictor.{head}.biases.2" in changed) == bool(active)
    overlap = config.model.occlusion == "predicted"
    assert ("predictor.occlusion_head.biases.2" in changed) == overlap
    assert ("backgrounds.appearances" in changed) == bool(config.model.backgrounds)
    frozen = run.in_steps(config.training.frozen) >= STEPS
    assert frozen == (config.model.layers > 1)
    assert ("sprites.masks" in changed) != frozen
