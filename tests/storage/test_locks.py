"""Locks: one holder at a time, across processes, and none left by a killed one."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from dtis_core.errors import DtisError
from dtis_core.storage.locks import locked

HOLD = """
import sys
from pathlib import Path
from dtis_core.storage.locks import locked
with locked(Path(sys.argv[1]), "here"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.communicate()


def test_the_second_is_refused_and_told_who_holds_it(tmp_path, holder):
    message = f"here: in use by process {holder.pid} on .*; wait until it ends"
    with pytest.raises(DtisError, match=message), locked(tmp_path / ".lock", "here"):
        pytest.fail("locked twice")
    holder.communicate()
    with locked(tmp_path / ".lock", "here"):
        pass


def test_the_second_may_wait_for_the_first(tmp_path, holder):
    begun = time.monotonic()
    with pytest.raises(DtisError, match="here: in use"), locked(tmp_path / ".lock", "here", 0.1):
        pytest.fail("locked twice")
    assert time.monotonic() - begun >= 0.1
    end = threading.Timer(0.2, holder.communicate)
    end.start()
    with locked(tmp_path / ".lock", "here", patience=60):
        assert f"process {os.getpid()}" in (tmp_path / ".lock").read_text()
    end.join()


def test_a_killed_holder_does_not_block(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".lock").exists()
    with locked(tmp_path / ".lock", "here"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_it_is_released_when_its_block_fails(tmp_path):
    path = tmp_path / "new" / ".lock"
    with pytest.raises(ZeroDivisionError), locked(path, "here"):
        with pytest.raises(DtisError, match="here: in use by process"), locked(path, "here"):
            pytest.fail("locked twice")
        raise ZeroDivisionError
    with locked(path, "here"):
        assert path.exists()
    assert not path.exists()


def test_a_link_or_a_folder_in_its_place_is_refused(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "link").symlink_to(precious)
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder", "precious/lock"):
        with pytest.raises(DtisError, match=f"{name}: cannot be opened as a lock file"):
            with locked(tmp_path / name, "here"):
                pytest.fail("locked")
    assert precious.read_text() == "kept"
