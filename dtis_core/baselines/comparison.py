"""Rivals beside ours: the recorded runs of both on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

from dtis_core.baselines.records import BaselineFolder, shipped_baselines
from dtis_core.baselines.settings import SlotSettings
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scoring.results import ROWS, own_scores, percent, shipped_runs

SCENE_SCORES = ("ARI-FG", "ARI")
CLUSTER_SCORES = ("accuracy", "NMI")
PUBLISHED = {"tetrominoes/fast": "99.5 ± 0.2", "multi-dsprites/fast": "91.3 ± 0.3"}
"""ARI-FG of Slot Attention by Table 1, on the official images, after 500,000 steps on a GPU."""
MINUTE = 60  # seconds


@dataclass(frozen=True)
class Race:
    """Runs of Slot Attention and of ours on the images of one preset."""

    title: str
    published: str  # ARI-FG of the rival, in percent
    rivals: Sequence[BaselineFolder]
    ours: Sequence[RunFolder]

    @property
    def data(self) -> str:
        """The name of the data set."""
        return self.rivals[0].settings(SlotSettings).images.data.name

    @property
    def minutes(self) -> float:
        """How long the longest of ours trained."""
        return max(folder.manifest()["wall_seconds"] for folder in self.ours) / MINUTE

    def rows(self) -> list[dict[str, str]]:
        """Return a table: ours by each inference; rivals in no fewer minutes; the published one.

        A rival that trained for longer has two lines: when it was first scored after the longest of
        ours had ended, and at its own end.
        """
        rows = []
        for way, how in {"one look": "one-look", "best": "best"}.items():
            scores = [own_scores(folder, how) for folder in self.ours]
            rows.append(_row(f"DTI-Sprites, {way}", self.minutes, scores))
        for rival in self.rivals:
            curve = rival.curve()
            after = [line for line in curve if minutes_of(line) >= self.minutes]
            chosen = {line["step"]: line for line in (*after[:1], curve[-1])}
            for step, line in chosen.items():
                method = f"Slot Attention, {label(rival)}, {step:,} steps"
                rows.append(_row(method, minutes_of(line), [line]))
        published = {"minutes": "on a GPU", "ARI-FG": self.published, "ARI": "–"}
        rows.append({"method": "Slot Attention, published, 500,000 steps"} | published)
        return [{"images": self.title} | row for row in rows]


def label(rival: BaselineFolder) -> str:
    """Return what tells runs of Slot Attention apart."""
    return f"seed {rival.manifest()['seed']}, rate {rival.settings(SlotSettings).rate:g}"


def minutes_of(line: dict) -> float:
    """Return the processor's minutes up to a line of metrics."""
    return line["cpu_seconds"] / MINUTE


def _row(method: str, minutes: float, scores: Sequence[dict]) -> dict[str, str]:
    shown = {name: percent([score[name] for score in scores]) for name in SCENE_SCORES}
    return {"method": method, "minutes": f"{minutes:.0f}"} | shown


def races() -> list[Race]:
    """Return what was recorded of Slot Attention, beside ours on the same images."""
    found = []
    for row in ROWS:
        rivals = shipped_baselines(f"slot-attention/{row.preset}")
        if rivals and not row.settings:
            ours = shipped_runs(row.preset)
            found.append(Race(row.title, PUBLISHED[row.preset], rivals, ours))
    return found


def race_table() -> list[dict[str, str]]:
    """Return the tables of all races in one."""
    return [row for race in races() for row in race.rows()]


def k_means_table() -> list[dict[str, str]]:
    """Return what K-means reached, a line for each preset whose images it clustered."""
    rows = []
    for row in ROWS:
        folders = shipped_baselines(f"k-means/{row.preset}")
        scores = [score for folder in folders for score in folder.manifest()["scores"].values()]
        if scores:
            shown = {name: percent([s[name] for s in scores]) for name in CLUSTER_SCORES}
            rows.append(
                {"images": row.title, "method": "K-means"} | shown | {"runs": str(len(scores))}
            )
    return rows
