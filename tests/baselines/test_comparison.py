"""Rivals beside ours: which moment of a rival's training counts, and what is drawn."""

import numpy as np
import pytest

from dtis_core.baselines import records
from dtis_core.baselines.comparison import Race, k_means_table, race_table, races
from dtis_core.baselines.records import BaselineFolder
from dtis_core.baselines.settings import k_means_settings, slot_settings
from dtis_core.datasets import load
from dtis_core.display.rivals import show_races, show_slots
from dtis_core.scoring.results import shipped_runs

PRESET = "tetrominoes/fast"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "BASELINES", tmp_path)
    return tmp_path


def recorded(path, settings, *lines, seed=0, scores=None):
    """A record with these lines of metrics."""
    folder = BaselineFolder(path)
    folder.begin(settings, seed, "0" * 16, "images")
    for line in lines:
        folder.log(loss=0.1, **line)
    folder.update_manifest(scores={"data/split": scores or {}})
    return folder


def curve(*minutes):
    """Scores that are the minutes, as fractions of a hundred."""
    return [
        {"step": 10 * m, "cpu_seconds": 60.0 * m, "ARI": m / 200, "ARI-FG": m / 100}
        for m in minutes
    ]


def race_of(*minutes, home):
    rival = recorded(home / "slots", slot_settings(PRESET, 100), *curve(*minutes))
    return Race("Tetrominoes", "99.5 ± 0.2", [rival], shipped_runs(PRESET))


def test_a_rival_is_shown_after_no_fewer_minutes_than_ours_and_at_its_end(home):
    race = race_of(1, 3, 20, 40, 60, home=home)
    assert 3 < race.minutes < 20
    slots = [row for row in race.rows() if "steps" in row["method"]][:-1]
    assert [(row["minutes"], row["ARI-FG"]) for row in slots] == [("20", "20.0"), ("60", "60.0")]
    assert slots[0]["method"] == "Slot Attention, seed 0, rate 0.0004, 200 steps"
    assert slots[0]["ARI"] == "10.0"


@pytest.mark.parametrize("minutes", [(1, 3, 20), (1, 3)])
def test_a_rival_that_ends_first_has_one_line(home, minutes):
    rows = race_of(*minutes, home=home).rows()
    slots = [row for row in rows if "steps" in row["method"]][:-1]
    assert [row["minutes"] for row in slots] == [str(minutes[-1])]
    assert rows[-1]["ARI-FG"] == "99.5 ± 0.2" and rows[-1]["minutes"] == "on a GPU"


def test_only_records_of_a_method_on_the_same_images_are_found(home):
    assert races() == race_table() == k_means_table() == []
    for seed, accuracy in ((1, 0.5), (0, 0.7)):
        scores = {"accuracy": accuracy, "NMI": 0.4}
        settings = k_means_settings("digits")
        recorded(home / f"means-{seed}", settings, seed=seed, scores=scores)
    assert races() == []
    (row,) = k_means_table()
    assert row["images"] == "digits (real)" and row["runs"] == "2"
    assert row["accuracy"] == "60.0 ± 14.1" and row["NMI"] == "40.0 ± 0.0"
    race_of(1, home=home)
    (race,) = races()
    assert race.title == "Tetrominoes (generated)"
    assert len(race.ours) == len(shipped_runs(PRESET)) > 1
    assert [folder.path.name for folder in race.rivals] == ["slots"]


def test_curves_are_drawn_in_minutes_and_percent(home):
    (axes,) = show_races([race_of(1, 3, 20, home=home)]).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["ARI-FG, seed 0, rate 0.0004"].get_xdata()) == [1, 3, 20]
    assert list(lines["ARI, seed 0, rate 0.0004"].get_ydata()) == pytest.approx([0.5, 1.5, 10])
    assert len(lines["ours, ARI"].get_xdata()) == len(shipped_runs(PRESET))


def test_recorded_slots_are_drawn_beside_their_images():
    race, images = races()[0], load("tetrominoes", "validation", 2).images
    fig = show_slots(race, images)
    titles = [text.get_text() for text in fig.axes[0].texts]
    seeds = [f"seed {rival.manifest()['seed']}" for rival in race.rivals]
    assert titles == ["input", *(title for seed in seeds for title in (seed, "slots"))]
    assert np.array_equal(fig.axes[0].images[0].get_array()[:70:2, :70:2], images[0] / 255)
