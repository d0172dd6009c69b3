"""What makes masks binary (C.3): noise, and the two alternatives that the paper names."""

import math

import pytest
import torch
from small_run import EVERY_FEATURE, assert_same_state, random_images, same, small, weights

from dtis_core.errors import DtisError
from dtis_core.model.sprites import beta_penalty, concrete_mask, logistic_noise
from dtis_core.scenes.run import load
from dtis_core.search.seeking import build_model
from dtis_core.training.session import train
from dtis_core.training.trainer import Trainer

BETA = ["model.mask_binarity=beta", "model.mask_beta=3"]
CONCRETE = ["model.mask_binarity=concrete", "model.mask_temperature=[2, 0.5]"]
WITHOUT = ["model.mask_noise=0"]
WAYS = pytest.mark.parametrize("way", [BETA, CONCRETE], ids=["beta", "concrete"])


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def model(*settings):
    """A model whose sprites differ, whose heads predict something, and which trains."""
    torch.manual_seed(0)
    built = build_model(small(*settings).model, small(*settings).search).double().train()
    with torch.no_grad():
        built.sprites.appearances.uniform_(0, 1)
        built.sprites.masks.uniform_(-0.3, 1.3)
        for head in ("layer_head", "sprite_head"):
            getattr(built.predictor, head).weights[-1].normal_(std=0.02)
    return built


def images(count=3):
    return torch.from_numpy(random_images(count)).permute(0, 3, 1, 2).double() / 255


def noise_of(built, seed=0):
    noise = built.draw_noise(torch.Generator().manual_seed(seed))
    return noise if noise is None else noise.double()


# The Beta penalty


def test_the_beta_penalty_is_its_formula_and_pulls_to_0_and_1():
    values = [-0.5, 0.0, 0.2, 0.5, 0.9, 1.0, 1.4]
    masks = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    penalty = beta_penalty(masks)
    penalty.backward()
    n = len(values)
    assert penalty.item() == pytest.approx(sum(x**2 * (1 - x) ** 2 for x in values) / n)
    slopes = [2 * x * (1 - x) * (1 - 2 * x) / n for x in values]
    assert masks.grad.tolist() == pytest.approx(slopes)
    assert [math.copysign(1, slope) for slope in slopes if slope] == [-1, 1, -1, 1]


def test_the_objective_has_the_beta_penalty_beside_eq_5():
    found = {}
    for way in (BETA, WITHOUT):
        built = model(*way)
        loss, _ = built.loss(images(), noise_of(built))
        loss.backward()
        found[way[0]] = built, loss.item()
    (with_beta, high), (without, low) = found.values()
    assert high - low == pytest.approx(3 * beta_penalty(without.sprites.masks).item())
    x = without.sprites.masks.detach()
    extra = 3 * 2 * x * (1 - x) * (1 - 2 * x) / x.numel()
    torch.testing.assert_close(
        with_beta.sprites.masks.grad, without.sprites.masks.grad + extra, rtol=0, atol=1e-12
    )
    appearances = [built.sprites.appearances.grad for built in (with_beta, without)]
    assert appearances[0].abs().max() > 0
    torch.testing.assert_close(*appearances, rtol=0, atol=1e-12)


def test_the_beta_penalty_alone_makes_masks_binary():
    masks = torch.linspace(0.05, 0.95, 10, dtype=torch.float64).requires_grad_()
    for _ in range(2000):
        masks.data -= torch.autograd.grad(beta_penalty(masks), masks)[0]
    expected = (torch.linspace(0.05, 0.95, 10) > 0.5).double()
    torch.testing.assert_close(masks.detach(), expected, rtol=0, atol=1e-3)


# The Concrete relaxation


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_a_concrete_mask_is_its_formula(temperature):
    masks, noise = torch.linspace(-0.5, 1.5, 9).double(), torch.linspace(-3, 3, 9).double()
    for shift, drawn in ((torch.zeros(9), None), (noise, noise)):
        expected = [
            1 / (1 + math.exp(-(8 * (x - 0.5) + e) / temperature))
            for x, e in zip(masks.tolist(), shift.tolist(), strict=True)
        ]
        assert concrete_mask(masks, temperature, drawn).tolist() == pytest.approx(expected)


def test_at_a_low_temperature_a_concrete_mask_is_a_coin_of_the_right_chance():
    values = torch.tensor([0.2, 0.4, 0.5, 0.7])
    noise = logistic_noise(4, (100, 200), torch.Generator().manual_seed(0))
    tossed = concrete_mask(values[:, None, None], 1e-3, noise)
    assert ((tossed < 0.01) | (tossed > 0.99)).float().mean() > 0.99
    chance = torch.sigmoid(8 * (values - 0.5))
    error = (tossed.mean(dim=(1, 2)) - chance).abs()
    assert (error < 4 * (chance * (1 - chance) / 20_000).sqrt()).all()


def test_without_noise_a_concrete_mask_at_a_low_temperature_is_a_step():
    masks = torch.tensor([-0.2, 0.3, 0.49, 0.51, 0.8, 1.2])
    torch.testing.assert_close(concrete_mask(masks, 1e-3), (masks > 0.5).float())


def test_logistic_noise_is_logistic():
    noise = logistic_noise(3, (200, 200), torch.Generator().manual_seed(0))
    for quantile in (0.1, 0.5, 0.9):
        below = (noise < math.log(quantile / (1 - quantile))).float().mean().item()
        assert below == pytest.approx(quantile, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 3, rel=0.03)
    assert noise.isfinite().all()


