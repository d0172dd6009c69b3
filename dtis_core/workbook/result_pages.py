"""The clone's pages that hold tables of results: brought up to date with the records."""

from collections.abc import Callable
from pathlib import Path

from dtis_core.baselines.comparison import k_means_table, race_table
from dtis_core.errors import DtisError
from dtis_core.paths import CLONE
from dtis_core.scoring.results import markdown, result_table, short_table, split_table
from dtis_core.storage.files import read_text, write_text

Table = Callable[[], list[dict[str, str]]]
PAGES: dict[str, tuple[Table, ...]] = {
    "README.md": (short_table,),
    "docs/results.md": (result_table, split_table, race_table, k_means_table),
}
"""Each page's tables, in any order: a table is known by its first line."""


def with_table(page: str, table: str) -> str:
    """Return a page with a table in place of the former one, which has the same first line.

    Raises DtisError where the page has no such table, or several.
    """
    head, lines = table.splitlines()[0], page.splitlines()
    found = [number for number, line in enumerate(lines) if line == head]
    if len(found) != 1:
        raise DtisError(
            f"{len(found) or 'no'} tables begin with '{head}', where one should; put that line "
            "where the table belongs"
        )
    start = end = found[0]
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    return "\n".join([*lines[:start], *table.splitlines(), *lines[end:]]) + "\n"


def up_to_date(name: str, clone: Path = CLONE) -> str:
    """Return a page of `PAGES` with its tables as the records are now. Raises DtisError."""
    page = read_text(clone / name)
    try:
        for table in PAGES[name]:
            page = with_table(page, markdown(table()))
    except DtisError as error:
        raise DtisError(f"{name}: {error}") from error
    return page


def write_pages(clone: Path = CLONE) -> list[str]:
    """Bring all pages up to date; return the names of those that changed. Raises DtisError.

    All are made before the first is written: a page without its table changes none.
    """
    pages = {name: up_to_date(name, clone) for name in PAGES}
    changed = [name for name, page in pages.items() if page != read_text(clone / name)]
    for name in changed:
        write_text(clone / name, pages[name])
    return changed
