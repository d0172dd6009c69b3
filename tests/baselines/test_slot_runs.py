"""Runs of Slot Attention: repeated, gone on with, scored over time; and what is refused."""

import signal
from dataclasses import replace

import pytest
from command_line import refused
from small_run import assert_same_state, random_images

from dtis_core.baselines import slot_session
from dtis_core.baselines.records import BaselineFolder
from dtis_core.baselines.settings import SlotSettings, slot_settings
from dtis_core.baselines.slot_session import (
    quicker,
    resume_slots,
    scored_steps,
    steps_in,
    train_slots,
)
from dtis_core.baselines.slot_trainer import SlotTrainer, load_slots
from dtis_core.cli import main
from dtis_core.errors import DtisError

pytestmark = pytest.mark.whole_runs
LENGTH = 5


def small(**changes):
    """A run so small that it takes a second."""
    settings = slot_settings("tetrominoes", LENGTH, channels=4, batch_size=2)
    data = replace(settings.images.data, count=8, held_out=4)
    return replace(settings, images=replace(settings.images, data=data), **changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train_slots(small(), tmp_path_factory.mktemp("slots") / "whole", seed=3)


def test_a_run_repeats(tmp_path, whole):
    assert_same_state(whole.path, train_slots(small(), tmp_path / "again", seed=3).path)
    other = train_slots(small(), tmp_path / "other", seed=4)
    with pytest.raises(AssertionError):
        assert_same_state(whole.path, other.path)


def before_step(monkeypatch, number, act):
    """Let something happen before a step, counted from 0."""
    step = SlotTrainer.train_step

    def disturbed(trainer):
        if trainer.step == number:
            act()
        return step(trainer)

    monkeypatch.setattr(SlotTrainer, "train_step", disturbed)


def test_a_run_that_goes_on_after_a_ctrl_c_equals_one_without(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        before_step(patch, 1, lambda: signal.raise_signal(signal.SIGINT))
        parts = train_slots(small(), tmp_path / "parts", seed=3)
    assert parts.manifest()["status"] == "interrupted" and parts.manifest()["step"] == 2
    resume_slots(parts.path)
    assert_same_state(whole.path, parts.path)
    assert parts.curve()[-1]["ARI"] == whole.curve()[-1]["ARI"]


def test_a_run_that_fails_says_so_and_starts_again(tmp_path, monkeypatch, whole):
    def fail():
        raise DtisError("the loss is nan")

    out = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(DtisError, match="nan"):
        before_step(patch, 3, fail)
        train_slots(small(), out, seed=3)
    assert BaselineFolder(out).manifest()["status"] == "failed"
    assert_same_state(whole.path, resume_slots(out).path)


def test_the_record_says_what_the_run_was(whole):
    assert whole.settings(SlotSettings) == small()
    manifest = whole.manifest()
    assert manifest["preset"] == "slot-attention/tetrominoes/fast" and manifest["seed"] == 3
    assert manifest["status"] == "finished" and manifest["step"] == LENGTH
    scores = manifest["scores"]["tetrominoes/validation"]
    last = whole.curve()[-1]
    assert scores["images"] == 4 and last["step"] == LENGTH
    assert {name: scores[name] for name in ("ARI", "ARI-FG")} == {
        name: last[name] for name in ("ARI", "ARI-FG")
    }
    trained = load_slots(whole).state_dict()
    assert trained.keys() == SlotTrainer(small(), random_images(2), 0).model.state_dict().keys()
    assert [line["step"] for line in whole.curve()] == sorted(scored_steps(LENGTH))


def test_scores_are_taken_at_equal_factors_to_the_last_step():
    steps = sorted(scored_steps(6400))
    assert len(steps) == 13 and steps[0] == 64 and 640 in steps and steps[-1] == 6400


def test_minutes_become_steps(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(slot_session.time, "process_time", lambda: next(clock))
    assert steps_in(2.0, small()) == 120  # of one second each


@pytest.mark.parametrize("slower", [True, False])
def test_convolutions_are_in_whichever_numbers_are_quicker(monkeypatch, slower):
    def seconds(settings):
        return 1.0 if settings.bfloat16 is slower else 0.5

    monkeypatch.setattr(slot_session, "step_seconds", seconds)
    assert quicker(small()).bfloat16 is not slower


def test_the_command_trains_and_goes_on(tmp_path, capsys, whole):
    out = ["--out", str(whole.path)]
    again = ["baseline", "slot-attention", "tetrominoes", "--steps", "2", "--no-bfloat16", *out]
    refused(capsys, again, "--resume")
    resume = ["baseline", "slot-attention", "--resume", *out]
    other = ["multi-dsprites", "--seed", "3"]
    refused(capsys, [*resume, *other], "its run has PRESET tetrominoes/fast, not multi-dsprites")
    refused(capsys, [*resume, "tetrominoes"], "its run has --seed 3, not 0")
    own = ["tetrominoes", "--seed", "3"]
    refused(capsys, [*resume, *own, "--batch-size", "9"], "its run has --batch-size 2, not 9")
    assert main([*resume, *own]) == 0
    said = capsys.readouterr().out
    assert f"finished at step {LENGTH}: {whole.path}" in said and "ARI-FG" in said


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (["clevr6", "--steps", "1"], ["clevr6", "tetrominoes"]),
        (["tetromino", "--steps", "1"], ["unknown preset"]),
        (["tetrominoes", "--minutes", "0"], ["--minutes", "above 0"]),
        (["tetrominoes", "--steps", "0"], ["length", "at least 1"]),
        (["tetrominoes", "--steps", "1", "--rate", "0"], ["rate", "above 0"]),
        (["tetrominoes", "--steps", "1", "--seed", "-1"], ["--seed"]),
        (["tetrominoes", "--resume"], ["holds no run of slot-attention"]),
    ],
)
def test_what_is_wrong_is_said(tmp_path, capsys, arguments, parts):
    out = tmp_path / "run"
    refused(capsys, ["baseline", "slot-attention", *arguments, "--out", str(out)], *parts)
    assert not out.exists()


def test_a_run_of_other_images_is_not_gone_on_with(tmp_path):
    folder = train_slots(small(length=1), tmp_path / "run")
    folder.update_manifest(data_fingerprint="another")
    with pytest.raises(DtisError, match="had other images"):
        resume_slots(folder.path)


def test_a_record_of_another_method_is_refused(tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert main(["baseline", "k-means", "digits", *out]) == 0
    refused(capsys, ["baseline", "slot-attention", "tetrominoes", "--resume", *out], "clusters")
