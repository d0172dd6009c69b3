"""A notebook that runs: its papermill process, how it ended, and signals that ask all to end."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from dtis_core.errors import DtisError
from dtis_core.workbook.notebook import Notebook

GRACE_SECONDS = 5.0
MOST_STARTS = 3
NO_KERNEL = "Kernel died before replying to kernel_info"
"""What papermill says when a kernel found its port taken: two that start at once may choose one."""


@dataclass
class Job:
    """A notebook that runs, or has ended, in `process`, which `launch` started."""

    notebook: Notebook
    folder: Path
    launch: Callable[[], subprocess.Popen]
    process: subprocess.Popen
    started: float
    starts: int = 1
    overran: bool = False

    @staticmethod
    def start(notebook: Notebook, folder: Path, environment: dict[str, str]) -> "Job":
        """Start papermill on a notebook, in a new folder that no other notebook uses."""
        (folder / "figures").mkdir(parents=True)
        command = [
            *(sys.executable, "-m", "papermill", str(notebook.path), str(folder / "run.ipynb")),
            *("--kernel", "python3", "--language", "python"),
            *("--cwd", str(notebook.path.parent)),
            *("--start-timeout", "120", "--no-progress-bar", "--log-output"),
        ]
        if notebook.parameters:
            command += ["--parameters_yaml", yaml.safe_dump(notebook.parameters)]
        # IPYTHONDIR: a user's own start-up files must not change what a notebook does.
        places = {"DTIS_FIGURES": str(folder / "figures"), "IPYTHONDIR": str(folder / "ipython")}

        def launch() -> subprocess.Popen:
            with (folder / "log.txt").open("w") as log:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment | places,
                )

        return Job(notebook, folder, launch, launch(), time.monotonic())

    @property
    def executed(self) -> Path:
        """The executed copy, which papermill writes anew after every cell."""
        return self.folder / "run.ipynb"

    @property
    def page(self) -> Path:
        """The executed copy for a browser."""
        return self.folder / "run.html"

    def is_over(self, timeout: float) -> bool:
        """Whether the process has ended, of itself or because its time ran out.

        One whose kernel never came up is started again, and is not over.
        """
        if self.process.poll() is None and time.monotonic() - self.started > timeout:
            self.overran = True
            stop([self])
        if self.process.poll() is None:
            return False
        if self.overran or self.starts == MOST_STARTS or NO_KERNEL not in self._log():
            return True
        self.starts += 1
        self.process = self.launch()
        return False

    def _log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")

    def check(self, timeout: float) -> None:
        """Raise DtisError, with the last line of the log, unless the notebook ended well."""
        if self.process.returncode == 0 and not self.overran:
            return
        log = re.sub(r"\x1b\[[\d;]*m", "", self._log())
        (self.folder / "log.txt").write_text(log)
        if self.overran:
            cell = (re.findall(r"^Executing Cell (\d+)", log, re.MULTILINE) or ["1"])[-1]
            raise DtisError(f"stopped in cell {cell} after the timeout of {timeout:g} s")
        lines = [line for line in log.splitlines() if line.strip()]
        raise DtisError(lines[-1] if lines else f"exit code {self.process.returncode}")


def stop(jobs: list[Job]) -> None:
    """End the processes of jobs; their kernels watch them and end too."""
    for job in jobs:
        job.process.terminate()
    for job in jobs:
        try:
            job.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            job.process.kill()
            job.process.wait()


@contextmanager
def requests_to_end() -> Iterator[list[int]]:
    """Yield a list that gets the number of every signal that asks this process to end.

    Who looks at it between two steps leaves none half done. A second Ctrl-C acts at once, and what
    was ignored before, as a hang-up is under nohup, still is. Only a process's main thread gets
    signals; in others the list stays empty.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, former[signal.SIGINT])

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    former = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    for number, handler in former.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def environment() -> dict[str, str]:
    """Return every notebook's environment: this Python's kernel, inline figures, one thread."""
    variables = dict(os.environ)
    for name in ("MPLBACKEND", "JUPYTER_PATH"):
        variables.pop(name, None)
    variables |= {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONHASHSEED": "0"}
    for name in ("DTIS_DATA", "DTIS_CACHE"):  # relative to where the user stands, not notebooks/
        if variables.get(name):
            variables[name] = os.path.abspath(variables[name])
    # As when outputs were stored: sums in another order can tip a search between close scenes.
    variables.setdefault("OMP_NUM_THREADS", "1")
    return variables
