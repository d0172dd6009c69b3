"""What changes over a run: rates, the curriculum, restarts of sprites that are little used."""

import math

import numpy as np
import pytest
import torch
from small_run import EVERY_FEATURE, trainer, weights

from dtis_core.training.restarts import reassign, sources

# Schedules


def factors(run, group, steps):
    found = []
    for step in steps:
        run.step = step
        found.append(run.rate_factor(group))
    return found


def test_rates_warm_up_and_fall_along_a_cosine():
    run = trainer("training.length=100", "training.warm_up=10", "training.cosine_from=60")
    found = factors(run, "network", [0, 4, 9, 30, 60, 70, 80, 99])
    cosine = [0.5 * (1 + math.cos(math.pi * x)) for x in (0, 0.25, 0.5, 39 / 40)]
    assert found == pytest.approx([0.1, 0.5, 1, 1, *cosine])
    assert factors(run, "mask", [0, 1, 2]) == pytest.approx([0, 0, 0.3])


def test_rates_fall_in_steps_of_ten_and_sprites_may_be_spared():
    settings = ["training.cosine_from=null", "training.warm_up=0", "training.frozen=0"]
    settings += ["training.unit=epoch", "training.decay_at=[2, 3]"]  # an epoch is 8 steps
    run = trainer(*settings)
    assert factors(run, "network", [15, 16, 23, 24]) == pytest.approx([1, 0.1, 0.1, 0.01])
    assert factors(run, "mask", [15, 16, 24]) == pytest.approx([1, 0.1, 0.01])
    spared = trainer(*settings, "training.decay_sprites=false")
    assert factors(spared, "network", [15, 16, 24]) == pytest.approx([1, 0.1, 0.01])
    assert factors(spared, "appearance", [15, 16, 24]) == [1, 1, 1]


def test_the_optimizer_uses_the_schedule():
    run = trainer("training.appearance_late=1", "training.appearance_late_rate=5e-2")
    for step in range(4):
        run.train_step()
        rates = {group["name"]: group["lr"] for group in run.optimizer.param_groups}
        warm = min(1, (step + 1) / 3)
        assert rates["network"] == rates["encoder"] == pytest.approx(1e-3 * warm)
        assert rates["appearance"] == pytest.approx(0 if step < 2 else 5e-2 * warm)
        assert rates["mask"] == pytest.approx(0 if step < 2 else 1e-2 * warm)
    decays = {group["name"]: group["weight_decay"] for group in run.optimizer.param_groups}
    assert decays == {"network": 1e-6, "encoder": 1e-6, "appearance": 0, "mask": 0}


def test_the_encoder_may_have_a_rate_of_its_own():
    settings = [
        "training.decay_at=[6]",
        "training.cosine_from=null",
        "training.decay_sprites=false",
    ]
    run = trainer(*settings, "training.encoder_rate=7e-3")
    for factor, run.step in ((1 / 3, 0), (1, 5), (0.1, 6)):
        assert run.rate("encoder") == pytest.approx(7e-3 * factor)
        assert run.rate("network") == pytest.approx(1e-3 * factor)
    groups = {group["name"]: set(group["params"]) for group in run.optimizer.param_groups}
    assert groups["encoder"] == set(run.model.predictor.encoder.parameters())
    networks = {p for p in run.model.predictor.parameters() if p.numel()}
    assert groups["network"] == networks - groups["encoder"]


def test_frozen_sprites_wait_while_the_networks_learn():
    run = trainer("training.frozen=3", "model.backgrounds=1")
    before = weights(run.model)
    for _ in range(3):
        run.train_step()
    after = weights(run.model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("predictor.") for name in changed)
    run.train_step()
    after = weights(run.model)
    for name in ("sprites.appearances", "sprites.masks", "backgrounds.appearances"):
        assert not torch.equal(before[name], after[name])


def test_sprites_may_be_frozen_alone_and_then_start_without_moments():
    run = trainer("training.frozen=3", "training.freeze=sprites", "model.backgrounds=1")
    before = weights(run.model)
    for _ in range(3):
        run.train_step()
    after = weights(run.model)
    still = {"sprites.appearances", "sprites.masks"}
    assert all(torch.equal(before[name], after[name]) for name in still)
    assert not torch.equal(before["backgrounds.appearances"], after["backgrounds.appearances"])
    moments = {name.removeprefix("adam.exp_avg.") for name in run.state() if "exp_avg." in name}
    assert "backgrounds.appearances" in moments and not still & moments
    run.train_step()
    assert run.optimizer.state[run.model.sprites.masks]["step"] == 1
    assert not any(torch.equal(before[name], weights(run.model)[name]) for name in still)


