"""The image model by itself: what it renders, chooses and minimises, and what it is built from."""

from dataclasses import replace

import pytest
import torch

from dtis_core.config import ModelConfig, SearchConfig, load_preset, preset_names
from dtis_core.errors import DtisError
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.model.selection import Selection
from dtis_core.search.seeking import SeekingSprites, build_model

CONFIG = ModelConfig(
    image_size=(16, 16), layers=3, sprites=4, sprite_size=(8, 8), mask_sigma=2.0,
    layer_transformations=["colour", "position"], sprite_transformations=["similarity"],
    background_transformations=["colour"], backgrounds=2, empty_sprite=True,
    occlusion="predicted", penalty=1e-3, encoder="small",
)  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = DTISprites(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.rand_like(parameter) - 0.1)
        model.sprites.appearances.uniform_(0, 1)
        model.backgrounds.appearances.uniform_(0, 1)
    return model


@pytest.fixture
def images():
    return torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_chosen_layers_are_the_candidates_that_were_chosen(model, images):
    chosen = torch.tensor([[1, 2, 3], [4, 0, 1], [0, 0, 0], [2, 2, 2], [3, 4, 0]])
    with torch.no_grad():
        found = model.predictor(images)
        alphas, colours = model.chosen_layers(chosen, found.layer, found.sprite)
        for layer in range(3):
            each = model.candidates(found.layer[:, layer], found.sprite[:, layer])
            for image, k in enumerate(chosen[:, layer].tolist()):
                if k == 0:
                    assert not alphas[image, layer].any()
                    continue
                torch.testing.assert_close(alphas[image, layer], each[0][image, k - 1])
                torch.testing.assert_close(colours[image, layer], each[1][image, k - 1])


def test_the_scene_has_the_background_that_was_chosen_below_all_layers(model, images):
    with torch.no_grad():
        prediction, occlusion, selection = model.predict_and_select(images, None, steps=2)
        backgrounds = model.background_colours(prediction.background)
        for n in (0, 1):
            empty = Selection(torch.zeros_like(selection.sprites), torch.full((5,), n))
            scene = model.render(prediction, occlusion, empty)
            torch.testing.assert_close(scene.reconstruction, backgrounds[:, n])
    assert (model.below(occlusion)[:, 1:, 0] == 1).all()


def test_the_loss_is_the_error_and_the_penalty_of_sprites_in_use(model, images):
    loss, scene = model.loss(images, steps=1)
    used = (scene.selection.sprites > 0).sum(dim=1)
    error = (images - scene.reconstruction).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(loss, (error + 1e-3 * used).mean())
    loss.backward()
    assert model.predictor.encoder.stem.weight.grad.abs().sum() > 0


def test_occlusions_are_probabilities_in_training_and_a_decision_at_inference(model, images):
    with torch.no_grad():
        features = model.predictor(images).features
        binary, soft = model.occlusion(features), model.train().occlusion(features)
    assert set(binary.unique().tolist()) == {0.0, 1.0}
    assert ((soft > 0) & (soft < 1)).float().mean() > 0.5
    assert torch.equal(binary, (soft > 0.5).float())
    fixed = DTISprites(replace(CONFIG, occlusion="fixed")).occlusion(features)
    assert torch.equal(fixed, torch.ones(5, 3, 3).tril(-1))


def test_more_iterations_never_make_a_fixed_prediction_worse(model, images):
    with torch.no_grad():
        once, thrice = (model(images, steps=T).objectives(images, 1e-3) for T in (1, 3))
    assert (thrice <= once + 1e-7).all()


def test_without_training_sprites_lie_where_position_starts(images):
    scene = DTISprites(replace(CONFIG, empty_sprite=False)).eval()(images)
    assert not scene.prediction.layer.any() and not scene.prediction.sprite.any()
    frame = scene.alphas[:, 1:] > 0  # position starts at half of the image
    assert frame[..., 4:12, 4:12].all() and not frame[..., :3, :].any()


def test_sprites_must_be_carried_into_the_image():
    with pytest.raises(DtisError, match="model.sprite_size: .*no transformation carries"):
        DTISprites(replace(CONFIG, layer_transformations=["colour"], sprite_transformations=[]))


@pytest.mark.parametrize("name", [name for name in preset_names() if name.endswith("/paper")])
def test_paper_presets_are_built_of_the_paper_alone(name):
    config = load_preset(name)
    assert type(build_model(config.model, config.search)) is DTISprites
    ours = build_model(config.model, replace(config.search, looks="residual"))
    assert type(ours) is SeekingSprites and SearchConfig() == config.search
