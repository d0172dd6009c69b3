"""A whole training run: data, trainer, run folder, progress, health checks, checkpoints, scores."""

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dtis_core import datasets
from dtis_core.config import SECTIONS, Config, load_preset
from dtis_core.errors import DtisError
from dtis_core.runs.record_files import check_same
from dtis_core.runs.run_folder import Checkpoint, RunFolder
from dtis_core.threads import chosen_threads
from dtis_core.training.health import Health
from dtis_core.training.ranks import ranks_on
from dtis_core.training.trainer import Trainer

LOG_EVERY = 20  # steps
CHECKPOINT_SECONDS = 45.0
SNAPSHOTS = 40  # per run
Watcher = Callable[[Trainer, list[float]], bool]
"""Called after every logged step with the trainer and all losses; True stops the run."""


def check_device(device: str) -> str:
    """Return a usable device name. Raises DtisError for an unknown or absent one."""
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = None
    if kind not in ("cpu", "cuda"):
        raise DtisError(f"--device {device:.80}: not a device known here; use cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DtisError(f"--device {device}: torch finds no CUDA GPU here; use --device cpu")
    return device


def train(  # noqa: PLR0913 - a keyword for each option of `dtis train`
    config: Config | str,
    out: Path | str,
    seed: int = 0,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    max_steps: int | None = None,
    watcher: Watcher | None = None,
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> RunFolder:
    """Train a model into the run folder `out`, to its end or to `max_steps`, and return it.

    `config` is a configuration or the name of a preset, such as "tetrominoes/quick".

    `resume` continues the folder's run, with identical results on a CPU; the configuration and
    seed must be the folder's own. Processes that torchrun started are the `Ranks` of one run,
    however many it had before. A run with a watcher has `chosen_threads`, for it shares its cores
    with those who watch. A Ctrl-C or a watcher's stop leaves a usable folder. Raises
    DtisError for bad input, a folder in use, a loss that is not finite or a disk that is full;
    after that, as after any other exception, the run's status is "failed".
    """
    if not 0 <= seed < 2**32:
        raise DtisError(f"seed: must be in 0..{2**32 - 1}, found {seed}")
    if max_steps is not None and max_steps < 1:
        raise DtisError(f"max_steps: must be at least 1, found {max_steps}")
    if not checkpoint_seconds >= 0:  # nan, too, would never be over
        raise DtisError(f"checkpoint_seconds: must be 0 or more, found {checkpoint_seconds}")
    config = load_preset(config) if isinstance(config, str) else config
    ranks = ranks_on(check_device(device))
    with ranks.folder(out).writing() as folder:
        data = datasets.load_for(config, config.data.train_split, config.data.count)
        trainer = Trainer(config, data.images, seed, ranks.device, ranks)
        if resume:
            seconds = _go_on(folder, trainer, data.fingerprint)
        else:
            seconds = 0.0
            if overwrite:
                folder.clear()
            folder.begin(config, seed, data.fingerprint, data.name)
        if not ranks.rank and folder.manifest().get("ranks", 1) != ranks.count:
            folder.update_manifest(ranks=ranks.count)
        end = min(trainer.length, max_steps or trainer.length)
        try:
            quiet = quiet or ranks.rank > 0
            with chosen_threads() if watcher else nullcontext():
                _Session(folder, trainer, end, seconds, watcher, quiet, checkpoint_seconds).run()
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            with suppress(DtisError):  # a full disk has no room for this, either
                folder.update_manifest(status=status)
            raise
    return folder


def _go_on(folder: RunFolder, trainer: Trainer, fingerprint: str) -> float:
    """Bring a new trainer to where the folder's run ended; return the run's seconds so far."""
    check_same_run(folder, trainer.config, trainer.seed, fingerprint)
    if not folder.checkpoint_file.is_file():
        folder.start_again()
        folder.note_resumption(0)
        return 0.0
    checkpoint = folder.checkpoint()
    trainer.load_state(checkpoint.state, checkpoint.step, folder.checkpoint_file)
    folder.forget_after(trainer.step)
    folder.note_resumption(trainer.step)
    return checkpoint.wall_seconds


def check_same_run(folder: RunFolder, config: Config, seed: int, fingerprint: str) -> None:
    """Raise DtisError where a folder's run is not the one to be resumed."""

    def named(config: Config) -> dict[str, object]:
        sections = config.to_dict()
        return {f"{s}.{key}": value for s in SECTIONS for key, value in sections[s].items()}

    check_same(folder.path, named(folder.config()), named(config), sign="=")
    check_same(folder.path, folder.manifest(), {"seed": seed, "data_fingerprint": fingerprint})


@contextmanager
def between_steps(firmly: bool = False) -> Iterator[Callable[[], bool]]:
    """Hold back a Ctrl-C, so that no step is half done; the yielded function tells of it.

    A second Ctrl-C acts at once, unless it is to be held back `firmly`. Only a process's main
    thread gets signals; others hold nothing.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    former = signal.getsignal(signal.SIGINT)

    def press(number: int, frame: object) -> None:
        pressed.set()
        if not firmly:
            signal.signal(signal.SIGINT, former)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, former)


@dataclass
class _Session:
    """One process's share of a run."""

    folder: RunFolder
    trainer: Trainer
    end: int  # the step to stop at
    spent: float  # seconds that earlier processes took
    watcher: Watcher | None
    quiet: bool
    checkpoint_seconds: float

    def __post_init__(self) -> None:
        trainer = self.trainer
        self.whole = True  # no step is half done
        self.started = time.monotonic() - self.spent
        self.saved = time.monotonic()
        self.losses: list[float] = []
        self.recent: deque[float] = deque(maxlen=LOG_EVERY)
        self.health = Health(trainer.blank_error())
        self.bar = tqdm(
            total=self.end,
            initial=trainer.step,
            unit="step",
            disable=self.quiet,
            dynamic_ncols=True,
            # In a log each tick is a line of its own.
            mininterval=1.0 if sys.stderr.isatty() else 20.0,
        )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def run(self) -> None:
        """Train to the end; save at intervals, at an interrupt and at the end."""
        trainer = self.trainer
        status = "interrupted"
        every = max(1, trainer.length // SNAPSHOTS)
        try:
            # torchrun sends a Ctrl-C once more, and no rank may leave the others within a step.
            with between_steps(firmly=trainer.ranks.count > 1) as interrupted:
                while trainer.step < self.end:
                    self.whole = False
                    self.recent.append(trainer.train_step())
                    self.whole = True
                    self.bar.update()
                    if trainer.step % every == 0 or trainer.step == self.end:
                        self.folder.snapshot(trainer.model_for_use(), trainer.step)
                    if trainer.step % LOG_EVERY == 0 or trainer.step == self.end:
                        if self._log():
                            break
                    if time.monotonic() - self.saved > self.checkpoint_seconds:
                        self._save("running")
                    if trainer.ranks.any(interrupted()):
                        raise KeyboardInterrupt
            status = "finished" if trainer.step >= trainer.length else "stopped"
        except KeyboardInterrupt:
            where, lost = ("at", "") if self.whole else ("within", " from the last checkpoint")
            self._say(f"interrupted {where} step {trainer.step}; continue with --resume{lost}")
        finally:
            self.bar.close()
        if self.whole:
            self._save(status)
        else:
            self.folder.update_manifest(status=status)

    def _say(self, line: str) -> None:
        if not self.trainer.ranks.rank:
            self.bar.write(line)

    def _save(self, status: str) -> None:
        trainer = self.trainer
        checkpoint = Checkpoint(trainer.state(), trainer.step, self.seconds)
        weights = trainer.model_for_use().state_dict()
        self.folder.save(checkpoint, weights, status, trainer.device)
        self.saved = time.monotonic()

    def _log(self) -> bool:
        """Write a line of metrics; return whether the watcher wants to stop."""
        trainer = self.trainer
        loss = float(np.mean(self.recent))
        self.losses.append(loss)
        problems = self.health.problems(trainer, loss)
        for line in self.health.news(problems):
            self._say(line)
        rate = trainer.config.training.batch_size * trainer.step / max(self.seconds, 1e-9)
        self.folder.log(
            step=trainer.step,
            loss=loss,
            seconds=round(self.seconds, 2),
            network_rate=trainer.optimizer.param_groups[0]["lr"],
            reassigned=trainer.reassigned,
            dead_sprites=trainer.dead_sprites,
            layers_used=[round(share, 3) for share in trainer.layers_used.tolist()],
            **({"problems": problems} if problems else {}),
        )
        self.bar.set_postfix_str(f"loss {loss:.4f}, {rate:.0f} images/s", refresh=False)
        return bool(self.watcher and self.watcher(trainer, self.losses))
