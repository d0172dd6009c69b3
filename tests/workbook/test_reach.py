"""What a notebook can reach of the package: it runs again when that changes, and only then."""

import pytest

from dtis_core.paths import CLONE
from dtis_core.workbook.reach import imported_names, reached_files


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import dtis_core as dtis\ndtis.load('x')", ["scenes.run"]),
        ("import dtis_core\ndtis_core.score('x')", ["scoring.score"]),
        ("from dtis_core import datasets, train", ["datasets", "training.session"]),
        ("from dtis_core.errors import DtisError as E", ["errors.DtisError"]),
        ("import dtis_core.model.sprites", ["model.sprites"]),
        ("def late():\n    from dtis_core.display import editor", ["display.editor"]),
        ("%matplotlib inline\nimport dtis_core.storage.files", ["storage.files"]),
        ("import numpy as dtis\ndtis.load('x')", []),
    ],
)
def test_imports_are_read_from_the_source(code, names):
    assert imported_names(code) == names


def test_imports_of_imports_and_their_data_are_reached():
    editor = CLONE / "dtis_core" / "display" / "editor.py"
    scene = reached_files("import dtis_core as dtis\nrun = dtis.load('tetrominoes')", CLONE)
    core = {path.name for path in scene}
    assert {"composition.py", "selection.py", "quarter_turns.py", "errors.py"} <= core
    assert CLONE / "data" / "shipped" / "tetrominoes" / "model.safetensors" in scene
    assert CLONE / "dtis_core" / "presets" / "tetrominoes" / "fast.yaml" in scene
    assert editor not in scene
    with_editor = reached_files("from dtis_core.display.editor import SceneEditor", CLONE)
    assert {editor, CLONE / "dtis_core" / "display" / "web" / "composition.js"} <= with_editor


def test_a_whole_room_is_all_of_its_modules():
    names = {path.name for path in reached_files("from dtis_core import datasets", CLONE)}
    assert {"tetrominoes.py", "svhn.py", "cache.py"} <= names


def test_recorded_runs_are_reached_by_those_alone_who_use_them():
    alone = reached_files("from dtis_core.model.composition import compose", CLONE)
    assert alone and not any("shipped" in path.parts for path in alone)
