"""Which of the paper's claims hold here, by one rule for all and from recorded scores alone.

A claim is about a level, such as an ARI of 95.1, or about two ways that differ, or do not, such as
with and without mask noise. The words of a verdict:

reached, not reached     a level: our mean lies above the paper's, or below by at most its deviation
holds, does not hold     a difference: of the paper's sign and more than twice its deviation, or of
                         the other sign; equality: a difference within twice the deviation of either
same sign, not sure      a difference of the paper's sign, with a single run on a side, or less than
                         twice its deviation
not run                  there is no record
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dtis_core.scoring.metrics import summarise
from dtis_core.scoring.results import (
    NO_NUMBER,
    NOT_RUN,
    ROWS,
    Row,
    own_scores,
    percent,
    recorded_scores,
    seeds_of,
    shipped_runs,
)
from dtis_core.search.inference import INFERENCES


@dataclass(frozen=True)
class Difference:
    """A claim that one way scores more than another, or as much.

    `paper` are the paper's scores in percent of both ways, empty where it gives none; `ways` the
    records of both, see `seeds_of`.
    """

    place: str
    claim: str
    score: str
    paper: tuple[str, str]
    ways: tuple[str, str]
    equal: bool = False


DIFFERENCES = (
    Difference("Table 2", "greedy search is as good as an exhaustive one", "ARI",
        ("95.2 ± 1.9", "95.9 ± 0.3"), ("multi-dsprites2-greedy", "multi-dsprites2-exhaustive"),
        equal=True),
    Difference("Table 2", "predicted occlusions beat fixed ones", "ARI",
        ("95.0 ± 0.3", "94.2 ± 0.2"),
        ("multi-dsprites-occlusion-predicted", "multi-dsprites-occlusion-fixed")),
    Difference("Table 2", "transformations shared in a layer beat a sprite's own", "ARI",
        ("99.8 ± 0.1", "82.6 ± 12.2"), ("tetrominoes", "tetrominoes-specific")),
    Difference("Sec. C.3", "noise on masks helps", "ARI",
        ("99.8 ± 0.1", "89.1"), ("tetrominoes", "tetrominoes-no-noise")),
    Difference("Sec. C.3", "noise on masks helps", "ARI-FG",
        ("99.6 ± 0.2", "77.8"), ("tetrominoes", "tetrominoes-no-noise")),
    Difference("Table 3", "masks and a background beat DTI-Clustering", "accuracy",
        ("89.4", "54.3"), ("gtsrb8", "gtsrb8-clustering")),
    Difference("supplement, Sec. B.2", "with λ = 0 objects are taken apart", "ARI-FG", ("", ""),
        ("multi-dsprites-quick", "multi-dsprites-penalty-0")),
    Difference("supplement, Sec. B.2", "with λ = 1e-3 objects are missed", "ARI-FG", ("", ""),
        ("multi-dsprites-quick", "multi-dsprites-penalty-1e-3")),
)  # fmt: skip
CHOSEN_ON = {"gtsrb8": 3}  # how many of a way's first seeds its settings were chosen on


def levels() -> list[dict[str, str]]:
    """Return a line for each data set of `ROWS`, score and inference: paper, here, n, verdict."""
    return [
        _level(row, score, inference)
        for row in ROWS
        for score in row.paper
        if re.match(r"\d", row.paper[score])
        for inference in INFERENCES
    ]


def _level(row: Row, score: str, inference: str) -> dict[str, str]:
    folders = shipped_runs(row.preset, row.settings)
    scores = [recorded_scores(folder, inference) for folder in folders]
    found = [one[score] for one in scores if one]
    return {
        "data": row.title, "score": score, "inference": inference, "paper": row.paper[score],
        "here": percent(found) if found else NO_NUMBER, "n": str(len(found)),
        "verdict": level_verdict(row.paper[score], found),
    }  # fmt: skip


def differences() -> list[dict[str, str]]:
    """Return a line for each of `DIFFERENCES`, by `best`, without seeds that were chosen on."""
    lines = []
    for one in DIFFERENCES:
        first, second = (_scores(way, one.score) for way in one.ways)
        here = [percent(values) if values else NOT_RUN for values in (first, second)]
        lines.append({
            "paper's": one.place, "claim": one.claim, "score": one.score,
            "paper": " / ".join(one.paper) if all(one.paper) else NO_NUMBER,
            "here": " / ".join(here), "n": f"{len(first)} / {len(second)}",
            "verdict": difference_verdict(one, first, second),
        })  # fmt: skip
    return lines


def _scores(way: str, score: str) -> list[float]:
    return [own_scores(folder)[score] for folder in seeds_of(way)[CHOSEN_ON.get(way, 0) :]]


def number(text: str) -> tuple[float, float]:
    """Return mean and deviation of a text such as `95.2 ± 1.9`; a deviation of 0 without one."""
    mean, _, deviation = text.partition("±")
    return float(mean), float(deviation or 0)


def level_verdict(paper: str, here: Sequence[float]) -> str:
    """Return whether fractions reach the paper's percentage."""
    if not here:
        return NOT_RUN
    mean, deviation = number(paper)
    # As both are printed, to one digit.
    below = mean - round(100 * summarise(list(here))[0], 1)
    return "reached" if below <= deviation + 1e-9 else f"not reached, {below:.1f} below"


def difference_verdict(claim: Difference, first: Sequence[float], second: Sequence[float]) -> str:
    """Return whether a claim holds for the fractions of both ways."""
    if not (first and second):
        return NOT_RUN
    (a, a_dev), (b, b_dev) = ((100 * x for x in summarise(list(v))) for v in (first, second))
    if claim.equal:
        papers = math.hypot(*(number(text)[1] for text in claim.paper))
        allowed = 2 * max(papers, math.hypot(a_dev, b_dev))
        return "holds" if abs(a - b) <= allowed else "does not hold"
    if a <= b:
        return "does not hold"
    sure = min(len(first), len(second)) > 1 and a - b > 2 * math.hypot(a_dev, b_dev)
    return "holds" if sure else "same sign, not sure"
