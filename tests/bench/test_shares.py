"""What the parts of a step take: each its own time, and all of it."""

import time

import pytest
import torch
from small_run import trainer

from dtis_core.bench.shares import PARTS, REST, Clock, shares
from dtis_core.training.trainer import Trainer


def test_nested_parts_count_once():
    clock = Clock(torch.device("cpu"))
    inner = clock.timed("inner", lambda: time.sleep(0.02))

    def outer():
        time.sleep(0.01)
        inner()
        raise KeyError

    with pytest.raises(KeyError):
        clock.timed("outer", outer)()
    clock.turn()
    assert clock.seconds["inner"] >= 0.02 and clock.seconds["outer"] >= 0.01
    assert clock.open == [REST]
    assert clock.seconds["outer"] < clock.seconds["inner"] + 0.01


def test_shares_are_of_all_parts_and_leave_the_step_as_it_was():
    one, other = trainer(), trainer()
    before = Trainer.batch
    found = shares(one, steps=3)
    for _ in range(3):
        other.train_step()
    assert set(found) == {*PARTS, REST}
    assert sum(found.values()) == pytest.approx(1)
    for part in ("data", "encoder", "candidates", "selection", "rendering", "backward"):
        assert found[part] > 0, part
    assert found["dreams"] == 0  # without a fovea there are none
    assert Trainer.batch is before
    for name, value in one.state().items():
        assert torch.equal(value, other.state()[name]), name
