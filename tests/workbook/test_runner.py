"""The batch runner, on small notebooks: what it publishes, skips, survives and refuses."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from dtis_core.errors import DtisError
from dtis_core.storage.locks import locked
from dtis_core.workbook import notebook as workbook_notebook
from dtis_core.workbook.runner import parse_assignments, run_workbook

DRAW = """\
import os
from pathlib import Path

import matplotlib.pyplot as plt

fig, ax = plt.subplots()
ax.plot([0, rate])
folder = Path(os.environ["DTIS_FIGURES"])
fig.savefig(folder / "line.png", metadata={"Software": None})
(folder / "deep").mkdir()
(folder / "deep" / "numbers.csv").write_text(f"{rate}")
print(profile, rate, Path.cwd().name)"""
TABLE = "from dtis_core.display import figures\nfigures.table([{'score': 'ARI <1>', 'here': 99.1}])"
HEAD = "# Title of {}\n\n**Paper:** Fig. 3 & Table 1."
WIDGETS = "import ipywidgets\nipywidgets.interact(lambda x: None, x=ipywidgets.IntSlider(1))"


def write(path, *cells, parameters='profile = "quick"'):
    """Write a notebook with a title, a parameters cell and `cells` of code."""
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook = new_notebook(
        cells=[new_markdown_cell(HEAD.format(path.stem)), tagged, *map(new_code_cell, cells)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    return path


def manifest(output):
    return json.loads((output / "manifest.json").read_text())["notebooks"]


def files(output):
    """The hash of every file that a run published, its records and logs aside."""
    published = [p for p in output.rglob("*") if p.is_file() and p.parent.name != "logs"]
    return {
        p.relative_to(output).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in published
        if p.name not in {"manifest.json", "index.html"}
    }


@pytest.fixture(scope="module", autouse=True)
def clone(tmp_path_factory):
    """Stand-in for the files of the clone that a notebook's result may come from."""
    root = tmp_path_factory.mktemp("clone")
    (root / "dtis_core" / "display").mkdir(parents=True)
    for file in ("__init__", "figures", "tables", "editor"):
        imports = "from dtis_core.display import tables" if file == "figures" else ""
        (root / "dtis_core" / "display" / f"{file}.py").write_text(imports)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workbook_notebook, "CLONE", root)
        yield root


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workbook") / "notebooks"
    folder.mkdir()
    (folder / "captions.yaml").write_text("line: A line <rising>.")
    return [
        write(folder / "01_draws.ipynb", DRAW, WIDGETS, parameters='profile = "quick"\nrate = 1.0'),
        write(folder / "02_fails.ipynb", "total = 1", "total / 0"),
        write(folder / "03_hangs.ipynb", "import time\ntime.sleep(600)"),
        write(folder / "04_plain.ipynb", "print(2)", TABLE, "print('without data: 2 images')"),
    ]


@pytest.fixture(scope="module")
def output(notebooks):
    """The output folder after all four have been run, the one that hangs for 3 s."""
    output = notebooks[0].parents[1] / "figures"
    parameters, rest = {"rate": 1e-05}, ["02", "01", "04"]
    assert run_workbook(notebooks, only=rest, parameters=parameters, output=output) == 1
    assert run_workbook(notebooks, only=["03"], timeout=3, output=output) == 1
    return output


def test_each_notebook_ends_in_a_state_of_its_own(output):
    states = {name: record["status"] for name, record in manifest(output).items()}
    assert states == {
        "01_draws": "ok",
        "02_fails": "failed",
        "03_hangs": "failed",
        "04_plain": "ok",
    }


def test_a_failure_is_explained(output):
    assert manifest(output)["02_fails"]["error"] == "ZeroDivisionError: division by zero"
    assert "total / 0" in (output / "logs" / "02_fails.txt").read_text()
    assert manifest(output)["03_hangs"]["error"].endswith("after the timeout of 3 s")
    assert not (output / "notebooks" / "02_fails.ipynb").exists()
    executed = nbformat.read(output / "logs" / "02_fails.ipynb", as_version=4)
    assert any(o.output_type == "error" for c in executed.cells for o in c.get("outputs", []))


