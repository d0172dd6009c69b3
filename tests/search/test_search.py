"""What selection seeks beside the sprite, depth and turn; and sprites given up on the way."""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dtis_core.config import ModelConfig, load_preset
from dtis_core.errors import DtisError
from dtis_core.model.composition import (
    compose,
    moved_to,
    ordered_occlusion,
    put_background_below,
    rest_of_scene,
    rest_of_scene_at_ends,
)
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.model.selection import _Choice, greedy_selection
from dtis_core.training.coarse_to_fine import halved, refined
from dtis_core.training.restarts import keep_only
from dtis_core.training.session import train
from dtis_core.training.trainer import Trainer

SIZE = (12, 12)
CONFIG = ModelConfig(
    image_size=SIZE,
    layers=3,
    sprites=4,
    sprite_size=(8, 8),
    mask_sigma=2.0,
    layer_transformations=["tint", "placement"],
    sprite_transformations=["similarity"],
    backgrounds=1,
    background_transformations=["colour"],
    occlusion="sought",
    turns=4,
    encoder="small",
    head="attention",
    looks="residual",
)
DIGITS = [
    "data.count=40", "data.held_out=8", "training.batch_size=8", "training.length=12",
    "training.reassign_every=2", "training.extra_sprites=3", "training.retire_from=2",
    "training.retire_until=9", "model.sprites=3", "training.curriculum={affine: 2, tps: 4}",
    "training.cosine_from=6", "training.reassign_until=2",
]  # fmt: skip


def randomised(config, seed=0):
    torch.manual_seed(seed)
    model = DTISprites(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.1 - 0.05)
    return model


def scene(seed, batch=5, layers=3, background=True):
    """Random layers over a background, and the matrix of a random order for each image."""
    generator = torch.Generator().manual_seed(seed)
    M = layers + background
    alphas = torch.rand(batch, M, 1, *SIZE, generator=generator, dtype=torch.float64).round()
    colours = torch.rand(batch, M, 3, *SIZE, generator=generator, dtype=torch.float64)
    if background:
        alphas[:, 0] = 1
    rank = torch.rand(batch, layers, generator=generator).argsort(dim=1)
    order = (rank[:, :, None] > rank[:, None, :]).double()
    return alphas, colours, put_background_below(order) if background else order, rank


@pytest.mark.parametrize("background", [True, False])
def test_a_layer_moves_to_any_depth_and_the_others_keep_theirs(background):
    alphas, _, order, rank = scene(0, background=background)
    for layer, depth in itertools.product(range(3), range(3)):
        moved = moved_to(order, int(background) + layer, depth, int(background))
        others = [i for i in range(3) if i != layer]
        for image, found in enumerate(moved):
            column = sorted(others, key=lambda i, r=rank[image]: r[i])
            column.insert(depth, layer)  # object layers from the farthest to the closest
            place = torch.tensor([column.index(i) for i in range(3)])
            expected = (place[:, None] > place[None]).double()
            expected = put_background_below(expected[None])[0] if background else expected
            assert torch.equal(found, expected)
    first = int(background)
    each = moved_to(order, first, torch.arange(5) % 3, first)
    for image, found in enumerate(each):
        one = moved_to(order[image][None], first, image % 3, first)
        assert torch.equal(found, one[0])


@pytest.mark.parametrize("background", [True, False])
def test_both_ends_are_the_rest_of_the_moved_scene(background):
    alphas, colours, order, _ = scene(1, background=background)
    for layer in range(3):
        index = background + layer
        found = rest_of_scene_at_ends(alphas, colours, order, index, int(background))
        for parts, depth in zip(found, (0, 3), strict=True):
            moved = moved_to(order, index, depth, int(background))
            for part, expected in zip(parts, rest_of_scene(alphas, colours, moved, index),
                                      strict=True):  # fmt: skip
                torch.testing.assert_close(part, expected)


def test_the_best_depth_is_the_true_one():
    alphas, colours, order, _ = scene(2, batch=20)
    images = compose(alphas, colours, order)
    for layer in (0, 1, 2):
        choice = _Choice(images, moved_to(order, 1 + layer, 1, 1), colours[:, :1], 3)
        choice.alphas, choice.colours = alphas, colours
        choice.move(layer, choice.best_depth(layer))
        torch.testing.assert_close(compose(alphas, colours, choice.occlusion), images)
    wrong = compose(alphas, colours, moved_to(order, 1, 0, 1))
    assert (wrong - images).abs().amax(dim=(1, 2, 3)).gt(0).sum() > 5  # depth did matter


def test_selection_finds_the_depths_of_overlapping_objects():
    """Candidates are the true objects, each layer its own: only depth is left to find."""
    alphas, colours, order, _ = scene(3, batch=30)
    images = compose(alphas, colours, order)

    def candidates(layer, rest):
        return alphas[:, layer + 1 : layer + 2], colours[:, layer + 1 : layer + 2]

    start = put_background_below(ordered_occlusion(30, 3, images))
    rules = {"penalty": 0.0, "empty": False}
    backgrounds = colours[:, :1]
    fixed = greedy_selection(images, start, backgrounds, candidates, 3, steps=3, **rules)
    found = greedy_selection(
        images, start, backgrounds, candidates, 3, steps=3, seek_depth=True, **rules
    )
    assert torch.equal(fixed.occlusion, start)
    error = [
        (compose(alphas, colours, s.occlusion) - images).square().flatten(1).mean(dim=1)
        for s in (fixed, found)
    ]
    assert (error[1] < 1e-12).float().mean() > 0.9 > 0.5 > (error[0] < 1e-12).float().mean()


