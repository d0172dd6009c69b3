"""Rows of tables from run records, of which some may not be there."""

import shutil

import pytest

from dtis_core.errors import DtisError
from dtis_core.paths import SHIPPED
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scoring import results
from dtis_core.scoring.metrics import summarise
from dtis_core.scoring.results import (
    SPLITS,
    existing,
    own_scores,
    percent,
    recorded_scores,
    result_table,
    score_cell,
    score_cells,
    score_key,
    shipped_runs,
    split_table,
)

SEEDS = ("tetrominoes", "tetrominoes-seed1", "tetrominoes-seed2")


def test_a_deviation_is_that_of_a_sample_and_a_single_value_has_none():
    assert percent([0.5]) == "50.0"
    assert percent([0.5, 0.6, 0.7]) == "60.0 ± 10.0"
    assert percent([0.001, 0.002], 1e3, 2) == "1.50 ± 0.71"


def test_runs_that_are_not_there_are_left_out_and_the_order_stays():
    names = [SEEDS[2], "tetrominoes-seed99", SEEDS[0]]
    assert [folder.path.name for folder in existing(names)] == [SEEDS[2], SEEDS[0]]
    assert existing(names, SHIPPED / "nowhere") == []


def test_cells_are_means_and_deviations_over_the_runs():
    folders = existing(SEEDS)
    scores = [own_scores(folder) for folder in folders]
    cells = score_cells(folders, ("ARI", "mIoU"))
    for name, cell in cells.items():
        mean, deviation = summarise([100 * s[name] for s in scores])
        assert cell == f"{mean:.1f} ± {deviation:.1f}"
    assert score_cells(folders[:1], ["ARI"]) == {"ARI": f"{100 * scores[0]['ARI']:.1f}"}


def test_a_cell_names_the_papers_rule_where_it_reads_otherwise():
    one, other = {"mIoU": 0.5}, {"mIoU": 0.6, "mIoU (paper's rule)": 0.8}
    assert score_cell([one], "mIoU") == "50.0"
    assert score_cell([other], "mIoU") == "60.0 (80.0 by the paper's rule)"
    assert score_cell([one, other], "mIoU") == "55.0 ± 7.1 (65.0 ± 21.2 by the paper's rule)"
    assert score_cell([other | {"mIoU (paper's rule)": 0.60001}], "mIoU") == "60.0"


def test_what_was_not_run_says_so():
    assert score_cells([], ("ARI", "ARI-FG")) == {"ARI": "not run", "ARI-FG": "not run"}


def test_a_run_that_was_not_scored_is_named(tmp_path):
    copy = RunFolder(shutil.copytree(SHIPPED / SEEDS[0], tmp_path / "copy"))
    copy.update_manifest(scores={})
    with pytest.raises(DtisError, match="copy: has no scores on tetrominoes/validation"):
        score_cells([copy], ["ARI"])
    copy.note_scores("tetrominoes/validation", {"ARI": 0.5, "mIoU": "high"})
    assert score_cells([copy], ["ARI"]) == {"ARI": "50.0"}
    for name, found in {"mACC": "lacks the field 'mACC'", "mIoU": "'mIoU' must be"}.items():
        with pytest.raises(DtisError, match=f"copy/manifest.json: scores: {found}"):
            score_cells([copy], [name])


def test_runs_are_told_apart_by_their_settings_and_what_they_were_scored_with():
    greedy = shipped_runs("multi-dsprites2/fast")
    exhaustive = shipped_runs("multi-dsprites2/fast", ["model.selection=exhaustive"])
    assert {folder.config().model.selection for folder in greedy} == {"greedy"}
    assert {folder.config().model.selection for folder in exhaustive} == {"exhaustive"}
    otherwise = shipped_runs("multi-dsprites2/fast", ["search.views=4", "search.polish_steps=3"])
    assert [folder.path for folder in otherwise] == [folder.path for folder in greedy]
    assert greedy and not shipped_runs("multi-dsprites2/fast", ["search.turns=4"])


def test_scores_of_one_look_lie_beside_the_best_ones_and_both_are_shown(tmp_path, monkeypatch):
    home = tmp_path / "shipped"
    for name in SEEDS[:2]:
        shutil.copytree(SHIPPED / name, home / name)
    first, second = (RunFolder(home / name) for name in SEEDS[:2])
    best, data = own_scores(first), first.config().data
    second.update_manifest(scores={score_key(data.name, data.score_split): own_scores(second)})
    looked = best | {"inference": "one-look", "ms_per_image": 7.4, "ARI": 0.5, "mIoU": 0.25}
    first.note_scores(score_key(data.name, data.score_split, "one-look"), looked)
    assert own_scores(first) == best and recorded_scores(first, "one-look") == looked
    assert score_cells([first], ["ARI"], "one-look") == {"ARI": "50.0"}
    with pytest.raises(DtisError, match="seed1: has no scores on tetrominoes/[a-z]*/one-look"):
        score_cells([second], ["ARI"], "one-look")
    both = score_cells([first, second], ["ARI"])["ARI"]

    monkeypatch.setattr(results, "SHIPPED", home)
    first_row, second_row, other = result_table()[:3]
    assert [first_row["inference"], second_row["inference"]] == ["one-look", "best"]
    assert first_row["here"].startswith("50.0 / ") and first_row["here"].endswith(" / 25.0")
    assert (first_row["ms an image"], first_row["seeds"]) == ("7", "1")
    assert second_row["here"].startswith(f"{both} / ") and second_row["seeds"] == "2"
    assert other["data"] != first_row["data"] and other["inference"] == "–"
    assert other["here"] == "not yet run" and other["seeds"] == "0"


def test_settled_presets_are_shown_with_images_kept_for_the_end(tmp_path, monkeypatch):
    home = tmp_path / "shipped"
    folder = RunFolder(shutil.copytree(SHIPPED / SEEDS[0], home / SEEDS[0]))
    monkeypatch.setattr(results, "SHIPPED", home)
    scores = own_scores(folder)
    name = folder.config().data.name
    folder.update_manifest(scores={})
    for number, split in enumerate(SPLITS):
        assert split_table() == []  # until a run is scored on all
        folder.note_scores(score_key(name, split), scores | {"ARI": 0.1 * number})
    (line,) = split_table()
    assert [line[words].split(" / ")[0] for words in SPLITS.values()] == ["0.0", "10.0", "20.0"]
    assert line["inference"] == "best" and line["measure"].startswith("ARI / ")