@pytest.mark.parametrize(
    "way", ["model.selection=greedy", "model.selection=exhaustive", "search.looks=residual"]
)
def test_until_the_empty_sprite_counts_no_layer_is_empty_and_lambda_is_0(way):
    images = np.full((8, 35, 35, 3), 128, np.uint8)  # nothing to see: a sprite can only harm
    wanted = ["model.layers=2", "model.penalty=0.5", "training.empty_from=0.5", "search.views=1"]
    run = trainer(*EVERY_FEATURE, *wanted, way, images=images)
    run.model.train()
    chosen, counted = [], []
    for _ in range(3):  # of steps, two are an epoch
        run.train_step()
        loss, scene = run.model.loss(run.batch())
        chosen.append(scene.selection.sprites)
        counted.append(loss.item() - scene.errors(run.batch()).mean().item())
    assert chosen[0].all() and counted[0] == pytest.approx(0, abs=1e-7)
    assert not chosen[1].any() and not chosen[2].any()
    run.step, run.model.may_be_empty = 0, False
    assert not run.model.eval()(run.batch()).selection.sprites.any()  # inference has it always


def test_the_curriculum_brings_modules_in():
    run = trainer(*EVERY_FEATURE, "training.curriculum={similarity: 0.5, position: 1}")
    expected = {0: {"colour"}, 3: {"colour"}, 4: {"colour", "similarity"}}
    expected |= {8: {"colour", "similarity", "position"}}
    for step, names in expected.items():
        run.step = step
        assert run.active_transformations() == names
    run.step = 4
    run.train_step()
    assert run.model.active == expected[4]


def test_the_number_of_selection_steps_can_alternate():
    run = trainer("model.selection_steps=3", "search.alternate_steps=true")
    drawn = []
    for run.step in range(5):
        drawn.append(run.selection_steps())
    assert drawn == [1, 2, 3, 1, 2]
    assert trainer("model.selection_steps=3", "search.alternate_steps=false").selection_steps() == 3


# Reassignment


@pytest.mark.parametrize("head", ["pooled", "attention"])
def test_a_restarted_sprite_is_a_copy_in_all_its_parts(head):
    transformations = ["model.layer_transformations=[tint]"]
    transformations += ["model.sprite_transformations=[similarity, placement]"]
    run = trainer(*transformations, f"search.head={head}", "training.frozen=0",
                  "training.reassign_every=1000")  # fmt: skip
    model = run.model
    for weight in (model.predictor.sprite_head.weights[-1], model.sprites.masks):
        torch.nn.init.normal_(weight, std=0.1)
    for _ in range(2):
        run.train_step()
    before = {k: v.clone() for k, v in run.state().items()}
    share = torch.tensor([0.4, 0.01, 0.3, 0.29], dtype=torch.float64)
    assert reassign(model, run.optimizer, share, threshold=0.05) == 1
    after = run.state()
    images = run.batch()
    prediction = model.eval().predictor(torch.cat([images, images], dim=1))
    assert torch.equal(prediction.sprite[:, :, 1], prediction.sprite[:, :, 0])
    assert not torch.equal(prediction.sprite[:, :, 2], prediction.sprite[:, :, 0])
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    of_sprites = {"sprites.appearances", "sprites.masks"}
    of_sprites |= {"predictor.sprite_head.weights.2", "predictor.sprite_head.biases.2"}
    if head == "attention":
        of_sprites |= {"predictor.look.scores.weight", "predictor.look.scores.bias"}
    kinds = ("model", "adam.exp_avg", "adam.exp_avg_sq")
    assert changed == {f"{kind}.{name}" for kind in kinds for name in of_sprites}
    for name in ("sprites.appearances", "sprites.masks"):
        for kind in kinds:
            old, new = before[f"{kind}.{name}"], after[f"{kind}.{name}"]
            assert torch.equal(new[1], old[0])
            assert torch.equal(new[[0, 2, 3]], old[[0, 2, 3]])


def test_restarts_take_turns_among_the_most_used():
    share = torch.tensor([0.0, 0.5, 0.01, 0.4, 0.0, 0.09], dtype=torch.float64)
    assert sources(share, 0.05) == {0: 1, 2: 3, 4: 0}  # by then 0 is a copy of 1
    assert sources(share, 0.0) == {}
    assert share[1] == 0.5


def test_where_no_layer_is_in_use_no_sprite_restarts():
    run = trainer("training.reassign_every=1000", "training.frozen=0")
    masks = torch.rand_like(run.model.sprites.masks)
    run.model.sprites.masks.data.copy_(masks)
    run.usage.zero_()
    run._reassign_and_retire()
    assert run.reassigned == 0 and torch.equal(run.model.sprites.masks, masks)


def test_little_used_sprites_restart_at_the_set_steps():
    run = trainer("training.reassign_every=2", "training.reassign_until=6", "training.frozen=3")
    counts = []
    for _ in range(8):
        run.train_step()
        counts.append(run.reassigned)
        assert (run.usage.sum() == 0) == (run.step % 2 == 0)
    assert counts[2] == 0 and counts[3] > 0  # frozen for three steps
    assert counts[5:] == [counts[5]] * 3  # none from step 6 on