def test_turns_are_rotations_of_each_candidate():
    model = randomised(CONFIG)
    layer = torch.rand(2, 6, dtype=torch.float64) * 0.2
    sprite = torch.rand(2, 4, 4, dtype=torch.float64) * 0.2
    turned = model.candidates(layer, sprite)
    single = DTISprites(replace(CONFIG, turns=1)).double().eval()
    single.load_state_dict(model.state_dict())
    for turn in range(4):
        more = sprite.clone()
        more[..., 0] += turn * np.pi / 2  # the similarity's angle
        for found, expected in zip(turned, single.candidates(layer, more), strict=True):
            torch.testing.assert_close(found[:, turn::4], expected)


def test_the_scene_is_rendered_in_the_turn_and_depth_that_were_chosen():
    model = randomised(CONFIG, seed=4)
    images = torch.rand(6, 3, *SIZE, dtype=torch.float64)
    with torch.no_grad():
        result = model(images, steps=2)
    assert result.selection.turn.unique().numel() > 1
    errors = result.errors(images)
    with torch.no_grad():
        once = model(images, steps=1).errors(images)
    assert (errors <= once + 1e-12).all()  # second looks only where they help
    assert torch.equal(result.occlusion, result.selection.occlusion[:, 1:, 1:])


def test_exhaustive_search_tries_all_turns_of_all_layers():
    rules = {"layers": 2, "sprites": 2, "looks": "image", "occlusion": "fixed"}
    config = replace(CONFIG, **rules, selection="exhaustive")
    model = randomised(config, seed=1)
    images = torch.rand(5, 3, *SIZE, dtype=torch.float64)
    with torch.no_grad():
        found, prediction = model(images), model.predictor(images)
        backdrop = model.background_colours(prediction.background)
        alphas, colours = torch.ones_like(backdrop[:, :, :1]), backdrop
        pairs, losses = partial(itertools.product, repeat=2), []
        for k, turn in itertools.product(pairs((1, 2)), pairs(range(4))):
            chosen, turn = (torch.tensor(values).expand(5, 2) for values in (k, turn))
            sprite = model.turned(prediction.sprite, turn.unsqueeze(2))
            layers = model.chosen_layers(chosen, prediction.layer, sprite)
            composite = compose(
                torch.cat([alphas, layers[0]], dim=1),
                torch.cat([colours, layers[1]], dim=1),
                put_background_below(ordered_occlusion(5, 2, images)),
            )
            losses.append((images - composite).square().flatten(1).mean(dim=1))
    torch.testing.assert_close(found.errors(images), torch.stack(losses).amin(dim=0))
    assert found.selection.turn.unique().numel() > 1


def test_turns_wait_for_the_curriculum():
    model = randomised(CONFIG)
    model.active = frozenset({"tint", "placement"})
    assert model.turns == 1
    model.active = None
    assert model.turns == 4


def test_more_turns_at_inference_fit_at_least_as_well():
    few, images = randomised(CONFIG), torch.rand(6, 3, *SIZE, dtype=torch.float64)
    more = randomised(replace(CONFIG, inference_turns=16))
    assert (more.turns, more.train().turns) == (16, 4)
    with torch.no_grad():
        errors = [model.eval()(images, steps=1).errors(images) for model in (few, more)]
    assert errors[1].mean() < errors[0].mean()


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("model.selection=exhaustive", "model.selection must be greedy"),
        ("model.sprite_transformations=[]", "model.turns must be 1 without similarity"),
        ("model.inference_turns=0", "model.inference_turns must be at least 1"),
    ],
)
def test_searches_that_cannot_be(setting, problem):
    with pytest.raises(DtisError, match=problem):
        load_preset("multi-dsprites").override(
            [setting, "model.looks=image", "training.curriculum={}"]
        )


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
    half = load_of(tmp_path / "parts")
    assert half.config.model.sprites == len(half.model.sprites.masks) > 3
    parts = train(digits(), tmp_path / "parts", quiet=True, resume=True)
    for one, other in zip(whole.model().parameters(), parts.model().parameters(), strict=True):
        assert torch.equal(one, other)
    assert len(parts.model().sprites.masks) == 3


def load_of(path):
    from dtis_core.scenes.run import load

    return load(path)


def test_retiring_must_end_before_training_does():
    with pytest.raises(DtisError, match="training.retire_until"):
        digits("training.retire_until=12")


# From coarse to fine


COARSE = ["training.extra_sprites=0", "training.retire_until=0", "training.coarse_until=5"]


def test_an_enlarged_model_shows_the_same_scene():
    """Smooth sprites, so that half the pixels say nearly as much."""
    config = replace(CONFIG, image_size=(64, 64), sprite_size=(24, 24), mask_sigma=6.0)
    coarse = DTISprites(halved(config), encoder_size=(64, 64)).eval()
    torch.manual_seed(0)
    for parameter in (*coarse.predictor.parameters(),):
        parameter.data.add_(torch.randn_like(parameter) * 0.02)
    fine = refined(coarse, DTISprites(config)).eval()
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
    assert load_of(tmp_path / "parts").model.sprites.masks.shape[-2:] == (16, 16)
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
