"""Refitting: sprites worn off come back, at the set step, and then stay."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_run import assert_same_state

import dtis_core as dtis
from dtis_core import datasets
from dtis_core.config import load_preset
from dtis_core.errors import DtisError
from dtis_core.training import refitting
from dtis_core.training.refitting import refit
from dtis_core.training.session import train
from dtis_core.training.trainer import Trainer

pytestmark = pytest.mark.whole_runs

SHORT = [
    "data.count=40", "training.length=8", "training.batch_size=4", "training.refit_at=5",
    "training.frozen=0", "training.extra_sprites=0", "training.retire_from=0",
    "training.retire_until=0", "training.coarse_until=0", "training.cosine_from=3",
    "training.warm_up=0",
]  # fmt: skip


def short(*settings):
    return load_preset("digits").override([*SHORT, *settings])


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Fewer and shorter rounds, for time."""
    for name, value in {"ROUNDS": 2, "STEPS": 6, "POLISH": 8}.items():
        monkeypatch.setattr(refitting, name, value)
    monkeypatch.setattr("dtis_core.training.trainer.REFIT_IMAGES", 12)


def test_worn_sprites_come_back():
    run = dtis.load("tetrominoes")
    model, masks = run.model, run.model.sprites.masks.detach().clone()
    images = datasets.load("tetrominoes", "validation", 16).images
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    model.sprites.masks.data = F.avg_pool2d(masks, 3, 1, 1, count_include_pad=False)
    worn = model.sprites.masks.detach().clone()
    with torch.no_grad():
        scene = model.eval()(images)
        before = scene.errors(images).mean()
        used = scene.selection.sprites.unique() - 1  # others have nothing to learn from
        used = used[used >= 0]
    refit(model, images, model.search)
    with torch.no_grad():
        after = model(images).errors(images).mean()
    assert after < 0.8 * before
    now = model.sprites.masks.detach()
    assert F.l1_loss(now[used], masks[used]) < F.l1_loss(worn[used], masks[used])


def test_sprites_are_refitted_once_and_then_kept():
    random = np.random.default_rng(0)
    run = Trainer(short(), random.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), 0)
    rates, masks = [], []
    while run.step < run.length:
        rates.append((run.rate("network"), run.rate("mask"), run.rate("appearance")))
        run.train_step()
        masks.append(run.model.sprites.masks.detach().clone())
    assert all(sprite == 0 for _, *rest in rates[5:] for sprite in rest)
    assert all(sprite > 0 for _, *rest in rates[:5] for sprite in rest)
    network = [rate for rate, *_ in rates]
    assert network[5] == pytest.approx(run.config.training.refit_rate)
    assert network[3] > network[4] and network[5] > network[6] > network[7] > 0
    assert not torch.equal(masks[3], masks[4])
    assert torch.equal(masks[4], masks[7])


@pytest.mark.parametrize("stop", [4, 5, 6])
def test_a_refitted_run_resumes_to_the_same_weights(tmp_path, stop):
    whole = train(short(), tmp_path / "whole", quiet=True)
    train(short(), tmp_path / "parts", quiet=True, max_steps=stop)
    parts = train(short(), tmp_path / "parts", quiet=True, resume=True)
    for one, other in zip(whole.model().parameters(), parts.model().parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("shrink_at", [4, 5])
def test_sprites_are_given_up_and_refitted_at_one_step(tmp_path, shrink_at):
    settings = ("training.extra_sprites=2", "training.retire_from=2")
    config = short(*settings, f"training.retire_until={shrink_at}")
    whole = train(config, tmp_path / "whole", quiet=True)
    assert len(whole.model().sprites.masks) == config.model.sprites
    train(config, tmp_path / "parts", quiet=True, max_steps=4)
    parts = train(config, tmp_path / "parts", quiet=True, resume=True)
    assert_same_state(whole.path, parts.path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.refit_at=9", "training.refit_at.*to training.length"),
        ("training.coarse_until=6", "training.refit_at.*from training.coarse_until"),
        ("training.refit_rate=0", "training.refit_rate.*above 0"),
    ],
)
def test_moments_that_do_not_fit_are_named(setting, message):
    with pytest.raises(DtisError, match=message):
        short(setting)
