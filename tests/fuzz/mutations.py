"""Small damages to what is whole: bytes, texts, trees of JSON or YAML, and files."""

import copy
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import yaml
from values import LITERALS, WORDS, value


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
            case 3 | 4 if isinstance(holder[key], float):
                holder[key] *= rng.choice([-1, 0.5, 1.1, 3])
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


def damage_file(rng: Random, path: Path, damage: Callable[[Random, bytes], bytes]) -> None:
    """Damage the bytes of a file by `damage(rng, bytes)`, or put something else in its place."""
    data = path.read_bytes()
    path.unlink()
    match rng.randrange(40):
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to("/dev/zero")
        case 3:
            path.symlink_to(path.with_name("nowhere"))
        case 4:
            pass
        case _:
            path.write_bytes(damage(rng, data))


def as_text(damage: Callable[[Random, str], str]) -> Callable[[Random, bytes], bytes]:
    """Turn a damage of texts into one of bytes."""
    return lambda rng, data: damage(rng, data.decode()).encode(errors="surrogatepass")


def damaged_yaml(rng: Random, text: str) -> str:
    """Damage YAML as a tree, or as a text."""
    if rng.random() < 0.7:
        return yaml.safe_dump(damaged_tree(rng, yaml.safe_load(text)), sort_keys=False)
    return damaged_text(rng, text)


def damaged_lines(rng: Random, text: str) -> str:
    """Damage one of some lines of JSON."""
    lines = text.splitlines() or ["{}"]
    index = rng.randrange(len(lines))
    lines[index] = damaged_json(rng, lines[index])
    return "\n".join(lines) + "\n"


def damaged_tensors(rng: Random, data: bytes) -> bytes:
    """Damage the header of a safetensors file as JSON, with or without its length, or its bytes."""
    if rng.random() < 0.4:
        return damaged_bytes(rng, data)
    length = int.from_bytes(data[:8], "little")
    header = damaged_json(rng, data[8 : 8 + length].decode()).encode(errors="surrogatepass")
    if rng.random() < 0.8:
        length = len(header)
    return length.to_bytes(8, "little") + header + data[8 + int.from_bytes(data[:8], "little") :]
