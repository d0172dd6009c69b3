"""Tolerances that a cell states: what they let pass, what they do not, and how wide they are."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_output
from nbval_tolerances import Tolerance, lines, settled, tolerances, tried_again, value
from stored_notebook import nbval, write

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
TABLE = """\
|      | ARI, paper | ARI, here | error    |
|------|------------|-----------|----------|
| 7    | 99.8 ± 0.1 | 99.6      | 9.96e-3  |"""


def agrees(rule: str, stored: str, new: str) -> bool:
    """Whether the new output counts as the stored one, and is left as it is otherwise."""
    found = settled(new, stored, tolerances(rule))
    assert found == (stored if found != new else new)
    return found == stored


@pytest.mark.parametrize(
    ("rule", "stored", "within", "beyond"),
    [
        ("# within 0.5: ARI", "7 images: ARI 95.4, FG 1", "95.4 → 95.8", "95.4 → 96.4"),
        ("# within 0.5: ARI of seeds", "ARI of seeds: 95.4/1.0 ± 2.5", "2.5 → 2.1", "2.5 → 3.5"),
        ("# within 2 %: error", "sprite 3, error 20.0e-3", "20.0 → 20.3", "20.0 → 20.8"),
        ("# within 0.02e-3: error", "error 0.15e-3", "0.15 → 0.16", "0.15 → 0.19"),
        ("# within 0.5: gain", "a gain of -0.2 points", "-0.2 → +0.2", "-0.2 → 0.8"),
        ("# within 1: steps, cards", "steps 3, cards 1,200", "1,200 → 1,199", "1,200 → 1,198"),
        ("# within 0.5: here\n# within 3 %: error", TABLE, "99.6  → 100.0", "99.6  → 100.6"),
        ("# within 0.5: here\n# within 3 %: error", TABLE, "9.96e-3  → 10.02e-3", "9.96 → 9.36"),
    ],
)
def test_a_number_may_differ_by_its_tolerance(rule, stored, within, beyond):
    assert agrees(rule, stored, stored)
    assert agrees(rule, stored, stored.replace(*within.split(" → ")))
    assert not agrees(rule, stored, stored.replace(*beyond.split(" → ")))


@pytest.mark.parametrize(
    ("rule", "stored", "change"),
    [
        ("# within 0.5: ARI", "7 images: ARI 95.4", "7 → 8"),
        ("# within 0.5: ARI", "7 images: ARI 95.4", "images → pictures"),
        ("# within 0.5: ARI", "ARI 95.4", "95.4 → 95.4, 95.4"),
        ("# within 0.5: ARI", "ARI 95.4", "95.4 → 95.4\nARI 95.4"),
        ("# within 0.5: ARI", "ARI-FG 95.4", "95.4 → 95.5"),
        ("# within 0.5: ARI", "ARI 95.4 after CLEVR6", "CLEVR6 → CLEVR7"),
        ("# within 5 %: sprite", "sprite 2 (25.32)", "2 ( → 3 ("),
        ("# within 0.5: here", TABLE, "99.8  → 99.9 "),
        ("# within 0.5: here", TABLE, "| 7 → | 8"),
        ("# within 0.5: here", TABLE, "paper → print"),
        ("", "ARI 95.4", "95.4 → 95.5"),
    ],
)
def test_all_else_stays_exact(rule, stored, change):
    assert not agrees(rule, stored, stored.replace(*change.split(" → ")))


def test_a_table_may_become_wider_with_its_numbers():
    wider = TABLE.replace("|\n", " |\n").replace("- |", "--|").replace("9.96e-3 ", "10.01e-3")
    assert settled(wider, TABLE, tolerances("# within 0.2e-3: error")) == TABLE
    assert settled(wider, TABLE, tolerances("# within 0.02e-3: error")) != TABLE


@pytest.mark.parametrize(
    "rule", ["# within", "# within 0.5", "# within 0.5: ", "# within x: ARI", "# within 3%: ARI"]
)
def test_a_rule_that_cannot_be_read_is_refused(rule):
    with pytest.raises(ValueError, match="cannot read the tolerance '# within.*write '# within"):
        tolerances(f"run()\n{rule}\nprint()")


def cell(code: str, *outputs):
    return new_code_cell(code, execution_count=1, outputs=list(outputs))


def test_nbval_compares_by_them(tmp_path):
    """The tolerances reach nbval's own comparison, of printed text and of tables."""

    def printed(text, rule="# within 0.5: ARI"):
        stored = new_output("stream", name="stdout", text="3 images: ARI 95.4, after 4.5 s\n")
        return cell(f"{rule}\nprint({text!r})", stored)

    wider = TABLE.replace("99.6 ", "100.1")
    markdown = f"# within 0.5: here\nfrom IPython.display import Markdown\nMarkdown({wider!r})"
    data = {"text/markdown": TABLE, "text/plain": "<IPython.core.display.Markdown object>"}
    cells = {
        "PASSED": printed("3 images: ARI 95.8, after 9.5 s"),
        "FAILED": printed("3 images: ARI 96.4, after 4.5 s"),
        "FAILED ": printed("4 images: ARI 95.4, after 4.5 s"),
        "PASSED ": cell(markdown, new_output("execute_result", data, execution_count=1)),
        "FAILED  ": printed("3 images: ARI 95.4, after 4.5 s", "# within half: ARI"),
    }
    done = nbval(write(tmp_path / "stored.ipynb", *cells.values()), "-v")
    found = re.findall(r"::Cell \d (\w+)", done.stdout)
    assert found[: len(cells)] == [outcome.strip() for outcome in cells], done.stdout
    assert "stored.ipynb, Cell 4: cannot read the tolerance '# within half: ARI'" in done.stdout