def test_the_temperature_falls_by_equal_factors_to_the_last():
    run = Trainer(small(*CONCRETE), random_images(32), 0)
    found = []
    for step in (0, 6, 12):
        run.step = step
        found.append(run.mask_temperature())
    assert found == pytest.approx([2.0, 1.0, 0.5])
    run.step = 6
    run.train_step()
    assert run.model.temperature == pytest.approx(1.0)


def test_candidates_and_chosen_layers_have_the_same_masks():
    built = model(*CONCRETE)
    prediction, noise = built.predictor(images().repeat(1, 2, 1, 1)), noise_of(built)
    alphas, _ = built.candidates(prediction.layer[:, 0], prediction.sprite[:, 0], noise)
    assert alphas.amax() > 0.9 and alphas.amin() < 0.1
    for k in range(4):
        chosen = torch.full((3, 1), k + 1)
        layers, _ = built.chosen_layers(chosen, prediction.layer, prediction.sprite, noise)
        torch.testing.assert_close(layers[:, 0], alphas[:, k])


def test_a_concrete_sprite_ends_at_its_frame_and_the_empty_one_is_empty():
    built = model(*CONCRETE)
    prediction, noise = built.predictor(images().repeat(1, 2, 1, 1)), noise_of(built)
    chosen = torch.tensor([[0], [1], [2]])
    layers, _ = built.chosen_layers(chosen, prediction.layer, prediction.sprite, noise)
    assert (layers[0] == 0).all() and layers[1].amax() > 0.9
    covered = (layers[1:] > 0).double().mean(dim=(1, 2, 3, 4))
    assert (covered <= (25 / 35) ** 2).all() and (covered > 0.1).all()  # sprites are 24 wide


# All of them


@WAYS
def test_nothing_is_random_at_inference(way, monkeypatch):
    built = model(*way).eval()
    first = built(images()).reconstruction
    built.temperature = 7.0  # of some training step
    torch.manual_seed(5)
    assert torch.equal(built(images()).reconstruction, first)
    shown = built.sprite_images()
    assert shown.min() >= 0 and shown.max() <= 1
    masks = built.sprites.masks.detach()
    at_last = torch.sigmoid(8 * (masks - 0.5) / 0.5) if way is CONCRETE else masks.clamp(0, 1)
    torch.testing.assert_close(shown[:, -1:], at_last)


def test_which_noise_is_drawn():
    noises = [noise_of(model(*way)) for way in (BETA, WITHOUT, [], CONCRETE)]
    assert noises[0] is None and noises[1] is None
    assert noises[2].abs().max() <= 0.4 < 2 < noises[3].abs().max()
    assert torch.equal(noises[3], noise_of(model(*CONCRETE)))
    assert not torch.equal(noises[3], noise_of(model(*CONCRETE), seed=1))


@pytest.mark.whole_runs
@WAYS
@pytest.mark.parametrize("settings", [[], EVERY_FEATURE], ids=["fast", "every feature"])
def test_a_run_repeats_and_resumes_bit_for_bit(tmp_path, way, settings):
    config = small(*settings, *way)
    train(config, tmp_path / "whole", seed=3, quiet=True)
    train(config, tmp_path / "parts", seed=3, quiet=True, max_steps=5)
    train(config, tmp_path / "parts", seed=3, quiet=True, resume=True)
    assert_same_state(tmp_path / "whole", tmp_path / "parts")
    loaded = load(tmp_path / "whole")
    assert loaded.config.to_dict()["model"] == config.to_dict()["model"]


@WAYS
def test_it_changes_what_is_learned(way):
    learned = []
    for settings in (WITHOUT, way):
        run = Trainer(small("training.frozen=0", *settings), random_images(32), 0)
        for _ in range(3):
            run.train_step()
        learned.append(weights(run.model))
    assert not same(*learned)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.mask_binarity=betta"], "'betta' is not known, did you mean 'beta'"),
        (["model.mask_beta=0"], r"model\.mask_beta must be above 0, found 0"),
        (
            ["model.mask_temperature=[1, 0]"],
            r"mask_temperature must be above 0, found 0.0",
        ),
        (["model.mask_temperature=1"], "mask_temperature: expected tuple"),
        (
            ["model.mask_binarity=concrete", "model.opaque_sprites=true"],
            "model.mask_binarity must be noise where sprites are opaque, found concrete",
        ),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    with pytest.raises(DtisError, match=message):
        small(*settings)


def test_sprites_without_masks_have_no_noise_on_them():
    config = small("model.opaque_sprites=true", "model.mask_noise=0.4")
    assert build_model(config.model, config.search).draw_noise(torch.Generator()) is None


# How far masks reach


def test_a_mask_passes_as_far_as_its_excess_and_bends_there():
    values = torch.tensor([-9.0, -0.5, 0.3, 1.2, 9.0])
    placed = []
    for settings in (["model.mask_excess=0.4"], ["model.mask_excess=null"]):
        built = build_model(small(*settings).model, small(*settings).search)
        built.sprites.masks.data[0, 0, 0, :5] = values
        placed.append(built.sprites.canvases()[0, -1, 0, :5])
    bent = [-0.4 - 8.6 * 0.01, -0.4 - 0.1 * 0.01, 0.3, 1.2, 1.4 + 7.6 * 0.01]
    assert placed[0].tolist() == pytest.approx(bent)
    assert torch.equal(placed[1], values)
