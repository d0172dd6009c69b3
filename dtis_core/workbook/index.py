"""figures/index.html: one page, with no outside resources, of what the notebooks made and how."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import yaml
from PIL import Image

from dtis_core.errors import DtisError
from dtis_core.storage.files import read_text

PICTURES = {".png", ".gif", ".svg", ".jpg"}

START = {
    "playground.html": "Take a scene apart by hand: drag an object, and read why that works",
    "notebooks/00_quickstart.html": "Quickstart: from images to sprites",
    "notebooks/01_overview.html": "Overview: a scene, its layers, and how they are found",
}
"""The way of a newcomer, page by page, and what is said of each."""
WIDE = 2.2  # times as wide as high: a strip, which gets the whole width
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #6e6e6e; --ok: #1a7f37;
  --failed: #c4342b; }
@media (prefers-color-scheme: dark) { :root { --soft: #a0a0a0; --ok: #57ab5a; --failed: #f47067; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .5rem; } h2 { font-size: 1.15rem; margin: 0; }
header p { max-width: 75ch; } a { color: inherit; }
.start { border: 0; padding: 0 0 .5rem; } .start ol { margin: .25rem 0; }
.start li:first-child { font-weight: 600; }
nav { font-size: .9rem; } nav ol { list-style: none; margin: 0; padding: 0; }
nav a { text-decoration: none; display: block; padding: .1rem 0; } nav a:hover { text-decoration:
  underline; }
@media (min-width: 62rem) { .columns { display: grid; grid-template-columns: 15rem 1fr; gap: 2rem; }
  nav { position: sticky; top: 1rem; align-self: start; max-height: 95vh; overflow-y: auto; } }
main { min-width: 0; } section { border-top: 1px solid var(--line); padding: 1rem 0; }
.said { margin: .25rem 0; color: var(--soft); font-size: .9rem; }
pre { white-space: pre-wrap; color: var(--failed); margin: .5rem 0; }
.ok { color: var(--ok); } .failed { color: var(--failed); }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: .75rem; }
figure { margin: 0; width: 19rem; max-width: 100%; } figure.wide { width: 100%; }
figcaption { font-size: .85rem; } figcaption small { color: var(--soft); overflow-wrap: anywhere; }
figure img { width: 100%; max-height: 16rem; object-fit: contain; background: #fff;
  border: 1px solid var(--line); border-radius: 6px; }
figure.wide img { max-height: none; }
details { margin-top: .5rem; overflow-x: auto; font-size: .85rem; }
td, th { text-align: left; padding: .15rem .75rem .15rem 0; border-bottom: 1px solid var(--line); }
"""
INTRODUCTION = """Images are taken apart into layers, each a transformed copy of one of a few
learned prototypes, the sprites, without any label. These pictures were drawn on this machine by the
notebooks of the workbook, from shipped models and records of their training. A title leads to the
notebook as it ran, with its words and its code."""


@dataclass(frozen=True)
class Looks:
    """What is known of pictures, by file: a caption, and how much wider than high each is."""

    captions: Mapping[str, str] = field(default_factory=dict)  # by file without its ending
    shapes: Mapping[str, float] = field(default_factory=dict)


def index_html(records: dict[str, dict], looks: Looks | None = None) -> str:
    """Return the page for the manifest's records (by notebook name); its links are relative."""
    ok = sum(record["status"] == "ok" for record in records.values())
    looks = looks or Looks()
    sections = "\n".join(_section(name, record, looks) for name, record in records.items())
    made = {file for record in records.values() for file in record["outputs"]}
    way = "".join(
        f'<li><a href="{page}">{words}</a></li>' for page, words in START.items() if page in made
    )
    title = "<h2>Never read the paper? Start here</h2>"
    start = f'<section class="start" id="start">{title}<ol>{way}</ol></section>' if way else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dtis workbook</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>dtis workbook</h1>
