"""From the playground and the index on: every link has a notebook, and the way has an order."""

import re

from dtis_core.paths import NOTEBOOKS
from dtis_core.workbook.index import START, index_html
from dtis_core.workbook.played import FURTHER, PLAYED, WHY

PAGES = {f"notebooks/{path.stem}.html" for path in NOTEBOOKS.glob("[0-9]*.ipynb")}


def record(*outputs):
    return {
        "title": "T", "status": "ok", "outputs": list(outputs), "profile": "quick", "seconds": 1.0,
    }  # fmt: skip


def test_links_of_the_playground_lead_to_notebooks():
    places = {place for _, place in (*WHY, *FURTHER)} - {"index.html"}
    assert places <= PAGES
    assert {f"notebooks/{played.notebook}.html" for played in PLAYED} <= PAGES


def test_a_newcomers_way_is_in_the_index_as_far_as_its_pages_were_made():
    assert set(START) - PAGES == {"playground.html"}
    whole = index_html({"13_x": record(*reversed(START))})
    way = whole.partition("Start here")[2].partition("</ol>")[0]
    assert re.findall('href="([^"]+)"', way) == list(START)
    assert START["notebooks/01_overview.html"] in way
    part = index_html({"13_x": record("playground.html")})
    assert part.count('<li><a href="playground.html">') == 1 and "Quickstart" not in part
    assert "Start here" not in index_html({"13_x": record("line.png")})
