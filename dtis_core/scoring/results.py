"""The table of data sets: what the shipped runs reached, beside the paper."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dtis_core.config import Config, load_preset
from dtis_core.errors import DtisError
from dtis_core.paths import SHIPPED
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import SEEKING
from dtis_core.scoring.metrics import summarise
from dtis_core.scoring.papers_rule import SUFFIX
from dtis_core.search.inference import INFERENCES
from dtis_core.storage.files import as_object

NOT_RUN = "not run"
NO_NUMBER = "–"
SPLITS = {
    "validation": "validation",
    "final": "final",
    "train": "first 320 trained on, as in the paper",
}
"""What settled presets are scored on, and its words in the table."""


@dataclass(frozen=True)
class Row:
    """A data set of the paper: the preset that trains on it, and the paper's scores in percent.

    From Tables 1 to 5 of the paper. `settings` are what `--set` changes of the preset.
    """

    title: str
    preset: str
    paper: dict[str, str]
    settings: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command that runs it."""
        return " ".join(["dtis train", self.preset, *(f"--set {text}" for text in self.settings)])


TETROMINOES = {
    "ARI": "99.8 ± 0.1",
    "ARI-FG": "99.6 ± 0.2",
    "mACC": "99.5 ± 0.2",
    "mIoU": "99.1 ± 0.4",
}
MULTI_DSPRITES = {
    "ARI": "95.1 ± 0.1",
    "ARI-FG": "92.5 ± 0.3",
    "mACC": "91.3 ± 0.9",
    "mIoU": "84.0 ± 1.4",
}
ROWS = (
    Row("Tetrominoes (generated)", "tetrominoes/fast", TETROMINOES),
    Row("Tetrominoes, trained for longer", "tetrominoes/fast", TETROMINOES,
        ("training.length=12000", "training.cosine_from=3500")),
    Row("Multi-dSprites (generated)", "multi-dsprites/fast", MULTI_DSPRITES),
    Row("Multi-dSprites, trained for longer", "multi-dsprites/fast", MULTI_DSPRITES,
        ("training.length=14000",)),
    Row("CLEVR6 (rendered, not official)", "clevr6-rendered/fast",
        {"ARI": "90.7 ± 0.1", "ARI-FG": "97.2 ± 0.2", "mACC": "73.9 ± 2.1", "mIoU": "56.3 ± 2.9"}),
    Row("Multi-dSprites2 (generated)", "multi-dsprites2/fast", {"ARI": "95.2 ± 1.9"}),
    Row("Multi-dSprites2, exhaustive search", "multi-dsprites2/fast", {"ARI": "95.9 ± 0.3"},
        ("model.selection=exhaustive",)),
    Row("GTSRB-8 (real)", "gtsrb8/fast", {"accuracy": "89.4", "NMI": "–"}),
    Row("GTSRB-8 (real), DTI-Clustering", "gtsrb8/clustering", {"accuracy": "54.3", "NMI": "–"}),
    Row("SVHN (real)", "svhn/paper", {"accuracy": "63.1", "NMI": "–"}),
    Row("house numbers (generated)", "svhn-drawn/fast", {"accuracy": "–", "NMI": "–"}),
    Row("house numbers (generated), DTI-Clustering", "svhn-drawn/clustering",
        {"accuracy": "–", "NMI": "–"}),
    Row("Weizmann Horse (real)", "weizmann/fast", {"accuracy": "87.9", "IoU": "–"}),
    Row("digits (real)", "digits/fast", {"accuracy": "–", "NMI": "–"}),
)  # fmt: skip


def shipped_runs(preset: str, settings: Iterable[str] = ()) -> list[RunFolder]:
    """Return the shipped runs of exactly a preset with such `settings`, by seed.

    How its scenes are sought is not what it was trained with: its scores say that.
    """
    wanted = load_preset(preset).override(list(settings))
    folders = [RunFolder(path.parent) for path in SHIPPED.glob("*/manifest.json")]
    # The manifests first, for a configuration takes longer to read.
    named = [folder for folder in folders if folder.manifest()["preset"] == wanted.preset]
    found = [folder for folder in named if _sought_as(wanted, folder.config()) == wanted]
    return sorted(found, key=lambda folder: folder.manifest()["seed"])


def _sought_as(other: Config, config: Config) -> Config:
    """Return a configuration with what a trained model may be set to as in another one."""
    settings = {name: getattr(other.search, name) for name in SEEKING}
    return replace(config, search=replace(config.search, **settings))


def existing(names: Iterable[str], home: Path = SHIPPED) -> list[RunFolder]:
    """Return those of some run folders that are there, in the given order."""
    folders = [RunFolder(home / name) for name in names]
    return [folder for folder in folders if folder.exists]


def seeds_of(name: str) -> list[RunFolder]:
    """Return the shipped runs of one kind: the record `name`, then `name-seed1` and on."""
    found = existing([name])
    later = (path.parent for path in SHIPPED.glob(f"{name}-seed*/manifest.json"))
    return found + sorted(map(RunFolder, later), key=lambda folder: folder.manifest()["seed"])


def score_key(data: str, split: str, inference: str = "best", settings: Sequence[str] = ()) -> str:
    """Return what a manifest files scores under.

    Those of one look, and of a search with other settings, lie beside the best ones.
    """
    how = [] if inference == "best" else [inference]
    return "/".join([data, split, *how, *settings])


