"""What many runs and ranks cost beside their training."""

import pytest

from dtis_core.bench.scale import print_scale, scheduler_cost, weights_of
from dtis_core.config import load_preset


@pytest.mark.load
def test_a_scheduler_costs_something_but_little_beside_a_run():
    cost = scheduler_cost(tasks=20, workers=2, sleep=0.02)
    assert cost["tasks"] == 20 and cost["workers"] == 2
    assert cost["seconds to start"] > 0
    assert -20 <= cost["ms a task"] < 5000  # never below what the sleeps leave


def test_messages_are_the_gradients_and_a_checkpoint_holds_them_four_times(capsys):
    config = load_preset("tetrominoes/fast").override(["model.sprites=2", "model.layers=1"])
    small = weights_of(config)
    large = weights_of(config.override(["model.sprites=4"]))
    pixels = 24 * 24 * 4 * 2  # of two further sprites, with transparency; their heads are shared
    assert large["gradients, MB a step"] - small["gradients, MB a step"] == pytest.approx(
        4 * pixels / 1e6, rel=0.01
    )
    assert small["checkpoint, MB"] >= 4 * small["gradients, MB a step"] * 0.99
    print_scale([small])
    assert "preset tetrominoes/fast, gradients, MB a step" in capsys.readouterr().out
