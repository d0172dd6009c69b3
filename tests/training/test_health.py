"""Failing runs are named early, and sound ones are not."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
from small_run import EVERY_FEATURE
from small_run import trainer as small_trainer

from dtis_core.config import load_preset
from dtis_core.training import gradients, health
from dtis_core.training.gradients import without_gradient
from dtis_core.training.health import Health
from dtis_core.training.trainer import Trainer

CONFIG = load_preset("tetrominoes/fast")
LATE = int(CONFIG.training.length) - 100
LAST_RESTARTS = int(CONFIG.training.reassign_until)


@cache
def learned():
    """A small run that took two steps with all of its layers in use, and then finds them empty."""
    settings = [*EVERY_FEATURE, "model.layers=3", "model.sprites=2", "training.curriculum={}"]
    settings += ["training.empty_from=5", "training.length=60"]  # of 8 steps each
    run = small_trainer(*settings)
    run.train_step(), run.train_step()
    return run


def trainer(step=LATE, share=(0.3, 0.4, 0.3), **counts):
    """What a check reads of a trainer, late in a sound run unless told otherwise."""
    share = torch.tensor(share)
    found = object.__new__(Trainer)
    counts = {"invisible": 0.0, "dead_sprites": 0} | counts
    run = learned()
    vars(found).update(config=CONFIG, step=step, share=share, sprites=len(share), **counts)
    vars(found).update(model=run.model, optimizer=run.optimizer)
    return found


@pytest.mark.parametrize(
    ("name", "found", "loss"),
    [
        ("stuck", trainer(), 0.0499),
        ("invisible", trainer(invisible=0.6), 0.01),
        ("collapsed", trainer(share=(0.95, 0.03, 0.02)), 0.01),
        ("dead", trainer(share=(0.5, 0.5, 0.0), dead_sprites=1), 0.01),
    ],
)
def test_each_failure_has_a_name_and_an_advice_once_sprites_had_time(name, found, loss):
    checks = Health(0.05)
    problems = checks.problems(found, loss)
    assert list(problems) == [name] and "try" in problems[name]
    assert len(checks.news(problems)) == 1 and not checks.news(problems)  # said once
    found.step = 1000
    assert not Health(0.05).problems(found, loss)


def test_a_sound_run_has_no_problem():
    assert not Health(0.05).problems(trainer(), 0.002)
    early = LAST_RESTARTS - 10  # they may yet cure it
    unused = trainer(share=(0.5, 0.5, 0.0), dead_sprites=1, step=early)
    assert not Health(0.05).problems(unused, 0.002)
    pair = trainer(share=(0.97, 0.03))  # two kinds may well be that uneven
    assert not Health(0.05).problems(pair, 0.002)


def test_divergence_is_named_at_once_after_the_warm_up():
    checks = Health(1.0)
    assert not checks.problems(trainer(step=100), 0.001)  # still warming up
    assert not checks.problems(trainer(step=300), 0.01)
    assert not checks.problems(trainer(step=320), 0.029)
    assert list(checks.problems(trainer(step=340), 0.031)) == ["diverging"]


@pytest.mark.whole_runs
def test_layers_that_stay_empty_are_named_once_their_gradients_have_died_away(monkeypatch):
    monkeypatch.setattr(gradients, "FAINT", 1e-8)  # it takes half as many steps
    run, checks = deepcopy(learned()), Health(1.0)
    run.step = 100
    assert not checks.problems(run, 0.01)
    for _ in range(130):
        run.step = 100  # in noise a sprite is worth nothing
        run.train_step()
    assert "layer 1, layer 2, layer 3" in checks.problems(run, 0.01)["no gradient"]
    run.step = 99
    assert not checks.problems(run, 0.01)  # too early to miss any


def test_only_parts_of_which_none_learns_are_missed():
    run = deepcopy(learned())
    predictor, state = run.model.predictor, run.optimizer.state

    def starve(parameter, part, decay=run.config.training.weight_decay):
        state[parameter]["exp_avg"][part] = decay * parameter.detach()[part]

    starve(predictor.layer_head.biases[-1], 1)
    assert not without_gradient(run.model, run.optimizer)  # its sprites' transformations learn
    starve(predictor.sprite_head.biases[-1], 1)
    assert without_gradient(run.model, run.optimizer) == {"layer": [2]}
    starve(predictor.occlusion_head.biases[-1], 0)
    starve(run.model.sprites.appearances, 0, decay=0)
    run.step, run.share = 100, torch.tensor([0.5, 0.5])
    (advice,) = Health(1.0).problems(run, 0.01).values()
    assert "none reaches layer 2, the occlusions' head, sprite 1, so" in advice
    run.share = torch.tensor([0.0, 1.0])  # what is not used gets none, and is not named so
    assert "sprite" not in Health(1.0).problems(run, 0.01)["no gradient"].split(", so")[0]


def test_what_does_not_learn_yet_is_not_missed():
    run = deepcopy(learned())
    for parameter in (*run.model.sprites.parameters(), run.model.predictor.sprite_head.biases[-1]):
        run.optimizer.state.pop(parameter)
    assert not without_gradient(run.model, run.optimizer)


def test_the_trainer_counts_layers_that_show_nothing(monkeypatch):
    config = CONFIG.override(
        [
            "model.sprites=3",
            "training.batch_size=4",
            "training.reassign_every=2",
            "training.length=4",
            "model.mask_noise=0",
        ]  # fmt: skip
    )
    images = np.random.default_rng(0).integers(0, 256, (8, 35, 35, 3), dtype=np.uint8)
    run = Trainer(config, images, 0)
    run.train_step(), run.train_step()
    assert run.invisible == 0 and run.share.sum() == pytest.approx(1)
    with torch.no_grad():
        run.model.sprites.masks.fill_(0)
    run.train_step(), run.train_step()
    assert run.invisible == 1
    monkeypatch.setattr(health, "PATIENCE", 0)
    run.step = 1500
    assert "invisible" in Health(1.0).problems(run, 0.01)