def recorded_scores(folder: RunFolder, inference: str = "best") -> dict | None:
    """Return a run's scores on the data and split that its configuration names, None without."""
    data = folder.config().data
    key = score_key(data.name, data.score_split, inference)
    return folder.manifest().get("scores", {}).get(key)


def own_scores(folder: RunFolder, inference: str = "best") -> dict:
    """Return `recorded_scores`. Raises DtisError where the run was not scored so."""
    scores = recorded_scores(folder, inference)
    if scores is None:
        data = folder.config().data
        key = score_key(data.name, data.score_split, inference)
        raise DtisError(f"{folder.path}: has no scores on {key}; make them with dtis eval")
    return scores


def percent(values: list[float], scale: float = 100, digits: int = 1) -> str:
    """Return mean and, of several values, the sample's deviation: of fractions, in percent.

    Other measures have another `scale`, and so many `digits` after the point.
    """
    mean, deviation = (scale * part for part in summarise(values))
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if len(values) > 1 else "")


def score_cell(scores: Sequence[dict], name: str) -> str:
    """Return a score's `percent`, and that by the paper's rule where it reads otherwise."""
    ours = percent([s[name] for s in scores])
    papers = percent([s.get(name + SUFFIX, s[name]) for s in scores])
    return ours if papers == ours else f"{ours} ({papers} by the paper's rule)"


def score_cells(
    folders: Sequence[RunFolder], scores: Iterable[str], inference: str = "best"
) -> dict[str, str]:
    """Return cells of a table: each score's mean and deviation over runs; without any, "not run".

    Raises DtisError for a run that was not scored so.
    """
    fields = dict.fromkeys(scores, float)
    found = [
        as_object(own_scores(folder, inference), f"{folder.path}/manifest.json: scores", fields)
        for folder in folders
    ]
    return {name: percent([s[name] for s in found]) if found else NOT_RUN for name in fields}


def result_table() -> list[dict[str, str]]:
    """Return lines for each of `ROWS`, with mean and deviation over all shipped seeds.

    One line for each inference that runs were scored by; one that says so where nothing was run.
    """
    lines = []
    for row in ROWS:
        folders = shipped_runs(row.preset, row.settings)
        scored = {name: [f for f in folders if recorded_scores(f, name)] for name in INFERENCES}
        found = [_line(row, name, folders) for name, folders in scored.items() if folders]
        lines += found or [_line(row, NO_NUMBER, [])]
    return lines


def short_table() -> list[dict[str, str]]:
    """Return a line for each data set: the first of its scores, by either inference."""
    lines: dict[str, dict[str, str]] = {}
    for line in result_table():
        first = {name: line[name].split(" / ")[0] for name in ("measure", "paper", "here")}
        short = lines.setdefault(
            line["data"],
            {
                "data": line["data"],
                "preset": line["command"].replace("dtis train ", ""),
                "score": first["measure"],
                "paper": first["paper"],
                **dict.fromkeys(INFERENCES, NO_NUMBER),
                "runs": line["seeds"],
                "minutes": line["minutes"],
            },
        )
        if line["inference"] in INFERENCES:
            short[line["inference"]] = first["here"]
            short |= {"runs": line["seeds"], "minutes": line["minutes"]}
    return [line for line in lines.values() if line["runs"] != "0"]


def split_table() -> list[dict[str, str]]:
    """Return lines of the runs of `ROWS` that were scored on each of `SPLITS`, by each inference.

    So it shows whether choices by `validation`, or training, fit those images more than others.
    """
    lines = []
    for row in ROWS:
        for folder in shipped_runs(row.preset, row.settings):
            lines += [line for name in INFERENCES if (line := _splits(row, folder, name))]
    return lines


def _splits(row: Row, folder: RunFolder, inference: str) -> dict[str, str]:
    """Return a run's line of `split_table`; nothing without a score on each of the splits."""
    name, scored = folder.config().data.name, folder.manifest().get("scores", {})
    on = {split: scored.get(score_key(name, split, inference)) for split in SPLITS}
    if not all(on.values()):
        return {}
    line = {"data": row.title, "seed": str(folder.manifest()["seed"]), "inference": inference}
    line["measure"] = " / ".join(row.paper)
    line["paper"] = " / ".join(row.paper.values())
    for split, scores in on.items():
        line[SPLITS[split]] = " / ".join(percent([scores[name]]) for name in row.paper)
    return line


def _line(row: Row, inference: str, folders: Sequence[RunFolder]) -> dict[str, str]:
    """Return a row's line of the runs that were scored by an inference."""
    scores = [recorded_scores(folder, inference) for folder in folders]
    times = [s["ms_per_image"] for s in scores if "ms_per_image" in s]
    minutes = [folder.manifest()["wall_seconds"] / 60 for folder in folders]
    here = [score_cell(scores, name) for name in row.paper] if scores else ["not yet run"]
    return {
        "data": row.title,
        "command": f"`{row.command}`",
        "measure": " / ".join(row.paper),
        "paper": " / ".join(row.paper.values()),
        "inference": inference,
        "here": " / ".join(here),
        "ms an image": _rounded_mean(times),
        "seeds": str(len(folders)),
        "minutes": _rounded_mean(minutes),
    }


def _rounded_mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.0f}" if values else NO_NUMBER


def markdown(lines: list[dict[str, str]]) -> str:
    """Return lines as a Markdown table."""
    head = list(lines[0])
    rows = [head, ["---"] * len(head), *(list(line.values()) for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
