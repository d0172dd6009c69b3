"""Notebooks with stored outputs, and how `make test` compares them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]


def write(path, *cells):
    """Write a notebook of code cells, below a title, and return its path."""
    notebook = new_notebook(
        cells=[new_markdown_cell("# Stored"), *cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, path)
    return path


def nbval(path, *options):
    """Run pytest on one notebook, with the options and the hooks that `make test` uses."""
    makefile = (ROOT / "Makefile").read_text()
    usual = re.search(r"^NBVAL := (.*)$", makefile, re.MULTILINE)[1].split()
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *usual, *options, str(path)],
        cwd=ROOT,
        env={**os.environ, "IPYTHONDIR": str(path.parent / "ipython")},
        capture_output=True,
        text=True,
    )
