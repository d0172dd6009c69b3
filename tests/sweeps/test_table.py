"""Tables and curves over the seeds of a sweep."""

import pytest
from small_run import SWEPT

from dtis_core.errors import DtisError
from dtis_core.sweeps import table
from dtis_core.sweeps.sweep import write_results
from dtis_core.sweeps.table import by_setting, read_results, recorded_or_swept

ROWS = [
    {
        "run": f"k{K}-seed{seed}",
        "settings": f"model.layer_transformations=[tint, placement] model.sprites={K}",
        "seed": seed,
        "status": "finished",
        "commit": "12e4567",
        "best mIoU": 0.1 * K + seed,
    }
    for K in (10, 9)
    for seed in (0, 1)
]


def test_a_measure_by_a_setting_over_all_seeds(tmp_path):
    failed = ROWS[0] | {"status": "failed", "best mIoU": ""}
    write_results(tmp_path / "results.csv", [*ROWS, failed])
    rows = read_results(tmp_path / "results.csv")
    assert rows[0]["commit"] == "12e4567"
    assert rows[0]["run"] == "k10-seed0" and rows[3]["seed"] == 1 and rows[4]["best mIoU"] == ""
    found = by_setting(rows, "model.sprites", "best mIoU")
    assert list(found) == [9, 10]
    assert found[10] == pytest.approx([1, 2])


@pytest.mark.parametrize(
    ("setting", "measure", "named"),
    [
        ("model.layers", "best mIoU", "model.layers"),
        ("model.sprites", "best ARI", "best ARI"),
        ("model.layer_transformations", "best mIoU", "'\\[tint,'"),
    ],
)
def test_what_no_run_has_is_named(setting, measure, named):
    with pytest.raises(DtisError, match=f"k10-seed0: .*{named}"):
        by_setting(ROWS, setting, measure)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "run,settings,seed\n"])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(DtisError, match="results.csv: is no table of runs"):
        read_results(tmp_path / "results.csv")


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("none.csv", "binary.csv"):
        with pytest.raises(DtisError, match=f"{name}: cannot be read as a table of runs"):
            read_results(tmp_path / name)


@pytest.mark.whole_runs
def test_a_notebook_gets_the_recorded_sweep_or_makes_it_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "SHIPPED", tmp_path / "shipped")
    settings = [*SWEPT, "training.length=3", "model.sprites=2,3"]
    asked = "elbow", ["tetrominoes"], "0-1", settings
    rows = recorded_or_swept(*asked, retrain=True, jobs=2, home=tmp_path / "runs")
    assert list(by_setting(rows, "model.sprites", "final loss")) == [2, 3]
    write_results(tmp_path / "shipped" / "elbow" / "results.csv", ROWS)
    recorded = recorded_or_swept(*asked, retrain=False)
    assert [row["run"] for row in recorded] == [row["run"] for row in ROWS]
    assert rows[0]["folder"].manifest()["seed"] == 0
