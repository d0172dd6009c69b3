"""What many runs and ranks cost beside their training."""

import json
from pathlib import Path

import pytest

from dtis_core.bench.scale import print_scale, scheduler_cost, weights_of
from dtis_core.config import load_preset

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "scale.md").read_text()


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


def table_of(title):
    """Rows of one of the page's tables: a preset, and the numbers beside it."""
    lines = PAGE.split(f"## {title}")[1].split("\n## ")[0].splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| `")]
    return {preset.strip(" `"): [cell.strip() for cell in cells] for preset, *cells in rows}


def test_the_page_says_what_was_measured():
    cost, *presets = json.loads((DOCS / "scale.json").read_text())
    for name in ("ms a task", "KiB a task"):
        assert f"{cost[name]:.1f} {name.split()[0]}" in PAGE
    assert f"{cost['seconds to start']:.0f} s, once" in PAGE
    folder, messages = table_of("The shared folder"), table_of("Messages between ranks")
    assert [*folder] == [*messages] == [row["preset"] for row in presets]
    for row in presets:
        size, runs = row["checkpoint, MB"], 100 * 45 / row["checkpoint, MB"]
        assert folder[row["preset"]] == [
            f"{size:.2g}" if size < 100 else f"{size:.0f}",
            f"{runs:.0f}",
        ]
        sent = row["gradients, MB a step"], row["ms a step at 1 Gbit/s"]
        assert messages[row["preset"]] == [f"{sent[0]:.2g}", f"{sent[1]:.0f}"]
