"""Small damages to what is whole: bytes, texts and trees of JSON or YAML."""

import copy
import json
import struct
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


def damaged_bytes(rng: Random, data: bytes) -> bytes:
    """Change, cut out, put in, repeat or cut off some bytes; the beginning is hit more often."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        end = len(data) if rng.random() < 0.5 else min(len(data), 512)
        at = rng.randrange(end + 1)
        match rng.randrange(7):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + rng.choice([1, 4, 50])]
            case 4:
                data[at:at] = rng.randbytes(rng.choice([1, 4, 50]))
            case 5:
                number = rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, rng.randrange(1 << 32)])
                data[at : at + 4] = struct.pack(rng.choice("<>") + "I", number)
            case 6:
                data[at:at] = data[at : at + rng.choice([4, 100])]
    return bytes(data)


def damaged_text(rng: Random, text: str) -> str:
    """Put a strange literal somewhere, or repeat, remove or damage some of the text."""
    at = rng.randrange(len(text) + 1)
    match rng.randrange(5):
        case 0:
            return text[:at] + rng.choice(LITERALS) + text[at:]
        case 1:
            lines = text.splitlines(keepends=True)
            del lines[rng.randrange(len(lines))]
            return "".join(lines)
        case 2:
            lines = text.splitlines(keepends=True)
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            return "".join(lines)
        case 3:
            return text[:at]
    return damaged_bytes(rng, text.encode()).decode(errors="replace")


def value(rng: Random) -> object:
    """Return a value that is seldom what is wanted."""
    return rng.choice(NASTY if rng.random() < 0.7 else WHOLE)


def damaged_tree(rng: Random, tree: object) -> object:
    """Return a copy of lists and dicts in which some places hold something else, or are gone."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        holders = [node for node in _nodes(tree) if isinstance(node, list | dict) and node]
        if not holders or rng.random() < 0.02:
            return value(rng)
        holder = rng.choice(holders)
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        match rng.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice(WORDS)] = holder.pop(key)
            case 1 | 2 if isinstance(holder, list):
                holder.extend([copy.deepcopy(holder[key])] * rng.choice([1, 3, 300]))
            case _:
                holder[key] = value(rng)
    return tree


def _nodes(tree: object) -> list[object]:
    """Return a tree and all that is in it, but for what is very deep."""
    found, waiting = [], [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        found.append(node)
        if depth < 12 and isinstance(node, list | dict):
            inner = node.values() if isinstance(node, dict) else node
            waiting += [(child, depth + 1) for child in inner]
    return found


def damaged_json(rng: Random, text: str) -> str:
    """Damage JSON as a tree, or as a text."""
    if rng.random() < 0.75:
        return json.dumps(damaged_tree(rng, json.loads(text)))
    return damaged_text(rng, text)
