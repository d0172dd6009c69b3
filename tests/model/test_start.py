"""What a model starts from: the weights of its networks, its sprites and its backgrounds."""

from dataclasses import replace

import pytest
import torch
from small_run import random_images, trainer

from dtis_core.config import ModelConfig
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.model.encoders import resnet32

CONFIG = ModelConfig(
    image_size=(16, 16), layers=3, sprites=4, sprite_size=(8, 8), mask_sigma=2.0,
    layer_transformations=["colour", "position"], sprite_transformations=["similarity"],
    background_transformations=["colour"], backgrounds=2, occlusion="predicted", pool=4,
)  # fmt: skip
HEADS = ("layer_head", "sprite_head", "background_head", "occlusion_head")


def built(encoder="resnet32", seed=0, **settings):
    torch.manual_seed(seed)
    return DTISprites(replace(CONFIG, encoder=encoder, **settings))


@pytest.mark.parametrize("encoder", ["resnet32", "resnet18"])
def test_heads_on_the_papers_encoders_start_as_torchs_linear_layers_and_say_zero(encoder):
    predictor = built(encoder).predictor
    for name in HEADS:
        head = getattr(predictor, name)
        for weight, bias in zip(head.weights[:-1], head.biases[:-1], strict=True):
            linear = torch.nn.Linear(weight.shape[1], 1000)
            for values, like in ((weight, linear.weight), (bias, linear.bias)):
                bound = like.abs().max().item()
                assert values.abs().max().item() == pytest.approx(bound, rel=0.05)
                assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
        assert not head.weights[-1].any() and not head.biases[-1].any()


def test_heads_on_our_encoder_start_larger():
    head = built("small").predictor.layer_head
    for weight, bias in zip(head.weights[:-1], head.biases[:-1], strict=True):
        assert weight.std().item() == pytest.approx((2 / weight.shape[1]) ** 0.5, rel=0.05)
        assert not bias.any()


def test_convolutions_of_resnet32_keep_the_size_of_what_they_read():
    torch.manual_seed(0)
    convolutions = [m for m in resnet32(3, (32, 32)).modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 31
    for convolution in convolutions:
        inputs = convolution.weight[0].numel()
        assert convolution.weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.15)


@pytest.mark.parametrize("encoder", ["resnet32", "resnet18", "small"])
def test_weights_follow_from_the_seed_alone(encoder):
    first, again, other = (built(encoder, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["predictor.layer_head.weights.0"],
                           other["predictor.layer_head.weights.0"])  # fmt: skip


def test_backgrounds_start_from_the_mean_image_or_from_a_colour():
    images = random_images(8)
    settings = ["model.backgrounds=2", "training.coarse_until=0"]
    mean = torch.from_numpy(images).float().mean(dim=0).permute(2, 0, 1) / 255
    found = trainer(*settings, images=images).model.backgrounds.appearances
    torch.testing.assert_close(found, mean.expand(2, -1, -1, -1))
    grey = trainer(*settings, "model.background_colour=0.25", images=images)
    assert (grey.model.backgrounds.appearances == 0.25).all()
    assert (built().backgrounds.appearances == 0.5).all()
