"""figures/index.html: one page, with no outside resources, of what the notebooks made and how."""

from html import escape
from pathlib import PurePosixPath
from urllib.parse import quote

PICTURES = {".png", ".gif", ".svg", ".jpg"}

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; --ok: #1a7f37; --failed: #c4342b; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 0; }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
p { margin: .25rem 0; color: var(--soft); font-size: .9rem; }
pre { white-space: pre-wrap; color: var(--failed); margin: .5rem 0; }
.ok { color: var(--ok); } .failed { color: var(--failed); }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: .75rem; }
figure { margin: 0; width: 16rem; } figcaption { font-size: .8rem; overflow-wrap: anywhere; }
figure img { width: 100%; height: 11rem; object-fit: contain; background: #fff;
  border: 1px solid var(--line); border-radius: 6px; }
details { margin-top: .5rem; overflow-x: auto; font-size: .85rem; }
td, th { text-align: left; padding: .15rem .75rem .15rem 0; border-bottom: 1px solid var(--line); }
"""


def index_html(records: dict[str, dict]) -> str:
    """Return the page for the manifest's records (by notebook name); its links are relative."""
    ok = sum(record["status"] == "ok" for record in records.values())
    sections = "\n".join(_section(name, record) for name, record in records.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dtis workbook</title>
<style>{STYLE}</style>
</head>
<body>
<h1>dtis workbook</h1>
<p>{ok} of {len(records)} notebooks ok; hashes and versions in the <a
href="manifest.json">manifest</a></p>
{sections}
</body>
</html>
"""


def lacking(record: dict) -> str:
    """Return what is said of parts whose images were not at hand, nothing where all were."""
    parts = record.get("without_data", 0)
    return f", {parts} part{'s' * (parts > 1)} without data" if parts else ""


def _section(name: str, record: dict) -> str:
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
    figures = "".join(_figure(picture, twins) for picture in pictures)
    tables = "".join(map(_table, record.get("tables", [])))
    title = _link(page, record["title"]) if page in outputs else escape(record["title"])
    paper = f"<p>Paper: {escape(record['paper'])}</p>" if record.get("paper") else ""
    return f"""<section id="{escape(name)}">
<h2>{title}</h2>
{paper}
<p><b class="{record["status"]}">{record["status"]}</b>{lacking(record)} ·
profile {escape(record["profile"])} · {record["seconds"]:.1f} s · {" · ".join(links)}</p>
{error}<div class="pictures">{figures}</div>
{tables}</section>"""


def _table(table: dict) -> str:
    """A table behind its title, which opens it."""
    head, *rows = [[escape(text) for text in row] for row in table["rows"]]
    lines = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
    return (
        f"<details><summary>{escape(table['title'])}: {len(rows)} rows</summary>"
        f"<table><tr><th>{'</th><th>'.join(head)}</th></tr>{lines}</table></details>"
    )


def _figure(picture: PurePosixPath, twins: list[PurePosixPath]) -> str:
    formats = " ".join(
        _link(f, f.suffix[1:]) for f in twins if f.with_suffix("") == picture.with_suffix("")
    )
    return (
        f'<figure><a href="{quote(str(picture))}"><img loading="lazy" src="{quote(str(picture))}" '
        f'alt="{escape(picture.stem)}"></a>'
        f"<figcaption>{escape(picture.stem)} {formats}</figcaption></figure>"
    )


def _link(file: PurePosixPath, text: str) -> str:
    return f'<a href="{quote(str(file))}">{escape(text)}</a>'