<p>{INTRODUCTION}</p>
{start}
<p class="said">{ok} of {len(records)} notebooks ok; hashes and versions in the <a
href="manifest.json">manifest</a></p>
</header>
<div class="columns">
<nav aria-label="contents"><ol>{"".join(map(_entry, records, records.values()))}</ol></nav>
<main>
{sections}
</main>
</div>
</body>
</html>
"""


def read_captions(folder: Path) -> dict[str, str]:
    """Return the captions of figures by name, from a folder's captions.yaml; none without one.

    Raises DtisError where that cannot be read, or is no list of texts by name.
    """
    file = folder / "captions.yaml"
    if not file.is_file():
        return {}
    try:
        captions = yaml.safe_load(read_text(file)) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DtisError(f"{file}: cannot be read as YAML ({error})") from error
    if not isinstance(captions, dict):
        raise DtisError(f"{file}: expected captions by figure name, found {captions!r:.80}")
    for name, text in captions.items():
        if not isinstance(text, str):
            raise DtisError(f"{file}: the caption of '{name!s:.80}' is no text, but {text!r:.80}")
    return captions


def shapes_of(folder: Path, files: Iterable[str]) -> dict[str, float]:
    """Return how much wider than high the pictures among some files of a folder are."""
    shapes = {}
    for file in files:
        if PurePosixPath(file).suffix in PICTURES - {".svg"}:
            with contextlib.suppress(OSError), Image.open(folder / file) as picture:
                shapes[file] = picture.width / picture.height
    return shapes


def _entry(name: str, record: dict) -> str:
    """A line of the contents: the notebook's number and title."""
    number = name.partition("_")[0]
    return f'<li><a href="#{quote(name)}">{escape(number)} {escape(record["title"])}</a></li>'


def lacking(record: dict) -> str:
    """Return what is said of parts whose images were not at hand, nothing where all were."""
    parts = record.get("without_data", 0)
    return f", {parts} part{'s' * (parts > 1)} without data" if parts else ""


def _section(name: str, record: dict, looks: Looks) -> str:
    """One notebook: its title, how it went, its pictures, links to all else that it made."""
    outputs = [PurePosixPath(file) for file in record["outputs"]]
    pictures = [file for file in outputs if file.suffix in PICTURES]
    # The same figure in another format hangs below its picture, the rest below the title.
    page = PurePosixPath("notebooks") / f"{name}.html"
    others = [file for file in outputs if file not in pictures and file != page]
    shown = {file.with_suffix("") for file in pictures}
    twins = [file for file in others if file.with_suffix("") in shown]
    links = [_link(file, file.name) for file in others if file not in twins]
    links.append(_link(PurePosixPath("logs") / f"{name}.txt", "log"))
    error = ""
    if record["status"] == "failed":
        earlier = "\n(What is shown is from an earlier run.)" if outputs else ""
        error = f"<pre>{escape(record['error'] + earlier)}</pre>"
    figures = "".join(_figure(picture, twins, looks) for picture in pictures)
    tables = "".join(map(_table, record.get("tables", [])))
    title = _link(page, record["title"]) if page in outputs else escape(record["title"])
    paper = f'<p class="said">Paper: {escape(record["paper"])}</p>' if record.get("paper") else ""
    return f"""<section id="{escape(name)}">
<h2>{title}</h2>
{paper}
<p class="said"><b class="{record["status"]}">{record["status"]}</b>{lacking(record)} ·
profile {escape(record["profile"])} · {record["seconds"]:.1f} s · {" · ".join(links)}</p>
{error}<div class="pictures">{figures}</div>
{tables}</section>"""


def _table(table: dict) -> str:
    """A table behind its title, which opens it."""
    head, *rows = [[escape(text) for text in row] for row in table["rows"]]
    lines = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
    below = f'<p class="said">{escape(table["below"])}</p>' if table.get("below") else ""
    return (
        f"<details><summary>{escape(table['title'])}: {len(rows)} rows</summary>"
        f"<table><tr><th>{'</th><th>'.join(head)}</th></tr>{lines}</table>{below}</details>"
    )


def _figure(picture: PurePosixPath, twins: list[PurePosixPath], looks: Looks) -> str:
    name = picture.with_suffix("")
    formats = " ".join(_link(f, f.suffix[1:]) for f in twins if f.with_suffix("") == name)
    caption = looks.captions.get(str(name), "")
    wide = looks.shapes.get(str(picture), 1) > WIDE
    return (
        f'<figure{" class=wide" * wide}><a href="{quote(str(picture))}">'
        f'<img loading="lazy" src="{quote(str(picture))}" alt="{escape(caption or str(name))}"></a>'
        f"<figcaption>{escape(caption)} <small>{escape(str(name))} {formats}</small></figcaption>"
        "</figure>"
    )


def _link(file: PurePosixPath, text: str) -> str:
    return f'<a href="{quote(str(file))}">{escape(text)}</a>'
