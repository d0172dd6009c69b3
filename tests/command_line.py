"""`dtis` called as from a shell, and what it must do with what it refuses."""

import os
import subprocess
import sys
import time

from small_run import SMALL

from dtis_core.cli import main


def train_command(out, *arguments, settings=SMALL):
    """The arguments of a `dtis train` of Tetrominoes with settings."""
    given = [word for setting in settings for word in ("--set", setting)]
    return ["train", "tetrominoes", "--out", str(out), *given, *arguments]


def refused(capsys, arguments, *parts):
    """The command ends with status 2 and one line on stderr that has all the parts."""
    capsys.readouterr()
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dtis: ")]
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0], lines[0]
    return lines[0]


def contents(folder):
    """The bytes of all files below a folder, by their names."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def start(arguments):
    """Start `dtis` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dtis_core.cli", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(file, process):
    """Wait until a file is there, while the process that will write it runs."""
    while not file.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