def test_the_manifest_lists_exactly_what_was_made(output):
    made = manifest(output)["01_draws"]["outputs"]
    executed = {f"notebooks/01_draws.{kind}" for kind in ("ipynb", "html")}
    assert set(made) == {"line.png", "deep/numbers.csv"} | executed
    everything = [r["outputs"] for r in manifest(output).values()]
    assert {file: sha for outputs in everything for file, sha in outputs.items()} == files(output)


def test_parameters_reach_the_notebooks_that_have_them(output):
    executed = nbformat.read(output / "notebooks" / "01_draws.ipynb", as_version=4)
    printed = [o.text for c in executed.cells for o in c.get("outputs", []) if "text" in o]
    assert printed == ["quick 1e-05 notebooks\n"]
    assert manifest(output)["01_draws"]["parameters"] == {"profile": "quick", "rate": 1e-05}
    assert manifest(output)["04_plain"]["parameters"] == {"profile": "quick"}


def test_figures_show_in_the_executed_copy(output):
    executed = nbformat.read(output / "notebooks" / "01_draws.ipynb", as_version=4)
    data = [o.data for c in executed.cells for o in c.get("outputs", []) if "data" in o]
    assert "image/png" in data[0]
    assert "application/vnd.jupyter.widget-view+json" in data[1]


def test_the_index_links_what_exists_and_nothing_outside(output):
    page = (output / "index.html").read_text()
    links = set(re.findall(r'(?:src|href)="([^"#]+)"', page))
    assert {"line.png", "notebooks/01_draws.ipynb", "logs/02_fails.txt", "manifest.json"} <= links
    assert all((output / link).is_file() for link in links)
    assert "division by zero" in page
    assert '<h2><a href="notebooks/04_plain.html">Title of 04_plain</a></h2>' in page
    assert page.count(">Paper: Fig. 3 &amp; Table 1.</p>") == page.count("<section")


def test_a_picture_has_its_caption_and_the_contents_lead_to_it(output):
    page = (output / "index.html").read_text()
    assert page.count('alt="A line &lt;rising&gt;."') == 1
    assert page.count("A line &lt;rising&gt;. <small") == 1
    assert '<a href="#01_draws">01 Title of 01_draws</a>' in page


def test_tables_are_kept_as_data_and_shown_in_the_index(output):
    rows = [["score", "here"], ["ARI <1>", "99.1"]]
    table = {"title": "Title of 04_plain", "rows": rows, "below": ""}
    assert manifest(output)["04_plain"]["tables"] == [table]
    assert manifest(output)["01_draws"]["tables"] == []
    page = (output / "index.html").read_text()
    assert "<td>ARI &lt;1&gt;</td><td>99.1</td>" in page


def test_parts_whose_images_are_not_here_are_counted_and_said(output):
    found = {name: record.get("without_data") for name, record in manifest(output).items()}
    assert (found["01_draws"], found["04_plain"]) == (0, 1)
    page = (output / "index.html").read_text()
    assert page.count("without data") == 1
    assert '<b class="ok">ok</b>, 1 part without data' in page


def test_executed_notebooks_are_pages_that_show_pictures_without_a_kernel(output):
    page = (output / "notebooks" / "01_draws.html").read_text()
    assert 'href="../index.html"' in page and 'href="../index.html#start"' in page
    assert "quick 1e-05 notebooks" in page and "data:image/png;base64" in page
    assert "widget-view+json" not in page and "require.min.js" not in page


def test_a_second_run_skips_and_one_made_again_has_equal_bytes(notebooks, output, capsys):
    def run(*only, **options):
        rate = {"rate": 1e-05} if "01" in only else {}
        assert run_workbook(notebooks, only=[*only], parameters=rate, output=output, **options) == 0
        return capsys.readouterr().out.count("up to date")

    before, record = files(output), manifest(output)["01_draws"]
    assert run("01", "04") == 2
    assert manifest(output)["01_draws"] == record
    (output / "line.png").write_text("touched")
    assert run("01", "04") == 1
    assert run("04", force=True) == 0
    assert files(output) == before