@pytest.mark.parametrize(
    ("rule", "tight", "wide"),
    [
        ("# within 1.5: ARI", "95.4", "25.4"),
        ("# within 5 %: error", "1.52e-3", None),
        ("# within 0.1e-3: error", "2.05e-3", "1.52e-3"),
        ("# within 1: judged", "7", "7.5"),
    ],
)
def test_tight_depends_on_the_number(rule, tight, wide):
    (rule,) = tolerances(rule)
    assert is_tight(rule, tight)
    assert wide is None or not is_tight(rule, wide)
    assert not is_tight(rule._replace(amount=5.1), tight)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_tolerances_are_tight(path):
    """No tolerance is so wide that a number could be another result, and each is of use."""
    for code in nbformat.read(path, as_version=4).cells:
        rules = tolerances(code.source)
        used = set()
        for output in code.outputs if rules else ():
            text = output.get("text") or output["data"].get("text/plain", "")
            for line in lines(text):
                for number, label in zip(line.numbers, line.labels, strict=True):
                    rule = next((rule for rule in rules if rule.covers(label)), None)
                    if rule is not None:
                        used |= {n for n in rule.names if rule._replace(names=(n,)).covers(label)}
                        assert is_tight(rule, number), (code.source, number)
        assert used == {name for rule in rules for name in rule.names}, code.source


def is_tight(rule: Tolerance, number: str) -> bool:
    """Whether a tolerance is at most 5 % and 1.5, or lets only a number's last digit change."""
    if rule.relative:
        return rule.amount <= 5
    digits, power = re.fullmatch(r"[-+]?[\d,]+(?:\.(\d+))?(?:e([-+]?\d+))?", number).groups("")
    last = float(f"1e{int(power or 0) - len(digits)}")
    return rule.amount <= max(min(1.5, 0.05 * abs(value(number))), last) * (1 + 1e-9)


def test_a_kernel_that_dies_as_it_starts_is_started_again():
    tries = []

    def start(deaths):
        tries.append(deaths)
        if len(tries) <= deaths:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return "kernel"

    assert tried_again(start)(2) == "kernel" and len(tries) == 3
    tries.clear()
    with pytest.raises(RuntimeError, match="Kernel died"):
        tried_again(start)(3)
