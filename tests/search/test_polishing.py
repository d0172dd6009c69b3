"""Found parameters improved by gradient steps: never worse, and near the truth from near it."""

from dataclasses import replace

import pytest
import torch

from dtis_core.config import load_preset
from dtis_core.errors import DtisError
from dtis_core.model.selection import Selection
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import Run
from dtis_core.search.polishing import improved, polished, without_idle_layers
from dtis_core.search.seeking import build_model

SIZE = (20, 20)
SMALL = [
    "model.image_size=[20, 20]", "model.sprite_size=[12, 12]", "model.mask_sigma=3",
    "model.layers=3", "search.turns=1", "search.inference_turns=null",
]  # fmt: skip
CONFIG = load_preset("multi-dsprites").override(SMALL)


@pytest.fixture
def model():
    torch.manual_seed(3)
    model = build_model(CONFIG.model, CONFIG.search).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.1 - 0.05)
        model.backgrounds.appearances.fill_(0.2)
    return model


@pytest.fixture
def truth(model):
    """A scene of sprites 1, 2 and 3 side by side, in two images, and the images that it makes."""
    with torch.no_grad():
        start = model(torch.rand(2, 3, *SIZE, dtype=torch.float64))
        layer = torch.zeros_like(start.prediction.layer)
        place = model.sequences[0].slices["wide_placement"]
        layer[:, :, place] = torch.tensor([[0.0, -0.5, -0.4], [0.0, 0.5, -0.3], [0.0, 0.0, 0.5]])
        prediction = replace(
            start.prediction,
            layer=layer,
            sprite=torch.zeros_like(start.prediction.sprite),
            background=torch.zeros_like(start.prediction.background),
        )
        sprites = torch.tensor([[1, 2, 3], [3, 2, 1]])
        scene = model.render(prediction, start.occlusion, replace(start.selection, sprites=sprites))
    return scene, scene.reconstruction


def moved(model, scene, amount):
    """The scene with all parameters a little off."""
    generator = torch.Generator().manual_seed(5)
    off = {}
    for name in ("layer", "sprite", "background"):
        part = getattr(scene.prediction, name)
        noise = torch.rand(part.shape, generator=generator, dtype=part.dtype) - 0.5
        off[name] = part + amount * noise
    with torch.no_grad():
        return model.render(replace(scene.prediction, **off), scene.occlusion, scene.selection)


def test_steps_lead_back_to_the_truth(model, truth):
    scene, images = truth
    start = moved(model, scene, 0.3)
    end = improved(model, images, start, 12)
    assert (end.errors(images) < 0.05 * start.errors(images)).all()
    assert torch.equal(end.selection.sprites, scene.selection.sprites)
    assert not end.reconstruction.requires_grad


def test_no_image_becomes_worse_and_each_is_its_own(model, truth):
    scene, images = truth
    noisy = images + 0.02 * torch.rand_like(images)
    end = improved(model, noisy, scene, 1)  # a first step of 0.02 overshoots
    assert (end.errors(noisy) <= scene.errors(noisy)).all()
    start = moved(model, scene, 0.2)
    both = improved(model, images, start, 10)
    with torch.no_grad():
        first = {name: part[:1] for name, part in vars(start.prediction).items()}
        one = replace(start.prediction, **first)
        selection = Selection(start.selection.sprites[:1], start.selection.background[:1])
        alone = model.render(one, scene.occlusion[:1], selection)
    alone = improved(model, images[:1], alone, 10)
    torch.testing.assert_close(alone.reconstruction, both.reconstruction[:1])


def test_the_model_itself_gets_no_gradient(model, truth):
    scene, images = truth
    improved(model, images, moved(model, scene, 0.1), 3)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_layer_that_hides_behind_another_is_emptied(model, truth):
    scene, images = truth
    twin = replace(
        scene.prediction, layer=scene.prediction.layer[:, [0, 1, 1]],
        sprite=scene.prediction.sprite[:, [0, 1, 1]],
    )  # fmt: skip
    with torch.no_grad():
        sprites = torch.tensor([[1, 2, 2], [3, 2, 2]])
        scene = model.render(twin, scene.occlusion, replace(scene.selection, sprites=sprites))
        model.sprites.masks.fill_(2.0)  # opaque, so that twins are one but for their outlines
        scene = model.render(twin, scene.occlusion, scene.selection)
    model.config = replace(CONFIG.model, penalty=3e-3)
    fewer = without_idle_layers(model, scene.reconstruction, scene)
    assert ((fewer.selection.sprites > 0).sum(dim=1) == 2).all()
    assert (fewer.selection.sprites[:, 0] == sprites[:, 0]).all()
    assert (fewer.errors(scene.reconstruction) < 3e-3).all()


def test_layers_that_are_needed_stay(model, truth):
    scene, images = truth
    kept = without_idle_layers(model, images, scene)
    assert torch.equal(kept.selection.sprites, scene.selection.sprites)


def test_polishing_lowers_the_objective_of_every_image(model, truth):
    scene, images = truth

    def objective(scene):
        return scene.errors(images) + CONFIG.model.penalty * (scene.selection.sprites > 0).sum(
            dim=1
        )

    start = moved(model, scene, 0.3)
    assert (objective(polished(model, images, start, 21)) < objective(start)).all()
    assert polished(model, images, start, 0) is start


def test_a_run_polishes_as_its_configuration_says(tmp_path):
    settings = ["model.sprites=4", "search.inference_steps=1"]
    config = load_preset("tetrominoes").override([*settings, "search.polish_steps=4"])
    torch.manual_seed(0)
    run = Run(RunFolder(tmp_path), config, build_model(config.model, config.search))
    images = torch.rand(3, 3, 35, 35)
    plain, by_default = run.decompose(images, polish=0), run.decompose(images)
    assert torch.equal(by_default.reconstruction, run.decompose(images, polish=4).reconstruction)
    error = [(images - s.reconstruction).square().flatten(1).mean(1) for s in (by_default, plain)]
    assert (error[0] <= error[1]).all() and error[0].sum() < error[1].sum()
    with pytest.raises(DtisError, match="polish: must be 0 or more, found -1"):
        run.decompose(images, polish=-1)