def test_the_longest_notebooks_start_first(notebooks, output, capsys):
    records = manifest(output)
    records["01_draws"]["seconds"], records["04_plain"]["seconds"] = 1.0, 9.0
    (output / "manifest.json").write_text(json.dumps({"notebooks": records}))
    quick = {"only": ["01", "04"], "jobs": 1, "force": True, "parameters": {"rate": 1e-05}}
    assert run_workbook(notebooks, output=output, **quick) == 0
    assert re.findall(r"^ok +(\w+)", capsys.readouterr().out, re.M) == ["04_plain", "01_draws"]


def test_what_a_result_comes_from_decides_what_is_up_to_date(notebooks, clone):
    def inputs(path=notebooks[3], **parameters):
        return workbook_notebook.read_notebooks([path], parameters)[0].inputs

    first = inputs(profile="quick")
    assert first == inputs(profile="quick")
    assert first != inputs(profile="paper")
    executed = nbformat.read(notebooks[3], as_version=4)
    executed.cells[-1].execution_count = 7
    same = notebooks[3].with_name("same.ipynb")
    nbformat.write(executed, same)
    assert first == inputs(same, profile="quick")
    executed.cells[-1].source = "print(3)"
    nbformat.write(executed, same)
    assert first != inputs(same, profile="quick")
    (clone / "dtis_core" / "display" / "tables.py").write_text("1")
    assert first != inputs(profile="quick")
    first = inputs(profile="quick")
    (clone / "dtis_core" / "display" / "editor.py").write_text("2")
    assert first == inputs(profile="quick")  # which the notebook does not reach


def test_a_figure_that_is_no_longer_made_is_removed(tmp_path):
    draw = "import os, pathlib\nfolder = pathlib.Path(os.environ['DTIS_FIGURES'])\n"
    book = write(tmp_path / "01_draws.ipynb", draw + "(folder / 'old.png').write_text('1')")
    assert run_workbook([book], output=tmp_path / "figures") == 0
    write(book, draw + "(folder / 'new.png').write_text('1')")
    assert run_workbook([book], output=tmp_path / "figures") == 0
    kept = {"new.png", "notebooks/01_draws.html", "notebooks/01_draws.ipynb"}
    assert set(files(tmp_path / "figures")) == kept


def test_two_notebooks_cannot_make_one_file(tmp_path):
    draw = "import os, pathlib\n(pathlib.Path(os.environ['DTIS_FIGURES']) / 'a.png').write_text("
    books = [write(tmp_path / f"0{n}_draws.ipynb", f"{draw}'{n}')") for n in (1, 2)]
    assert run_workbook(books, jobs=1, output=tmp_path / "figures") == 1
    assert (tmp_path / "figures" / "a.png").read_text() == "1"
    assert "also made by 01_draws" in manifest(tmp_path / "figures")["02_draws"]["error"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_kernels_and_leaves_nothing_half_written(tmp_path, number):
    pid = tmp_path / "pid"
    hang = f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    books = [write(tmp_path / "01_plain.ipynb", "1"), write(tmp_path / "02_hangs.ipynb", hang)]
    paths = f"[Path(p) for p in {list(map(str, books))}]"
    call = f"run_workbook({paths}, jobs=1, output=Path('figures'))"
    code = "import signal, sys; from pathlib import Path; "
    code += "from dtis_core.workbook.runner import run_workbook; "
    # A parent in the background of a shell hands down an ignored SIGINT.
    code += "signal.signal(signal.SIGINT, signal.default_int_handler);"
    runner = subprocess.Popen(
        [sys.executable, "-c", f"{code} sys.exit({call})"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: pid.exists() and pid.read_text())
    runner.send_signal(number)
    printed, _ = runner.communicate(timeout=120)
    assert runner.returncode == 128 + number
    assert "not run: 02_hangs" in printed
    assert {name: r["status"] for name, r in manifest(tmp_path / "figures").items()} == {
        "01_plain": "ok"
    }
    kept = {"notebooks/01_plain.html", "notebooks/01_plain.ipynb"}
    assert set(files(tmp_path / "figures")) == kept
    assert not list((tmp_path / "figures").glob(".*"))  # neither a staging folder nor a lock
    wait_until(lambda: not is_alive(int(pid.read_text())))


def test_a_kernel_that_dies_before_its_first_reply_is_started_again(tmp_path, monkeypatch):
    # As where another kernel was faster to take the port that this one was given.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib, sys\n"
        f"mark = pathlib.Path({str(tmp_path / 'died')!r})\n"
        "if 'ipykernel_launcher' in sys.orig_argv and not mark.exists():\n"
        "    mark.touch()\n"
        "    os._exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    notebook = write(tmp_path / "nb" / "01_well.ipynb", "print(2)")
    assert run_workbook([notebook], output=tmp_path) == 0
    assert (tmp_path / "died").exists()


def test_one_run_at_a_time_writes_to_a_folder(tmp_path):
    book, output = write(tmp_path / "01_plain.ipynb", "1"), tmp_path / "figures"
    with locked(output / ".lock", "a first run"):
        with pytest.raises(DtisError, match=f"{output}: in use by process {os.getpid()} on"):
            run_workbook([book], output=output)
        assert [p.name for p in output.iterdir()] == [".lock"]
    (output / ".staging-killed" / "01_plain").mkdir(parents=True)
    assert run_workbook([book], output=output) == 0
    assert not list(output.glob(".*"))


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["05"]}, "begins with, '05'"),
        ({"only": ["04_plan"]}, "did you mean '04_plain'"),
        ({"parameters": {"rat": 1}}, "did you mean 'rate'"),
        ({"jobs": 0}, "jobs: found 0"),
    ],
)
def test_what_does_not_exist_is_refused(notebooks, output, options, message):
    with pytest.raises(DtisError, match=message):
        run_workbook(notebooks, output=output, **options)


