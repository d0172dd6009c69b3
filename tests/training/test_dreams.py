"""Dreams: scenes of the model's own sprites, whose truth is what they were composed of."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dtis_core.config import load_preset
from dtis_core.search.seeking import build_model
from dtis_core.training.dreams import SCENES, Dreams
from dtis_core.training.trainer import Trainer

SETTINGS = [
    "data.count=16", "model.image_size=[24, 24]", "model.sprite_size=[12, 12]",
    "model.mask_sigma=3", "model.layers=2", "model.sprite_transformations=[rotation]",
    "search.fovea=true", "search.harmonics=[1, 2, 4]", "training.batch_size=4",
    "training.length=12", "training.frozen=1", "training.curriculum={rotation: 1}",
    "training.coarse_until=3", "training.dreams_from=2", "training.fovea_from=4",
    "training.cosine_from=6", "training.reassign_every=3", "training.reassign_below=200",
    "training.reassign_until=null", "training.warm_up=0",
    "model.empty_sprite=false",
]  # fmt: skip


BARS = [(slice(2, 10), slice(5, 7)), (slice(3, 9), slice(3, 9)), (slice(2, 10), slice(2, 6))]


def a_trainer(*settings, steps=0):
    config = load_preset("multi-dsprites").override([*SETTINGS, *settings])
    images = np.random.default_rng(0).integers(0, 256, (16, 24, 24, 3), dtype=np.uint8)
    trainer = Trainer(config, images, 0)
    for _ in range(steps):
        trainer.train_step()
    return trainer


def dreams_of(trainer, seed=1):
    """What the trainer's model finds, and dreams of three sprites that can be told apart."""
    masks = trainer.model.sprites.masks
    with torch.no_grad():
        masks.fill_(0)
        for mask, (rows, columns) in zip(masks[:, 0], BARS, strict=True):
            mask[rows, columns] = 1
    scene = trainer.model.loss(trainer.batch())[1]
    dreams = Dreams(trainer.model, torch.Generator().manual_seed(seed))
    return scene, dreams


def layers_of(model, dream):
    """Render the layers that are asked for."""
    sprite = dream.sprite[:, None, None].expand(-1, 1, 3, -1)
    return model.chosen_layers(dream.k[:, None] + 1, dream.layer[:, None], sprite)


def test_the_truth_of_a_dream_is_what_was_composed():
    trainer = a_trainer("model.layers=1", steps=6)
    scene, dreams = dreams_of(trainer)
    dream = dreams.of(scene)
    assert len(dream.k) == SCENES * 4  # no layer is empty
    behind = scene.colours[:, 0].repeat(SCENES, 1, 1, 1)
    torch.testing.assert_close(dream.rest, behind)  # of one layer, none is known
    alphas, colours = layers_of(trainer.model, dream)
    alpha = alphas[:, 0].clamp(0, 1)
    torch.testing.assert_close(dream.images, behind + alpha * (colours[:, 0] - behind))


def test_one_seed_makes_one_dream():
    trainer = a_trainer(steps=6)
    (scene, dreams), (_, again), (_, other) = (dreams_of(trainer, seed) for seed in (1, 1, 2))
    first, same, different = dreams.of(scene), again.of(scene), other.of(scene)
    assert torch.equal(first.images, same.images) and torch.equal(first.layer, same.layer)
    assert not torch.equal(first.images, different.images)


def test_what_is_known_leaves_out_what_is_asked_for():
    trainer = a_trainer(steps=6)
    scene, dreams = dreams_of(trainer)
    dream = dreams.of(scene)
    alphas, _ = layers_of(trainer.model, dream)
    there = (alphas[:, 0] > 0.9).expand_as(dream.images)
    away = (alphas[:, 0] < 0.01).expand_as(dream.images)
    difference = (dream.images - dream.rest).abs()
    assert difference[there].mean() > 3 * difference[away].mean()


@pytest.mark.whole_runs
def test_a_fovea_learns_to_read_dreams():
    trainer = a_trainer(steps=6)
    model = trainer.model
    scene, dreams = dreams_of(trainer)
    adam = torch.optim.Adam(model.predictor.fovea.parameters(), lr=2e-3)
    losses = []
    for _ in range(120):
        adam.zero_grad()
        loss = dreams.lesson(scene)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])


