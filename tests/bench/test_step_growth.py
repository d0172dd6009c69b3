"""How a step's time grows: the line through given times, and that steps are timed at all."""

import numpy as np
import pytest

from dtis_core.bench.growth import Growth, growth
from dtis_core.config import load_preset
from dtis_core.errors import DtisError

SMALL = ["training.batch_size=2", "model.sprites=3"]


def test_the_line_through_times_that_grow_evenly():
    grown = Growth(np.array([1.0, 2, 4]), np.array([0.5, 0.7, 1.1]))
    assert grown.line == pytest.approx((0.2, 0.3))
    assert grown.explained == pytest.approx(1)


def test_what_is_not_on_the_line_is_not_explained():
    grown = Growth(np.array([-1.0, 0, 1]), np.array([1.0, 0, 1]))
    assert grown.line == pytest.approx((0, 2 / 3))
    assert grown.explained == pytest.approx(0)


def test_steps_are_timed_for_each_amount():
    config = load_preset("tetrominoes/fast").override(SMALL)
    grown = growth(config, {n: [f"model.layers={n}"] for n in (1, 3)}, steps=1)
    assert grown.amounts.tolist() == [1, 3] and (grown.seconds > 0).all()


def test_one_amount_makes_no_line():
    with pytest.raises(DtisError, match="two amounts or more, found 1"):
        growth(load_preset("tetrominoes/fast"), {1: ["model.layers=1"]})
