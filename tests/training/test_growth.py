"""Models that change while they train: sprites given up, and images that grow."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dtis_core.config import ModelConfig, SearchConfig, load_preset
from dtis_core.errors import DtisError
from dtis_core.scenes.run import load
from dtis_core.search.seeking import build_model
from dtis_core.training.coarse_to_fine import halved, refined
from dtis_core.training.restarts import keep_only
from dtis_core.training.session import train
from dtis_core.training.trainer import Trainer

pytestmark = pytest.mark.whole_runs

DIGITS = [
    "data.count=40", "data.held_out=8", "training.batch_size=8", "training.length=12",
    "training.reassign_every=2", "training.extra_sprites=3", "training.retire_from=2",
    "training.retire_until=9", "model.sprites=3", "training.curriculum={affine: 2, tps: 4}",
    "training.cosine_from=6", "training.reassign_until=2",
]  # fmt: skip


# Extra sprites


def digits(*settings):
    return load_preset("digits").override([*DIGITS, *settings])


def random_images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_a_smaller_model_predicts_what_the_larger_did_for_the_sprites_kept():
    trainer = Trainer(digits("training.length=20"), random_images(40), 0)
    for _ in range(6):
        trainer.train_step()
    model, kept = trainer.model.eval(), [4, 1, 2]
    images = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        before = model.predictor(images)
        canvases = model.sprites.canvases()
        moments = trainer.optimizer.state[model.sprites.masks]["exp_avg"].clone()
        keep_only(model, trainer.optimizer, kept)
        after = model.predictor(images)
    torch.testing.assert_close(after.sprite, before.sprite[:, :, kept])
    assert torch.equal(model.sprites.canvases(), canvases[kept])
    assert torch.equal(trainer.optimizer.state[model.sprites.masks]["exp_avg"], moments[kept])
    assert model.config.sprites == 3


def test_extra_sprites_go_one_by_one_the_least_used_first():
    trainer = Trainer(digits(), random_images(40), 0)
    counts = []
    while trainer.step < trainer.length:
        trainer.train_step()
        counts.append(trainer.sprites)
    assert counts[0] == 6 and counts[-1] == 3 and counts == sorted(counts, reverse=True)
    assert max(a - b for a, b in itertools.pairwise(counts)) == 1
    trainer.sprites, trainer.usage = 3, torch.tensor([2.0, 0.5, 1.0])
    trainer.config = digits("model.sprites=2")  # one too many
    masks = trainer.model.sprites.masks.detach().clone()
    trainer._reassign_and_retire()
    assert torch.equal(trainer.model.sprites.masks, masks[[0, 2]])


def test_all_extra_sprites_are_gone_when_they_should_be_whenever_the_next_restarts_are_due():
    trainer = Trainer(digits("training.reassign_every=1000"), random_images(40), 0)
    while trainer.step < trainer.in_steps(trainer.config.training.retire_until):
        trainer.train_step()
    assert trainer.sprites == trainer.config.model.sprites < trainer.length


def test_a_run_with_extra_sprites_resumes_to_the_same_weights(tmp_path):
    whole = train(digits(), tmp_path / "whole", quiet=True)
    train(digits(), tmp_path / "parts", quiet=True, max_steps=7)
    half = load(tmp_path / "parts")
    assert half.config.model.sprites == len(half.model.sprites.masks) > 3
    parts = train(digits(), tmp_path / "parts", quiet=True, resume=True)
    for one, other in zip(whole.model().parameters(), parts.model().parameters(), strict=True):
        assert torch.equal(one, other)
    assert len(parts.model().sprites.masks) == 3


def test_retiring_must_end_before_training_does():
    with pytest.raises(DtisError, match="training.retire_until"):
        digits("training.retire_until=12")


# From coarse to fine


COARSE = ["training.extra_sprites=0", "training.retire_until=0", "training.coarse_until=5"]


def test_an_enlarged_model_shows_the_same_scene():
    """Smooth sprites, so that half the pixels say nearly as much."""
    config = ModelConfig(
        image_size=(64, 64), layers=3, sprites=4, sprite_size=(24, 24), mask_sigma=6.0,
        layer_transformations=["tint", "placement"], sprite_transformations=["similarity"],
        backgrounds=1, background_transformations=["colour"], encoder="small",
    )  # fmt: skip
    search = SearchConfig(head="attention", looks="residual", turns=4)
    coarse = build_model(halved(config), search, encoder_size=(64, 64)).eval()
    torch.manual_seed(0)
    for parameter in (*coarse.predictor.parameters(),):
        parameter.data.add_(torch.randn_like(parameter) * 0.02)
    fine = refined(coarse, build_model(config, search)).eval()
    images = F.interpolate(torch.rand(4, 3, 8, 8), size=64, mode="bilinear")
    layer, sprite = torch.zeros(4, 6) + 0.1, torch.zeros(4, 4, 4) + 0.1
    for small, large in zip(coarse.candidates(layer, sprite), fine.candidates(layer, sprite),
                            strict=True):  # fmt: skip
        difference = F.avg_pool2d(large.flatten(0, 1), 2) - small.flatten(0, 1)
        assert difference.abs().mean() < 0.01
    with torch.no_grad():
        assert fine(images).reconstruction.shape == (4, 3, 64, 64)


def test_training_grows_at_the_set_step_and_keeps_its_moments():
    run = Trainer(digits(*COARSE), random_images(40), 0)
    assert run.batch().shape[-2:] == (8, 8) and run.model.sprites.masks.shape[-2:] == (8, 8)
    for _ in range(5):
        run.train_step()
    assert run.batch().shape[-2:] == (16, 16) and run.model.sprites.masks.shape[-2:] == (16, 16)
    moments = run.optimizer.state[run.model.sprites.masks]
    assert moments["exp_avg"].shape == run.model.sprites.masks.shape and moments["step"] == 5
    before = run.model.sprites.masks.detach().clone()
    run.train_step()
    assert not torch.equal(before, run.model.sprites.masks)


@pytest.mark.parametrize("stop", [3, 5, 7])
def test_a_coarse_run_resumes_to_the_same_weights(tmp_path, stop):
    whole = train(digits(*COARSE), tmp_path / "whole", quiet=True)
    train(digits(*COARSE), tmp_path / "parts", quiet=True, max_steps=stop)
    assert load(tmp_path / "parts").model.sprites.masks.shape[-2:] == (16, 16)
    parts = train(digits(*COARSE), tmp_path / "parts", quiet=True, resume=True)
    for one, other in zip(whole.model().parameters(), parts.model().parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_run_that_starts_at_a_quarter_of_the_size_grows_twice_and_resumes_alike(tmp_path):
    quarter = [*COARSE, "training.quarter_until=3"]
    run = Trainer(digits(*quarter), random_images(40), 0)
    sides = []
    for _ in range(6):
        sides.append((run.batch().shape[-1], run.model.sprites.masks.shape[-1]))
        run.train_step()
    assert sides == [(4, 4)] * 3 + [(8, 8)] * 2 + [(16, 16)]
    whole = train(digits(*quarter), tmp_path / "whole", quiet=True)
    for stop in (2, 4):
        train(digits(*quarter), tmp_path / "parts", quiet=True, max_steps=stop, resume=stop > 2)
    parts = train(digits(*quarter), tmp_path / "parts", quiet=True, resume=True)
    for one, other in zip(whole.model().parameters(), parts.model().parameters(), strict=True):
        assert torch.equal(one, other)


def test_coarse_training_needs_even_sizes():
    with pytest.raises(DtisError, match="training.coarse_until"):
        digits("training.coarse_until=3", "model.sprite_size=[15, 15]")
    with pytest.raises(DtisError, match="training.quarter_until.*multiple of 4"):
        digits(*COARSE, "training.quarter_until=3", "model.sprite_size=[14, 14]")
    with pytest.raises(DtisError, match="training.quarter_until.*at most training.coarse_until"):
        digits(*COARSE, "training.quarter_until=7")
