"""Settings as people write them: in files, and word by word with --set."""

import pytest

from dtis_core.config import load_preset, read_config
from dtis_core.errors import DtisError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: 5", "extends must name a preset, found 5"),
        ("extends: [tetrominoes]", r"extends must name a preset, found \['tetrominoes'\]"),
        ("extends: tetrominoes\nmodel: 3", "model: expected a section with fields, found 3"),
        (
            "extends: tetrominoes\ndescription: {a: b}",
            "description: expected str, found {'a': 'b'}",
        ),
        ("extends: tetrominoes\n5: 6", "unknown field '5'"),
        ("extends: !!python/name:os.system", "cannot be read as a configuration"),
        ("extends: !!timestamp never", "cannot be read as a configuration"),
        ("extends: " + "[" * 10_000, "cannot be read as a configuration .*RecursionError"),
        ("extends: " + "9" * 5000, "cannot be read as a configuration"),
        ("&a [*a, *a]", r"expected a section with fields, found \[\["),
        ("text", "expected a section with fields, found 'text'"),
        ("", "expected a section with fields, found None"),
    ],
)
def test_a_file_of_another_shape_is_named(tmp_path, text, message):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(DtisError, match=f"config.yaml: {message}") as caught:
        read_config(file)
    assert len(str(caught.value)) < 500


def test_a_section_changes_what_it_names_of_the_preset_it_extends(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("extends: tetrominoes\ntraining: {batch_size: 7}\ndescription: mine")
    config, base = read_config(file), load_preset("tetrominoes")
    assert config.training.batch_size == 7 and config.description == "mine"
    assert config.override([f"training.batch_size={base.training.batch_size}"]).model == base.model


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("photos", "{here}/photos"),
        ("./my photos #1", "{here}/my photos #1"),
        ("'it''s # here'", "{here}/it's # here"),
        ("/else/where", "/else/where"),
        ("~/photos", "{home}/photos"),
    ],
)
def test_a_data_folder_is_taken_from_where_the_user_stands(tmp_path, monkeypatch, given, path):
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    config = load_preset("photos").override([f"data.path={given}"])
    assert config.data.path == path.format(here=here, home=home)
    monkeypatch.chdir(tmp_path)
    assert config.override(["training.batch_size=2"]).data.path == config.data.path
    assert config.override(["data.path=null"]).data.path is None


@pytest.mark.parametrize("start", ["", "model.sprites=", "nowhere.at=", "all=", "a.b="])
def test_a_long_assignment_makes_no_long_message(start):
    with pytest.raises(DtisError) as refused:
        load_preset("tetrominoes").override([start + "[" * 2000])
    assert len(str(refused.value)) < 400
