"""What code can reach: the modules of this package that it imports, theirs, and their data.

Read from the source, imports inside functions too. So a notebook runs again when a line that could
change its result did, and not when another part of the package did.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from dtis_core.paths import PACKAGE

NAME = "dtis_core"
DATA = {
    "config": "dtis_core/presets/**/*",
    "display.scripts": "dtis_core/display/web/*",
    "paths.SHIPPED": "data/shipped/**/*",
}
"""Files of the clone that come with a module, or with a name of one."""


def reached_files(code: str, clone: Path) -> set[Path]:
    """Return the files of a clone that decide what some code does: modules, presets, records.

    Code that is no plain Python, as with magics of IPython, counts line by line.
    """
    package = clone / NAME
    waiting = [*imported_names(code)]
    names, found = set(waiting), set()
    while waiting:
        for file in set(_files_of(waiting.pop(), package)) - found:
            found.add(file)
            new = [name for name in imported_names(file.read_text()) if name not in names]
            names |= set(new)
            waiting = [*waiting, *new]
    for start, pattern in DATA.items():
        if any(f"{name}.".startswith(f"{start}.") for name in names):
            found |= {path for path in clone.glob(pattern) if path.is_file()}
    return found


@lru_cache(maxsize=512)
def imported_names(code: str) -> list[str]:
    """Return what code imports of this package, below its name: `datasets`, `errors.DtisError`.

    A name of the facade, such as `dtis.load`, counts as the module that it is from.
    """
    return list(dict.fromkeys(_imported(code)))


def _imported(code: str) -> Iterator[str]:
    aliases, facade = {NAME}, _facade()
    for node in _nodes(code):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name == NAME:
                    aliases.add(name.asname or NAME)
                elif name.name.startswith(f"{NAME}."):
                    yield name.name.partition(".")[2]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == NAME:
            room = (node.module or "").partition(".")[2]
            for name in node.names:
                whole = f"{room}.{name.name}" if room else name.name
                yield facade.get(whole, whole)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in aliases and node.attr in facade:
                yield facade[node.attr]


@lru_cache
def _facade() -> dict[str, str]:
    """Return which module each name of the facade is from."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    named = {target.id: node for node in assigned for target in node.targets}
    return ast.literal_eval(named["FACADE"].value)


def _nodes(code: str) -> Iterable[ast.AST]:
    """Yield all nodes of code, imports before what they name."""
    try:
        trees = [ast.parse(code)]
    except SyntaxError:
        trees = [tree for line in code.splitlines() if (tree := _parsed(line.strip()))]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return sorted(nodes, key=lambda node: not isinstance(node, ast.Import | ast.ImportFrom))


def _parsed(line: str) -> ast.Module | None:
    try:
        return ast.parse(line)
    except SyntaxError:
        return None


def _files_of(module: str, package: Path) -> list[Path]:
    """Return the files that importing `room.module.name` runs; of a whole room, all of it."""
    parts = module.split(".")
    path = package.joinpath(*parts)
    if path.is_dir():
        return sorted(path.glob("*.py"))
    for end in range(len(parts), 0, -1):
        file = package.joinpath(*parts[:end]).with_suffix(".py")
        if file.is_file():
            rooms = [package.joinpath(*parts[:depth], "__init__.py") for depth in range(1, end)]
            return [file, *(room for room in rooms if room.is_file())]
        room = package.joinpath(*parts[:end])
        if room.is_dir():  # a name that its __init__ has
            return sorted(room.glob("*.py"))
    return []
