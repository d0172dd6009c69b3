"""Verdicts on the paper's claims follow from numbers by the rule that is stated."""

import pytest

from dtis_core.scoring.results import NOT_RUN
from dtis_core.scoring.verdicts import (
    DIFFERENCES,
    Difference,
    difference_verdict,
    differences,
    level_verdict,
    levels,
)


@pytest.mark.parametrize(
    ("paper", "here", "verdict"),
    [
        ("95.2 ± 1.9", [0.933], "reached"),
        ("95.2 ± 1.9", [0.932], "not reached, 2.0 below"),
        ("89.4", [0.894, 0.894], "reached"),
        ("89.4", [0.88, 0.9], "not reached, 0.4 below"),
        ("89.4", [], NOT_RUN),
    ],
)
def test_a_level(paper, here, verdict):
    assert level_verdict(paper, here) == verdict


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ([0.9, 0.91], [0.8, 0.81], "holds"),
        ([0.9, 0.91], [0.89, 0.9], "same sign, not sure"),  # within twice the deviation
        ([0.9, 0.91], [0.5], "same sign, not sure"),  # a single run
        ([0.9, 0.91], [0.9, 0.91], "does not hold"),
        ([0.8], [0.9], "does not hold"),
        ([], [0.9], NOT_RUN),
    ],
)
def test_a_difference(first, second, verdict):
    claim = Difference("Table 0", "more", "ARI", ("90 ± 1", "80 ± 1"), ("a", "b"))
    assert difference_verdict(claim, first, second) == verdict


@pytest.mark.parametrize(
    ("second", "verdict"), [([0.87, 0.89], "holds"), ([0.7, 0.71], "does not hold")]
)
def test_an_equality(second, verdict):
    claim = Difference("Table 0", "as much", "ARI", ("90 ± 1", "91 ± 1"), ("a", "b"), equal=True)
    assert difference_verdict(claim, [0.9, 0.91], second) == verdict


def test_every_claim_has_a_line_from_records():
    assert [line["claim"] for line in differences()] == [one.claim for one in DIFFERENCES]
    assert not any(line["n"].startswith("0") or line["n"].endswith(" 0") for line in differences())
    assert {line["verdict"] for line in levels() if line["n"] == "0"} == {NOT_RUN}
