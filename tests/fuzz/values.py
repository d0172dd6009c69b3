"""Strange values, as JSON, YAML and command lines may hold them."""

import json
from random import Random

HUGE = [10**9, -(10**9), 10**20, 1 << 31, 1 << 63, -(1 << 63), 10**400]
NUMBERS = [0, -1, 1, 2, 7, 0.5, -0.0, 1e-30, 1e30, 1e308, float("inf"), float("nan"), *HUGE]
WORDS = [
    "", " ", "x", "é", "a\nb", "\x1b[31m", "<b>&amp;</b>", "../x", "/dev/zero", "~nobody/x",
    "a" * 300, "null", "1e400", "0x10", "NaN", "2020-01-01", "{}", "[]", "..", ".", "%s%n", "$x$",
    "| |", "-1", "\u202e", "\ufeff", "config.yaml",
]  # fmt: skip
DEEP = json.loads("[" * 200 + "]" * 200)
NASTY = [*NUMBERS, *WORDS, None, True, False, [], {}, [[]], {"": 0}, {"a": {}}, [1, "x"], DEEP]
WHOLE = [0, 1, 2, 3, 255]  # numbers that may well do
LITERALS = [
    "&a [*a]", "!!python/object/apply:os.system [true]", "*b", "{<<: 1}", "[" * 2000, "{a: {",
    "\t- 1", "!!binary x", "1_0", "0o17", "2021-13-45", "!!int x", "? a", "- 1\n- 2", "yes", "~",
    "\x00", "1:30", ".inf", "-.inf", ".nan", "9" * 5000, "&a [&b [*a, *a], *b]", "# x", "'", '"',
]  # fmt: skip


def value(rng: Random) -> object:
    """Return a value that is seldom what is wanted."""
    return rng.choice(NASTY if rng.random() < 0.7 else WHOLE)


def literal(rng: Random) -> str:
    """Return a value as it is given on a command line."""
    match rng.randrange(4):
        case 0:
            return rng.choice(LITERALS)
        case 1:
            return rng.choice(WORDS)
    return json.dumps(value(rng))


def assignments(rng: Random, known: list[str]) -> list[str]:
    """Return one or two `name=value`, mostly of known names."""
    chosen = rng.sample(known, rng.choice([1, 1, 2]))
    given = [f"{name}={literal(rng)}" for name in chosen]
    return given if rng.random() < 0.9 else [*given, given[0].replace("=", rng.choice(WORDS), 1)]
