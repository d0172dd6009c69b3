"""Slot Attention: what its shapes and symmetries must be, and that it learns."""

import pytest
import torch
import torch.nn.functional as F
from small_run import random_images

from dtis_core.baselines.slot_attention import KERNEL, SlotAutoencoder
from dtis_core.baselines.slot_trainer import centred, explain
from dtis_core.pictures import to_pixels

SIZE = (9, 11)
SLOTS = 3


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SlotAutoencoder(SLOTS, 8, SIZE)


@pytest.fixture
def images():
    return torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def noise_of(model, count=2, seed=2):
    return model.noise(count, torch.Generator().manual_seed(seed))


def test_an_image_is_rebuilt_by_slots_whose_masks_sum_to_one(model, images):
    rebuilt, masks = model(images, noise_of(model))
    assert rebuilt.shape == images.shape and masks.shape == (2, SLOTS, *SIZE)
    assert (masks > 0).all()
    assert torch.allclose(masks.sum(dim=1), torch.ones(2, *SIZE))


def test_slots_that_start_in_another_order_end_in_that_order(model, images):
    order, noise = [2, 0, 1], noise_of(model)
    rebuilt, masks = model(images, noise)
    again, moved = model(images, noise[:, order])
    assert torch.allclose(moved, masks[:, order], atol=1e-5)
    assert torch.allclose(again, rebuilt, atol=1e-5)
    assert not torch.allclose(masks, masks[:, order], atol=1e-5)  # or else this would say nothing


def test_slots_do_not_see_the_order_of_places(model, images):
    features, start = model.encoder(images), noise_of(model)
    slots = model.attention(features, start)
    assert torch.allclose(model.attention(features.flip(1), start), slots, atol=1e-5)
    assert not torch.allclose(slots, start, atol=1e-2)


@pytest.mark.parametrize("size", [(5, 5), SIZE, (8, 5)])
def test_the_first_layer_is_the_convolution_of_a_slot_repeated_everywhere(size):
    torch.manual_seed(0)
    decoder, slots = SlotAutoencoder(SLOTS, 8, size).decoder, torch.randn(2, 64)
    everywhere = slots[:, :, None, None].expand(-1, -1, *size) + decoder.position()
    literal = F.conv2d(everywhere, decoder.first.weight, decoder.first.bias, padding=KERNEL // 2)
    assert torch.allclose(decoder._first(slots), literal, atol=1e-5)


def test_a_few_steps_lower_the_loss(model, images):
    optimizer, noise = torch.optim.Adam(model.parameters(), 1e-3), noise_of(model)
    losses = []
    for _ in range(5):
        loss = model.loss(images, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.9 * losses[0]
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_each_pixel_goes_to_the_slot_that_claims_most_of_it():
    pixels = random_images(3, size=9)
    torch.manual_seed(0)
    model = SlotAutoencoder(SLOTS, 8, (9, 9))
    picture, masks = model(centred(pixels), noise_of(model, 3, seed=0))
    rebuilt, slots = explain(model, pixels)
    assert (slots == masks.argmax(dim=1).numpy()).all()
    assert (rebuilt == to_pixels((picture + 1) / 2)).all()
