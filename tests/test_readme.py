"""The README's numbers are those of the records, and its links lead somewhere."""

import json
import re
from pathlib import Path

import pytest

from dtis_core.paths import SHIPPED
from dtis_core.runs.run_folder import RunFolder
from dtis_core.workbook import result_pages

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "docs" / "results.md").read_text()
MEASURES = ("ARI", "ARI-FG", "mACC", "mIoU")


PAGES = ["README.md", "CONTRIBUTING.md", "docs/results.md", "dtis_core/presets/README.md"]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    targets = re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text())
    missing = [target for target in targets if not (ROOT / name).parent.joinpath(target).exists()]
    assert targets and not missing


def test_the_example_runs_as_it_stands():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(example, names)
    assert names["scene"].reconstruction.shape == (8, 3, 35, 35)


@pytest.mark.parametrize("name", result_pages.PAGES)
def test_tables_are_what_the_records_say(name):
    assert result_pages.up_to_date(name) == (ROOT / name).read_text()


def test_the_scores_on_our_own_scenes_are_the_recorded_ones():
    scores = RunFolder(SHIPPED / "own_scenes" / "clevr6").manifest()["scores"]
    one_look, best = (
        [f"{100 * scores[key][name]:.1f}" for name in MEASURES]
        for key in ("clevr6-rendered/validation/one-look", "clevr6-rendered/validation")
    )
    said = "by one look ARI {}, ARI-FG {}, mACC {} and mIoU {}, by `best` {}, {}, {} and {}"
    assert said.format(*one_look, *best) in " ".join(RESULTS.split())


def rows() -> list[list[str]]:
    """Cells of the results table's rows that name a shipped run."""
    table = RESULTS.split("<!-- results")[1].split("\n## ")[0]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    return [row for row in cells if row[0].startswith("`tetrominoes")]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].strip("`"))
def test_results_are_the_recorded_ones(row):
    manifest = RunFolder(SHIPPED / row[0].strip("`")).manifest()
    scores = manifest["scores"]["tetrominoes/validation"]
    assert row[1] == str(manifest["seed"])
    assert row[2:6] == [f"{100 * scores[name]:.1f}" for name in MEASURES]
    assert row[6] == f"{manifest['wall_seconds'] / 60:.0f}"


def test_there_are_three_seeds():
    assert len({row[1] for row in rows()}) >= 3


def test_the_sliders_are_as_fast_as_was_measured():
    times = json.loads((ROOT / "tests" / "browser" / "slider_times.json").read_text())
    said = (
        f"it shows {times['frames_per_second']:.0f} frames a second. Half of the ticks of a "
        f"slider, which do ask the kernel, show their picture within {times['median_ms']:.0f} ms, "
        f"95 % within {times['p95_ms']:.0f} ms"
    )
    assert said in " ".join(README.split())
