"""Two processes and one run folder: the second is refused, and a killed one is no obstacle."""

import signal
import time

import pytest
from command_line import refused, start, train_command, wait_for
from small_run import SMALL

from dtis_core.cli import main
from dtis_core.runs.run_folder import RunFolder

LONG = [*SMALL, "training.length=100000"]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_two_trainings_do_not_mix_and_a_killed_one_frees_the_folder(tmp_path, capsys):
    folder = RunFolder(tmp_path / "run")
    arguments = train_command(folder.path, "--checkpoint-seconds", "0", settings=LONG)
    process = start(arguments)
    try:
        wait_for(folder.checkpoint_file, process)
        for way in ([], ["--resume"], ["--overwrite"]):
            refused(capsys, arguments + way, f"{folder.path}: in use by process {process.pid} on ")
        folder.note_scores("tetrominoes/validation", {"ARI": 0.5})
        step = folder.manifest()["step"]
        while folder.manifest()["step"] <= step:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        assert folder.manifest()["scores"] == {"tetrominoes/validation": {"ARI": 0.5}}
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert (folder.path / ".lock").exists()
    end = folder.checkpoint().step + 2
    assert main([*arguments, "--resume", "--max-steps", str(end)]) == 0
    assert folder.manifest()["step"] == end and folder.manifest()["status"] == "stopped"
    assert list(folder.path.rglob(".*")) == []
