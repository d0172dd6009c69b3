"""Schedules and encoders that the images are too few or too small for."""

import pytest
from small_run import random_images, trainer

from dtis_core.errors import DtisError

TINY = ["model.image_size=[4, 4]", "model.sprite_size=[4, 4]"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.length=0.4"], "training.length: 0.4 of unit step rounds to no step"),
        (["training.length=0.05", "training.unit=epoch"], "0.05 of unit epoch rounds to no step"),
    ],
)
def test_what_is_no_whole_step_is_refused(settings, message):
    with pytest.raises(DtisError, match=message):
        trainer("training.frozen=0", "training.coarse_until=0", *settings)


def test_a_tenth_of_an_epoch_may_be_a_step():
    assert trainer("training.length=0.1", "training.unit=epoch").length == 1  # of 8


@pytest.mark.parametrize("encoder", ["resnet18", "resnet32"])
@pytest.mark.parametrize(("images", "batch_size"), [(32, 1), (1, 8)])
def test_one_small_image_is_no_batch_to_normalise_over(encoder, images, batch_size):
    settings = [*TINY, f"model.encoder={encoder}", f"training.batch_size={batch_size}"]
    with pytest.raises(DtisError, match="model.encoder: normalises.*1 image of 4 x 4 pixels"):
        trainer(*settings, images=random_images(images, 4))


@pytest.mark.parametrize(
    "settings",
    [
        [*TINY, "model.encoder=small", "training.batch_size=1"],
        [*TINY, "model.encoder=resnet32", "training.batch_size=2"],
        ["model.encoder=resnet32", "training.batch_size=1"],
    ],
)
def test_what_has_more_than_one_value_trains(settings):
    side = 4 if TINY[0] in settings else 35
    assert trainer(*settings, images=random_images(8, side)).train_step() > 0
