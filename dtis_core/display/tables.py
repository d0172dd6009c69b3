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

    No text in it is taken for markup.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    texts = [columns] + [[row.get(column, "–") for column in columns] for row in rows]
    cells = [[plain(str(text)) for text in line] for line in texts]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
             for line in cells]  # fmt: skip
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return Table("\n".join(lines))


def paper_vs_here(
    rows: Iterable[Mapping[str, object]], manifests: Sequence[Mapping[str, object]] = ()
) -> Table:
    """Return a table of published numbers beside ours, and what runs ours come from.

    Rows are such as `{"score": "ARI", "paper": "99.8 ± 0.1", "here": "99.1"}`; `manifests` are of
    all runs behind them. Where each row has runs of its own, add its `provenance` to the row.
    """
    origin = provenance(manifests) if manifests else {}
    return table({**row, **origin} for row in rows)


def provenance(manifests: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """Say which runs a number comes from: data, preset, seeds, device and mean training time."""
    manifests = list(manifests)

    def each(key: str) -> str:
        return ", ".join(dict.fromkeys(str(m.get(key, "unknown")) for m in manifests))

    try:
        minutes = np.mean([float(m.get("wall_seconds", 0)) for m in manifests]) / 60
    except (TypeError, ValueError) as error:
        raise DtisError(f"wall_seconds of a run's manifest: {error}; mend it") from error
    time = {"training time": f"{minutes:.0f} min" if minutes >= 1 else f"{60 * minutes:.0f} s"}
    what = {"data": "data", "preset": "preset", "seeds": "seed", "device": "device"}
    return {title: each(key) for title, key in what.items()} | time