def test_attention_is_led_to_what_is_missing():
    trainer = a_trainer(steps=6)
    scene, dreams = dreams_of(trainer)
    dream = dreams.of(scene)
    assert dream.missing.any(dim=1).float().mean() > 0.5
    before = dreams.misses(dream)
    scores = trainer.model.predictor.look.scores
    adam = torch.optim.Adam([*trainer.model.predictor.encoder.parameters(), *scores.parameters()])
    for _ in range(15):
        adam.zero_grad()
        dreams.misses(dream).mean().backward()
        adam.step()
    assert dreams.misses(dream).mean() < before.mean() - 0.1
    nothing = replace(dream, missing=torch.zeros_like(dream.missing))
    assert not len(dreams.misses(nothing))


@pytest.mark.parametrize("setting", ["search.harmonics=[]", "model.sprite_transformations=[]"])
def test_there_is_a_lesson_without_angles(setting):
    turning = ["search.harmonics=[]", "search.turns=1", "search.inference_turns=null"]
    more = [*turning, "search.views=1", "training.curriculum={}", setting]
    trainer = a_trainer(*more, steps=6)
    scene, dreams = dreams_of(trainer)
    assert torch.isfinite(dreams.lesson(scene))


def test_a_lesson_in_which_nothing_is_missing_is_finite(monkeypatch):
    trainer = a_trainer(steps=6)
    scene, dreams = dreams_of(trainer)
    monkeypatch.setattr("dtis_core.training.dreams.VISIBLE", 2.0)  # more than can be seen
    assert not dreams.of(scene).missing.any()
    assert torch.isfinite(dreams.lesson(scene))


def test_a_fovea_waits_for_its_steps():
    trainer = a_trainer()
    seen = []
    while trainer.step < 6:
        step = trainer.step
        layers = [glance.layer.weight for glance in trainer.model.predictor.fovea.glances]
        before = [weight.detach().clone() for weight in layers]
        trainer.train_step()
        layers = [glance.layer.weight for glance in trainer.model.predictor.fovea.glances]
        moved = [not torch.equal(*pair) for pair in zip(layers, before, strict=True)]
        assert moved[0] == moved[1]
        moved = moved[0]
        seen.append((step, moved, trainer.model.predictor.fovea.in_use))
    assert [moved for _, moved, _ in seen] == [False, False, True, True, True, True]
    assert [used for step, _, used in seen if step != 2] == [False, False, False, True, True]


@pytest.mark.parametrize("steps", [2, 5])
def test_a_model_of_a_run_that_does_not_use_its_fovea_yet_does_neither(steps):
    trainer = a_trainer(steps=steps)  # from the fourth on, at half the size before the third
    model = trainer.model_for_use()
    assert model.predictor.fovea.in_use == (steps == 5)
    loaded = build_model(trainer.config.model, trainer.config.search)
    loaded.load_state_dict(model.state_dict())
    assert loaded.predictor.fovea.in_use == (steps == 5)


@pytest.mark.whole_runs
@pytest.mark.parametrize("at", [2, 5])
def test_a_resumed_run_dreams_alike(at, tmp_path):
    whole, first = a_trainer(steps=8), a_trainer(steps=at)
    state = {name: value.clone() for name, value in first.state().items()}
    second = a_trainer()
    second.load_state(state, at, tmp_path)
    while second.step < 8:
        second.train_step()
    one, other = whole.state(), second.state()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_fovea_loses_the_sprites_that_are_given_up():
    trainer = a_trainer(steps=6)
    predictor, kept = trainer.model.predictor, [2, 0]
    images = torch.rand(3, 6, 24, 24)
    with torch.no_grad():
        before = predictor(images)
        trainer._keep_only(kept)
        after = predictor(images)
    torch.testing.assert_close(after.sprite, before.sprite[:, :, kept])
    torch.testing.assert_close(after.angles, before.angles[:, :, kept])
