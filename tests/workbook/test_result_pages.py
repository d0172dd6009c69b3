"""Tables of results are put where those of the same columns stand, and nowhere else."""

import pytest

from dtis_core.errors import DtisError
from dtis_core.workbook import result_pages
from dtis_core.workbook.result_pages import with_table, write_pages

PAGE = """# A page

| a | b |
| --- | --- |
| 1 | 2 |
| 3 | 4 |

Words with a | in them.

| c |
| --- |
| 5 |
"""


def test_a_table_replaces_that_of_the_same_columns():
    new = "| a | b |\n| --- | --- |\n| 6 | 7 |"
    assert with_table(PAGE, new) == PAGE.replace("| 1 | 2 |\n| 3 | 4 |", "| 6 | 7 |")


def test_a_table_at_the_end_is_replaced_too():
    assert with_table(PAGE, "| c |\n| --- |\n| 8 |") == PAGE.replace("| 5 |", "| 8 |")


@pytest.mark.parametrize(("page", "many"), [("# Nothing\n", "no"), (PAGE + PAGE, "2")])
def test_a_page_without_one_such_table_is_refused(page, many):
    with pytest.raises(DtisError, match=f"{many} tables begin with"):
        with_table(page, "| c |\n| --- |\n| 8 |")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone of two pages with a table each, of which the second has none yet."""
    tables = {"one.md": ([{"c": "9"}],), "two.md": ([{"d": "10"}],)}
    monkeypatch.setattr(
        result_pages, "PAGES", {name: (lambda lines=t: lines[0],) for name, t in tables.items()}
    )
    (tmp_path / "one.md").write_text(PAGE)
    (tmp_path / "two.md").write_text("# Two\n")
    return tmp_path


def test_pages_are_written_all_or_none(clone):
    with pytest.raises(DtisError, match=r"two\.md: no tables begin with '\| d \|'"):
        write_pages(clone)
    assert (clone / "one.md").read_text() == PAGE
    (clone / "two.md").write_text("# Two\n\n| d |\n")
    assert write_pages(clone) == ["one.md", "two.md"]
    assert (clone / "one.md").read_text() == PAGE.replace("| 5 |", "| 9 |")
    assert (clone / "two.md").read_text() == "# Two\n\n| d |\n| --- |\n| 10 |\n"
    assert write_pages(clone) == []
