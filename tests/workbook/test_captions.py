"""Captions of figures: all that the notebooks draw have one, and files that cannot be read."""

import re

import pytest

from dtis_core.errors import DtisError
from dtis_core.paths import NOTEBOOKS
from dtis_core.workbook.index import read_captions

SAVED = re.compile(r"""figures\.save\([^,]+, f?\\?["']([^"'\\]+)""")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "cannot be read as YAML"), ("- a", "by figure name"), ("line: 3", "is no text")],
)
def test_captions_that_cannot_be_read_are_named(tmp_path, text, message):
    (tmp_path / "captions.yaml").write_text(text)
    with pytest.raises(DtisError, match=f"captions.yaml: .*{message}"):
        read_captions(tmp_path)


def test_without_a_file_there_are_none(tmp_path):
    assert read_captions(tmp_path) == {}


def test_every_figure_that_is_saved_by_name_has_a_caption():
    captions = read_captions(NOTEBOOKS)
    saved = {
        name
        for file in NOTEBOOKS.glob("[0-9]*.ipynb")
        for name in SAVED.findall(file.read_text())
        if "{" not in name  # else the name is made where it is saved
    }
    assert len(saved) > 80
    assert saved - captions.keys() == set()
    assert all(text.strip().endswith(".") and len(text) < 220 for text in captions.values())
