"""Rooms import what their `__init__.py` says, which lies upstream of them; files stay small.

Imports are read from the source, so those inside functions count, too.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dtis_core"
# A room's data come from its left; a comma sets two side by side.
FLOW = """errors paths threads storage config pictures rendering datasets model search runs training
scenes scoring baselines display bench sweeps,workbook cli"""
STEPS = [set(step.split(",")) for step in FLOW.split()]
FOLDERS = sorted(file.parent.name for file in PACKAGE.glob("*/__init__.py"))
MODULES = sorted(file.stem for file in PACKAGE.glob("*.py"))
NO_ROOMS = {"__init__", "__main__"}  # the facade, and a door to cli that nobody imports
LIMITS = {"dtis_core": 350, "tests": 400}  # lines of a file


def upstream(room: str) -> set[str]:
    """The rooms that come before this one."""
    return set().union(*STEPS[: next(i for i, step in enumerate(STEPS) if room in step)])


def allowed(room: str) -> set[str]:
    """The rooms that a folder's docstring says it may import."""
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
    but, names = re.search(r"May import: (all but )?([^.]+)\.", text).groups()
    names = set(re.split(r",\s+|\s+and\s+", names))
    return set().union(*STEPS) - names - {room} if but else names


def _executed(file: Path) -> ast.Module:
    """A file's tree without what only type checkers read."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    return tree


def imported(room: str) -> set[str]:
    """The other rooms that a folder or module imports."""
    files = [PACKAGE / f"{room}.py"] if room in MODULES else (PACKAGE / room).rglob("*.py")
    names = []
    for node in (node for file in files for node in ast.walk(_executed(file))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    ours = [name.split(".") for name in names if name.split(".")[0] == "dtis_core"]
    return {name[1] if len(name) > 1 else "the facade" for name in ours} - {room}


def test_every_room_has_its_place_in_the_flow():
    assert {*FOLDERS, *MODULES} - NO_ROOMS == set().union(*STEPS)


@pytest.mark.parametrize("room", FOLDERS)
def test_a_room_imports_what_its_text_allows(room):
    assert imported(room) <= allowed(room) <= upstream(room)


@pytest.mark.parametrize("room", sorted(set(MODULES) - NO_ROOMS))
def test_a_module_imports_from_upstream(room):
    assert imported(room) <= upstream(room)


def test_files_are_small_and_the_top_is_not_crowded():
    sizes = {
        file.relative_to(ROOT): (len(file.read_text().splitlines()), limit)
        for folder, limit in LIMITS.items()
        for file in (ROOT / folder).rglob("*.py")
    }
    assert {file: size for file, (size, limit) in sizes.items() if size > limit} == {}
    assert len(MODULES) <= 8
