"""Tables from results, as Markdown that shows every text as it is.

What runs and data sets are called is anyone's text: none of it may become a link, a picture or a
script on a page.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dtis_core.errors import DtisError

# What Markdown, or HTML in it, takes for markup: an underline between letters is none, a closing
# bracket is one where a link may follow; addresses become links by themselves.
MARKUP = re.compile(
    r"[&<>|*`~\\$@] | (?<!\w)_ | _(?!\w) | \](?=[(\[:]) | :(?=//) | (?<=www)\.",
    re.VERBOSE | re.IGNORECASE,
)

ORIGIN = "origin"
"""The key of a row's `provenance`."""


def plain(text: str) -> str:
    """Return Markdown that shows a text as it is, in one line, whatever is in it.

    What might be a formula becomes code, where none is sought.
    """
    text = " ".join(text.split())
    escaped = MARKUP.sub(lambda found: f"&#{ord(found[0])};", text)
    return f"<code>{escaped}</code>" if "$" in text or "\\" in text else escaped


class Table(str):
    """A Markdown table: Jupyter renders it, `print` and text outputs show it aligned."""

    def __repr__(self) -> str:
        """Return the table as it is printed."""
        return str(self)

    def _repr_markdown_(self) -> str:
        return str(self)


def table(rows: Iterable[Mapping[str, object]]) -> Table:
    """Return a table with one line per row; columns are the rows' keys, a dash where one lacks.

    Rows' `provenance` goes into one line below, for a table of scores is wide enough; where rows
    come from different runs, a column numbers them. No text in it is taken for markup.
    """
    rows, below = _origins_below(list(rows))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    texts = [columns] + [[row.get(column, "–") for column in columns] for row in rows]
    cells = [[plain(str(text)) for text in line] for line in texts]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
             for line in cells]  # fmt: skip
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return Table("\n".join([*lines, *(["", plain(below)] if below else [])]))


def _origins_below(rows: list[Mapping]) -> tuple[list[dict], str]:
    """Return rows without their runs' provenance, and the line that says it."""
    origins: list[dict[str, str]] = []
    for origin in (row[ORIGIN] for row in rows if ORIGIN in row):
        origins += [] if origin in origins else [origin]
    bare = [{key: cell for key, cell in row.items() if key != ORIGIN} for row in rows]
    if not origins:
        return bare, ""
    first = origins[0]
    shared = [part for part in first if all(origin[part] == first[part] for origin in origins)]
    line = f"{ORIGIN.capitalize()}: {', '.join(first[part] for part in shared)}"
    if len(origins) == 1:
        return bare, line
    for row, out in zip(rows, bare, strict=True):
        out |= {ORIGIN: 1 + origins.index(row[ORIGIN])} if ORIGIN in row else {}
    each = [", ".join(o[part] for part in o if part not in shared) for o in origins]
    return bare, "; ".join([line, *(f"{i}: {text}" for i, text in enumerate(each, start=1))])


def paper_vs_here(
    rows: Iterable[Mapping[str, object]], manifests: Sequence[Mapping[str, object]] = ()
) -> Table:
    """Return a table of published numbers beside ours, and below it what runs ours come from.

    Rows are such as `{"score": "ARI", "paper": "99.8 ± 0.1", "here": "99.1"}`; `manifests` are of
    all runs behind them. Where each row has runs of its own, add its `provenance` to the row.
    """
    origin = provenance(manifests) if manifests else {}
    return table({**row, **origin} for row in rows)


def provenance(manifests: Iterable[Mapping[str, object]]) -> dict[str, dict[str, str]]:
    """Say which runs a row of a `table` comes from.

    That is their data, preset, seeds, device, commits and mean training time.
    """
    manifests = list(manifests)

    def each(key: str, word: str = "") -> str:
        values = dict.fromkeys(str(m.get(key, "unknown")) for m in manifests)
        return f"{word}{'s' * (len(values) > 1)} {', '.join(values)}" if word else ", ".join(values)

    try:
        minutes = np.mean([float(m.get("wall_seconds", 0)) for m in manifests]) / 60
    except (TypeError, ValueError) as error:
        raise DtisError(f"wall_seconds of a run's manifest: {error}; mend it") from error
    origin = {key: each(key) for key in ("data", "preset", "device")}
    origin |= {key: each(key, key) for key in ("seed", "commit")}
    time = f"{minutes:.0f} min" if minutes >= 1 else f"{60 * minutes:.0f} s"
    mean = " on average" * (len(manifests) > 1)
    return {ORIGIN: origin | {"time": f"trained for {time}{mean}"}}
