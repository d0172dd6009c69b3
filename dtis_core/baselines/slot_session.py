"""A whole run of Slot Attention: images, trainer, run folder, checkpoints, scores over time."""

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dtis_core.baselines.records import BaselineFolder
from dtis_core.baselines.settings import Images, SlotSettings
from dtis_core.baselines.slot_trainer import SlotTrainer, slot_scores
from dtis_core.datasets import SceneDataset
from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import Checkpoint, commit
from dtis_core.scoring.results import score_key
from dtis_core.training.session import between_steps

LOG_EVERY = 20  # steps
CHECKPOINT_SECONDS = 60.0
SCORED = 13  # times in a run, each the same factor later
FIRST = 0.01  # of the length: when it is scored first
TRIALS = 4  # steps that are timed


def step_seconds(settings: SlotSettings) -> float:
    """Return how long one core takes for a step, the median of some trials."""
    data = settings.images.data
    images = settings.images.load(data.train_split, TRIALS * settings.batch_size).images
    trainer, times = SlotTrainer(settings, images, seed=0), []
    for _ in range(TRIALS):
        begun = time.process_time()
        trainer.train_step()
        times.append(time.process_time() - begun)
    return float(np.median(times))


def steps_in(minutes: float, settings: SlotSettings) -> int:
    """Return how many steps one core does in so many minutes."""
    return max(1, round(60 * minutes / step_seconds(settings)))


def quicker(settings: SlotSettings) -> SlotSettings:
    """Return the settings with convolutions in bfloat16, or without: as steps are shorter here.

    It makes steps shorter on a CPU that has it, and ten times as long on one that has not: so one
    image a step must tell.
    """

    def seconds(bfloat16: bool) -> float:
        return step_seconds(replace(settings, bfloat16=bfloat16, batch_size=1))

    return replace(settings, bfloat16=min((True, False), key=seconds))


def scored_steps(length: int) -> set[int]:
    """Return the steps after which a run is scored, the last one among them."""
    return {max(1, round(length * FIRST ** (1 - i / (SCORED - 1)))) for i in range(SCORED)}


def train_slots(settings: SlotSettings, out: Path | str, seed: int = 0) -> BaselineFolder:
    """Train into the folder `out` and return it.

    After a Ctrl-C, or a kill, `resume_slots` goes on. Raises DtisError where the folder holds
    a run, for images that cannot be had, and a loss that is not finite.
    """
    with BaselineFolder(out).writing() as folder:
        learned, scored = _loaded(settings.images)
        trainer = SlotTrainer(settings, learned.images, seed)
        folder.begin(settings, seed, learned.fingerprint, learned.name)
        _Session(folder, trainer, scored).run()
    return folder


def resume_slots(out: Path | str) -> BaselineFolder:
    """Go on with a folder's run to its end: the same weights as if it had never stopped.

    Raises DtisError where there is none, and for other images than it had.
    """
    with BaselineFolder(out).writing() as folder:
        settings, manifest = folder.settings(SlotSettings), folder.manifest()
        learned, scored = _loaded(settings.images)
        if learned.fingerprint != manifest["data_fingerprint"]:
            raise DtisError(f"{folder.path}: its run had other images; restore them, or train anew")
        session = _Session(folder, SlotTrainer(settings, learned.images, manifest["seed"]), scored)
        if folder.checkpoint_file.is_file():
            session.go_on()
        else:
            folder.start_again()
        folder.note_resumption(session.trainer.step)
        session.run()
    return folder


def _loaded(images: Images) -> tuple[SceneDataset, SceneDataset]:
    """Return the images to learn from, and those to be scored on."""
    data = images.data
    return images.load(data.train_split, data.count), images.load(data.score_split, data.held_out)


@dataclass
class _Session:
    """The loop of a run, and what it writes."""

    folder: BaselineFolder
    trainer: SlotTrainer
    scored: SceneDataset
    seconds: float = 0.0  # of steps, by the wall's clock
    cpu_seconds: float = 0.0  # of steps, on cores of this process
    losses: list[float] = field(default_factory=list)  # since the last line of metrics

    def go_on(self) -> None:
        """Bring a new trainer to where the folder's run ended."""
        checkpoint = self.folder.checkpoint()
        self.trainer.load_state(checkpoint.state, checkpoint.step, self.folder.checkpoint_file)
        self.folder.forget_after(checkpoint.step)
        self.seconds = checkpoint.wall_seconds
        self.cpu_seconds = self.folder.metrics()[-1]["cpu_seconds"]  # of the same step

    def run(self) -> None:
        """Train to the end; save at intervals, at an interrupt and at the end."""
        length = self.trainer.settings.length
        try:
            self._learn(length)
        except BaseException:
            with suppress(DtisError):  # a full disk has no room for this, either
                self.folder.update_manifest(status="failed")
            raise
        self._save("interrupted" if self.trainer.step < length else "finished")

    def _learn(self, length: int) -> None:
        trainer, at, saved = self.trainer, scored_steps(length), time.monotonic()
        bar = tqdm(total=length, initial=trainer.step, unit="step", mininterval=20.0)
        with bar, between_steps() as interrupted:
            while trainer.step < length and not interrupted():
                self._step()
                bar.update()
                if trainer.step in at or trainer.step % LOG_EVERY == 0:
                    self._log(trainer.step in at)
                    if time.monotonic() - saved > CHECKPOINT_SECONDS:
                        self._save("running")
                        saved = time.monotonic()
        if self.losses:
            self._log(score=False)

    def _step(self) -> None:
        wall, cpu = time.monotonic(), time.process_time()
        self.losses.append(self.trainer.train_step())
        self.seconds += time.monotonic() - wall
        self.cpu_seconds += time.process_time() - cpu

    def _log(self, score: bool) -> None:
        """Write a line of metrics, with scores of the images to be scored on if wanted."""
        trainer = self.trainer
        scores = slot_scores(trainer.model, self.scored) if score else {}
        self.folder.log(
            step=trainer.step,
            loss=float(np.mean(self.losses)),
            seconds=round(self.seconds, 2),
            cpu_seconds=round(self.cpu_seconds, 2),
            **scores,
        )
        self.losses.clear()
        if scores and trainer.step == trainer.settings.length:
            data = trainer.settings.images.data
            about = {"data": self.scored.name, "images": len(self.scored)}
            about |= {"split": data.score_split, "scored_by_commit": commit()}
            self.folder.note_scores(score_key(data.name, data.score_split), about | scores)

    def _save(self, status: str) -> None:
        trainer = self.trainer
        checkpoint = Checkpoint(trainer.state(), trainer.step, self.seconds)
        self.folder.save(checkpoint, trainer.model.state_dict(), status, trainer.device)
        self.folder.update_manifest(cpu_seconds=round(self.cpu_seconds, 1))