def test_unreadable_files_are_named(tmp_path, output, notebooks):
    broken = tmp_path / "01_broken.ipynb"
    broken.write_text("{")
    with pytest.raises(DtisError, match="01_broken.ipynb: not a notebook"):
        run_workbook([broken], output=tmp_path)
    with pytest.raises(DtisError, match="02_missing.ipynb: no such notebook"):
        run_workbook([tmp_path / "02_missing.ipynb"], output=tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DtisError, match="manifest.json: not a manifest"):
        run_workbook(notebooks, output=tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(DtisError, match="logs: File exists; check"):
        run_workbook(notebooks, output=tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        {"status": "<b>ok</b>"},
        {"seconds": "1"},
        {"outputs": {"../precious": "0"}},
        {"outputs": {"/precious": "0"}},
        {"outputs": ["line.png"]},
        {"tables": [{"title": "t", "rows": []}]},
        {"tables": [{"title": "t", "rows": [["a"]], "below": 1}]},
        {"tables": [{"title": "t", "rows": [[1]]}]},
        {"title": None},
    ],
)
def test_a_damaged_record_is_named_and_nothing_is_removed(tmp_path, notebooks, damage):
    whole = {"status": "ok", "title": "T", "profile": "quick", "inputs": "0", "seconds": 1.0,
             "outputs": {}}  # fmt: skip
    output, precious = tmp_path / "figures", tmp_path / "precious"
    output.mkdir()
    precious.write_text("kept")
    (output / "manifest.json").write_text(json.dumps({"notebooks": {"04_plain": whole | damage}}))
    with pytest.raises(DtisError, match="manifest.json: the record of '04_plain' is damaged"):
        run_workbook(notebooks, only=["04"], output=output)
    assert precious.read_text() == "kept"


def test_assignments_are_yaml_scalars():
    parsed = parse_assignments(
        ["steps=5", "rate=1e-3", "name=tetrominoes", "compiled=true", "none=", "title=run #1"]
    )
    assert parsed == {
        "steps": 5,
        "rate": 0.001,
        "name": "tetrominoes",
        "compiled": True,
        "none": None,
        "title": "run #1",
    }


@pytest.mark.parametrize("word", ["steps", "=5", "a b=1", "a=[1", "a=[1, 2]", "a=2026-01-01"])
def test_an_assignment_that_cannot_be_read_is_refused(word):
    with pytest.raises(DtisError, match="--set"):
        parse_assignments([word])
