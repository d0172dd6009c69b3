"""How nbval compares a notebook's new outputs with the stored ones, beside its own rules.

A search or a training may tip over between two nearly equal scenes where a CPU sums in another
order. So a cell may state, in comments, how far its numbers may lie from the stored ones:

    # within 0.5: ARI, mean IoU      absolutely, in the unit that is printed
    # within 2 %: error              relatively to the stored number

A name is found, as whole words, in what a number is called: in a table the title of its column,
elsewhere the words before it in its line; several numbers in a row share the words before the
first. All other numbers, all text, and how many numbers there are stay exact, and so does every
cell without such a comment.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from typing import NamedTuple

from nbval import kernel

NUMBER = re.compile(
    r"(?:(?<!\w)[-+])?(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)"
)
RULE = re.compile(r"# within (\d+(?:\.\d+)?(?:e-\d+)?)( %)?: (\w.*)")
HELP = "write '# within 0.5: ARI, error' or '# within 2 %: error'"


class Tolerance(NamedTuple):
    """How far the numbers of some names may lie from the stored ones."""

    amount: float
    relative: bool  # in percent of the stored number
    names: tuple[str, ...]

    def covers(self, label: str) -> bool:
        """Whether one of the names is in a number's label, as whole words."""
        return any(re.search(rf"(?<![\w-]){re.escape(n)}(?![\w-])", label) for n in self.names)

    def of(self, stored: str) -> float:
        """Return how far a new number may lie from a stored one."""
        return abs(value(stored)) * self.amount / 100 if self.relative else self.amount


class Line(NamedTuple):
    """A line of an output: its numbers, what each is called, and the text around them."""

    numbers: list[str]
    labels: list[str]
    text: list


def value(number: str) -> float:
    """Return the value of a number as printed."""
    return float(number.replace(",", ""))


def tolerances(source: str) -> list[Tolerance]:
    """Read the tolerances that a cell states. Raises ValueError for one that is no such rule."""
    found = []
    for line in map(str.strip, source.splitlines()):
        if line.startswith("# within"):
            rule = RULE.fullmatch(line)
            if rule is None:
                raise ValueError(f"cannot read the tolerance '{line}': {HELP}")
            names = tuple(name.strip() for name in rule[3].split(","))
            found.append(Tolerance(float(rule[1]), bool(rule[2]), names))
    return found


def lines(output: str) -> Iterator[Line]:
    """Read an output line by line; a table's columns are titled by its first line."""
    titles = None
    for line in output.split("\n"):
        if not line.startswith("|"):
            titles = None
            yield _plain(line)
            continue
        cells = [
            re.sub("^-+$", "-", cell.strip())
            for cell in line.strip()[1:].removesuffix("|").split("|")
        ]
        numbers = [NUMBER.findall(cell) for cell in cells]
        columns = (titles or []) + [""] * len(cells)
        labels = [[title] * len(n) for n, title in zip(numbers, columns, strict=False)]
        yield Line(sum(numbers, []), sum(labels, []), [NUMBER.split(cell) for cell in cells])
        titles = titles or cells


def _plain(line: str) -> Line:
    text, labels = NUMBER.split(line), []
    for before in text[:-1]:
        labels.append(before if re.search("[^\\W\\d]", before) or not labels else labels[-1])
    return Line(NUMBER.findall(line), labels, text)


def agree(new: Line, stored: Line, rules: list[Tolerance]) -> bool:
    """Whether two lines differ in nothing but numbers that are as close as the rules ask for."""
    if new.text != stored.text:
        return False
    for a, b, label in zip(new.numbers, stored.numbers, stored.labels, strict=True):
        rule = next((rule for rule in rules if rule.covers(label)), None)
        if a != b and (rule is None or abs(value(a) - value(b)) > rule.of(b) * (1 + 1e-9)):
            return False
    return True


def settled(new: str, stored: str, rules: list[Tolerance]) -> str:
    """Return the new output, but each line that agrees with the stored one as it is stored."""
    pairs = list(zip(new.split("\n"), stored.split("\n"), strict=False))
    if new.count("\n") != stored.count("\n"):
        return new
    close = map(agree, lines(new), lines(stored), [rules] * len(pairs))
    return "\n".join(s if same else n for (n, s), same in zip(pairs, close, strict=True))


def _texts(outputs: list) -> Iterator[tuple[str, dict, str]]:
    """Yield where each text of a cell's outputs stands: its kind, and the place to set it."""
    for output in outputs:
        if output.output_type == "stream":
            yield output.name, output, "text"
        for kind in output.get("data", {}):
            if kind.startswith("text/"):
                yield kind, output.data, kind


def _compare_within(item, rules: list[Tolerance]) -> None:
    """Let a cell's new outputs pass nbval's own comparison where they agree with the stored."""
    exactly = item.compare_outputs

    def compare(test: list, ref: list) -> bool:
        test, stored = deepcopy(test), defaultdict(list)
        for kind, place, key in _texts(ref):
            stored[kind].append(item.sanitize(place[key]))
        for kind, place, key in _texts(test):
            if stored[kind]:
                place[key] = settled(item.sanitize(place[key]), stored[kind].pop(0), rules)
        return exactly(test, ref)

    item.compare_outputs = compare


def _refuse(item, problem: str) -> None:
    """Let a cell fail because of how its tolerances are written."""

    def compare(test: list, ref: list) -> bool:
        item.raise_cell_error(f"{item.path.name}, {item.name}: {problem}")

    item.compare_outputs = compare


def tried_again(start):
    """Let a kernel start again: of two that start at once, both may take the same free port."""

    def started(*args, **options):
        for _ in range(2):
            try:
                return start(*args, **options)
            except RuntimeError:  # the kernel died before its first reply
                continue
        return start(*args, **options)

    return started


def pytest_configure():
    """Let kernels that nbval starts be started again."""
    kernel.start_new_kernel = tried_again(kernel.start_new_kernel)


def pytest_collection_modifyitems(items):
    """Let nbval compare text and numbers alone, within tolerances, and wait on a busy machine."""
    for item in items:
        if hasattr(item.parent, "skip_compare"):
            item.parent.skip_compare += ("stderr", "image/svg+xml", "application/pdf")
            item.output_timeout = 60  # seconds; nbval's own 5 s cannot be set otherwise
            try:
                if rules := tolerances(item.cell.source):
                    _compare_within(item, rules)
            except ValueError as error:
                _refuse(item, str(error))
