"""The `dtis` command: what each part of it does, and one line for whatever is wrong."""

import json
import os

import pytest
from command_line import contents, refused, train_command
from small_run import SMALL

from dtis_core import cli
from dtis_core.cli import build_parser, main
from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import RunFolder

COMMANDS = (
    "train", "sweep", "eval", "export", "results", "figures", "data", "render", "baseline", "bench",
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


# What it does


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: dtis {command}" in capsys.readouterr().out


def test_an_unknown_command_is_answered_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["trian"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(command in said for command in COMMANDS)


def test_a_run_is_trained_scored_and_exported(tmp_path, capsys):
    run, copy = tmp_path / "run", tmp_path / "copy"
    assert main(train_command(run, "--max-steps", "2", "--seed", "5")) == 0
    said = capsys.readouterr().out
    assert f"training tetrominoes/fast with seed 5 in {run}" in said
    assert f"stopped at step 2: {run}" in said and "ARI-FG" in said
    assert main(["eval", str(run), "--split", "train", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["split"] == "train" and scores["images"] == 4 and scores["seed"] == 5
    assert scores["inference"] == "best"
    trained = {"tetrominoes/validation", "tetrominoes/validation/one-look"}
    assert set(RunFolder(run).manifest()["scores"]) == trained | {"tetrominoes/train"}
    before = RunFolder(run).manifest()["scores"]["tetrominoes/train"]
    assert main(["eval", str(run), "--split", "train", "--inference", "one-look"]) == 0
    assert "4 images (train, one-look, " in capsys.readouterr().out
    recorded = RunFolder(run).manifest()["scores"]
    assert recorded["tetrominoes/train"] == before
    assert recorded["tetrominoes/train/one-look"]["inference"] == "one-look"
    assert main(["export", str(run), str(copy), "--full"]) == 0
    assert f"score it with: dtis eval {copy}" in capsys.readouterr().out
    assert RunFolder(copy).manifest()["scores"]["tetrominoes/train"]["run"] == "copy"


def test_a_split_that_cannot_be_scored_is_refused_before_training(tmp_path, capsys):
    command = train_command(tmp_path / "run", "--set", "data.score_split=nowhere")
    refused(capsys, command, "no split 'nowhere'")
    assert not (tmp_path / "run").exists()


def test_data_are_named(capsys):
    assert main(["data", "digits"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("all: digits (real), (1797, 16, 16, 3), fingerprint ")


def test_results_are_a_table(capsys):
    assert main(["results"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| data | command | measure |") and len(lines) > 3


# What it refuses


def test_an_unknown_inference_is_refused(capsys):
    refused(capsys, ["eval", "digits", "--inference", "onelook"], "did you mean 'one-look'?")


PATHS = {
    "": "is empty",
    "a\0b": "is no usable path",
    "~no-such-user/x": "is no usable path",
    "x" * 5000: "is no usable path",
}
each_path = pytest.mark.parametrize(
    ("path", "reason"), PATHS.items(), ids=["empty", "NUL", "user", "long"]
)


@each_path
def test_a_path_that_is_none_is_one_line(capsys, tmp_path, monkeypatch, path, reason):
    monkeypatch.chdir(tmp_path)
    settings = [*SMALL, f"data.path={json.dumps(path)}"]
    for arguments in (
        train_command(path),
        train_command("run", settings=settings),
        ["eval", path],
        ["export", path, "copy"],
        ["bench", "digits", "--literal", path],
        ["eval", "digits", "--data", "folder", "--path", path],
    ):
        assert len(refused(capsys, arguments, reason)) < 300
    assert contents(tmp_path) == {}


def test_a_folder_that_data_do_not_read_is_refused(capsys, tmp_path):
    arguments = ["eval", "digits", "--data", "digits", "--path", str(tmp_path)]
    refused(capsys, arguments, "'digits' is not read from files", "leave --path")
    settings = [*SMALL, f"data.path={tmp_path}"]
    refused(capsys, train_command(tmp_path / "run", settings=settings), "'tetrominoes' is not read")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("!!python/object/apply:os.system [ls]", "is not a YAML value"),
        ("!!timestamp x", "is not a YAML value"),
        ("!!bool x", "is not a YAML value"),
        ('!!int ""', "is not a YAML value"),
        ("9" * 5000, "is not a YAML value"),
        ("0x" + "f" * 5000, "found an integer of 20000 bits"),
        ("[" * 5000, "is not a YAML value"),
        ("&a [*a]", "expected int"),
        ("5 #1", "expected int, found '5 #1'"),
        ("'5' #1", "is not a YAML value"),
        ("[5] #1", "is not a YAML value"),
        ("#5", "expected int, found '#5'"),
        ("1000000001", "must be within ±1,000,000,000, found 1000000001"),
    ],
)
def test_a_value_that_yaml_stumbles_over_is_one_line(capsys, tmp_path, value, reason):
    settings = [*SMALL, f"training.batch_size={value}"]
    line = refused(capsys, train_command(tmp_path / "run", settings=settings), reason)
    assert len(line) < 400


@pytest.mark.parametrize(
    "setting",
    [
        "model.image_size=[1000000000, 1000000000]", "model.sprite_size=[1000000000, 10]",
        "model.sprites=1000000000", "model.layers=1000000000", "model.backgrounds=1000000000",
        "model.pool=1000000000", "model.channels=1000000000", "search.inference_turns=1000000000",
        "training.batch_size=1000000000", "training.extra_sprites=1000000000",
        "data.count=1000000000", "data.held_out=1000000000",
    ],
)  # fmt: skip
def test_what_no_machine_holds_is_refused(capsys, tmp_path, setting):
    rotated = ["model.layer_transformations=[tint, placement]"]
    rotated += ["model.sprite_transformations=[similarity]", "training.retire_until=1"]
    settings = [*SMALL, *rotated, setting]
    field = setting.split("=")[0]
    refused(capsys, train_command(tmp_path / "run", settings=settings), field, "lower one of them")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["nan", "-1", "-inf"])
def test_checkpoints_that_would_never_come_are_refused(capsys, tmp_path, value):
    arguments = train_command(tmp_path / "run", f"--checkpoint-seconds={value}")
    refused(capsys, arguments, f"checkpoint_seconds: must be 0 or more, found {float(value)}")
    assert not (tmp_path / "run").exists()


# What nobody foresaw


def fails(monkeypatch, error):
    """Let `dtis results` fail with an error."""

    def function(arguments):
        raise error

    parser = build_parser()
    monkeypatch.setattr(cli, "build_parser", lambda: parser)
    parse = parser.parse_args
    monkeypatch.setattr(parser, "parse_args", lambda argv: replaced(parse(argv), function))


def replaced(arguments, function):
    arguments.function = function
    return arguments


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (DtisError("two\nlines"), ["two lines"]),
        (PermissionError(13, os.strerror(13), "/some/file"), ["/some/file: Permission denied"]),
        (OSError(28, os.strerror(28)), ["No space left"]),
        (MemoryError(), ["not enough memory", "training.batch_size"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 12 TB"), ["not enough memory"]),
    ],
)
def test_what_the_system_refuses_is_one_line(capsys, monkeypatch, error, parts):
    fails(monkeypatch, error)
    refused(capsys, ["results"], *parts)


def test_a_bug_is_not_hidden(monkeypatch):
    fails(monkeypatch, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        main(["results"])


def test_an_interrupt_has_its_own_status(capsys, monkeypatch):
    fails(monkeypatch, KeyboardInterrupt())
    assert main(["results"]) == 130
    assert capsys.readouterr().err == "dtis: interrupted\n"
