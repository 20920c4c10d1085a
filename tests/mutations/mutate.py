"""Damage to a file: of its bytes, of what it holds, of what it is; all of it from a seed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

#: What may stand where a JSON value was; text is put there as it is.
HOSTILE: list[Any] = [
    *(
        None,
        True,
        False,
        -1,
        0,
        0.5,
        1e308,
        -1e308,
        10**9,
        10**30,
        "",
        "x",
        "../x",
        "\x00",
        "\u202e",
    ),
    *([], {}, [None], [[]], {"": None}, {"name": "iaf"}, [0] * 5000, "x" * 100_000),
]
LITERAL = [
    *("NaN", "Infinity", "-Infinity", "1e999", "9" * 4000, "9" * 40_000, "0." + "1" * 10_000),
    *(
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 900 + "1" + "}" * 900,
        '"\\ud800"',
        '{"a": 1, "a": 2}',
    ),
]
MARK = "\u2603mark"

Mutation = Callable[[Path, Random], None]


def _flipped(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(random.choice([1, 2, 8])):
        place = random.randrange(len(content))
        content[place] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def _truncated(path: Path, random: Random) -> None:
    os.truncate(path, random.randrange(path.stat().st_size))


def _emptied(path: Path, random: Random) -> None:
    os.truncate(path, 0)


def _spliced(path: Path, random: Random) -> None:
    """Insert, remove, repeat or overwrite a block."""
    content = path.read_bytes()
    first = random.randrange(len(content))
    last = min(len(content), first + random.choice([1, 7, 64, 1000]))
    block = random.choice(
        [b"", random.randbytes(64), b"\xff" * 64, b"\0" * 64, content[first:last] * 3]
    )
    path.write_bytes(content[:first] + block + content[random.choice([first, last]) :])


def _extended(path: Path, random: Random) -> None:
    with path.open("ab") as file:
        file.write(random.choice([b"\0" * 4096, b"\n" * 10, b"x", random.randbytes(100)]))


def _sparse(path: Path, random: Random) -> None:
    """Very long, and nearly nothing on disk."""
    os.truncate(path, random.choice([2**31, 2**36]))


def _directory(path: Path, random: Random) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, random: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _loop(path: Path, random: Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _dangling(path: Path, random: Random) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def _device(path: Path, random: Random) -> None:
    path.unlink()
    path.symlink_to(random.choice(["/dev/null", "/dev/zero"]))


def _missing(path: Path, random: Random) -> None:
    path.unlink()


def _swapped(path: Path, random: Random) -> None:
    """Another file of the same directory tree."""
    root = next(parent for parent in path.parents if (parent / ".root").exists())
    others = [
        each
        for each in sorted(root.rglob("*"))
        if each.is_file() and each not in (path, root / ".root")
    ]
    content = random.choice(others).read_bytes() if others else b"PK\x03\x04"
    path.write_bytes(content)


BYTES: list[Mutation] = [
    *(_flipped, _flipped, _flipped, _truncated, _truncated, _spliced, _spliced, _extended),
    *(_emptied, _sparse, _directory, _pipe, _loop, _dangling, _device, _missing, _swapped),
]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return all containers and keys in JSON."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    inner = [place for _, each in items for place in _places(each)]
    return [(value, key) for key, _ in items] + inner


def _damaged(value: Any, random: Random) -> str:
    """Change one place in a JSON value; return it as text."""
    container, key = random.choice(_places(value))
    kind = random.choice(["hostile", "hostile", "literal", "delete", "add", "number", "swap"])
    text = MARK
    if kind == "hostile":
        container[key] = random.choice(HOSTILE)
    elif kind == "literal":
        container[key] = MARK
        text = random.choice(LITERAL)
    elif kind == "delete":
        del container[key]
    elif kind == "add" and isinstance(container, dict):
        container["unknown"] = container[key]
    elif kind == "number" and isinstance(container[key], int | float):
        container[key] = container[key] * random.choice([-1, 2, 1000, 1e300, 0.5])
    else:
        other, place = random.choice(_places(value))
        container[key], other[place] = other[place], container[key]
        if container[key] is other or other[place] is container or _is_circular(value):
            container[key] = None
            other[place] = None
    return json.dumps(value).replace(json.dumps(MARK), text)


def _is_circular(value: Any) -> bool:
    try:
        json.dumps(value)
    except (ValueError, RecursionError):
        return True
    return False


def _json_value(path: Path, random: Random) -> None:
    path.write_text(_damaged(json.loads(path.read_text()), random))


def _json_text(path: Path, random: Random) -> None:
    text = path.read_text()
    encoding = random.choice(["utf-16", "utf-8-sig", "utf-32", "latin-1"])
    path.write_bytes((text + " \xff" * (encoding == "latin-1")).encode(encoding))


def _header(path: Path, random: Random) -> None:
    """Change the header of a safetensors file, whose length then fits it again, or not."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if random.random() < 0.2:
        name = random.choice([name for name in header if name != "__metadata__"])
        header[name]["shape"] = random.choice([[2**40, 3], [2**62, 2**62], [-1, -4], [0, 10**30]])
        text = json.dumps(header)
    else:
        text = _damaged(header, random)
    said = random.choice([len(text), len(text), len(text), 2**40, 2**63, 3])
    path.write_bytes(said.to_bytes(8, "little") + text.encode() + content[8 + length :])


def _tensors(path: Path, random: Random) -> None:
    """Change tensors, or the structure beside them, in a file that stays whole."""
    import safetensors
    import safetensors.torch
    import torch

    with safetensors.safe_open(path, "pt") as file:
        strings = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    name = random.choice(sorted(tensors))
    tensor = tensors[name]
    match random.choice(["nan", "dtype", "shape", "drop", "add", "huge", "structure", "structure"]):
        case "nan":
            tensors[name] = (
                torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else -tensor.int()
            )
        case "dtype":
            tensors[name] = tensor.to(
                random.choice([torch.float16, torch.int64, torch.bool, torch.uint8])
            )
        case "shape":
            tensors[name] = (
                tensor.reshape(-1, 1) if random.random() < 0.5 else tensor.reshape(-1)[:1].clone()
            )
        case "drop":
            del tensors[name]
        case "add":
            tensors["more"] = torch.zeros(3)
        case "huge":
            tensors[name] = (
                torch.full_like(tensor, 1e30) if tensor.is_floating_point() else tensor + 2**30
            )
        case _ if "structure" in strings:
            strings["structure"] = _damaged(json.loads(strings["structure"]), random)
        case _:
            strings["x"] = "y"
    strings.pop("sha256", None)  # as earlier versions wrote it, so that what it holds is looked at
    safetensors.torch.save_file(tensors, path, strings)
    config = path.with_name("config.json")
    if config.exists():
        content = json.loads(config.read_text())
        content.pop("tensors", None)
        config.write_text(json.dumps(content))


def _cells(path: Path, random: Random) -> None:
    """Change the cells of a table in a text file."""
    lines = path.read_text().split("\n")
    row = random.randrange(len(lines))
    cells = lines[row].split(",")
    hostile = [
        "",
        "nan",
        "inf",
        "-1e999",
        "x",
        "9" * 5000,
        '"',
        "\0",
        "1,2",
        "\r",
        "é",
        "0x10",
        "1_000",
    ]
    cells[random.randrange(len(cells))] = random.choice(hostile)
    lines[row] = random.choice([",".join(cells), ",".join(cells), "", ",".join(cells * 500)])
    path.write_bytes(
        "\n".join(lines).encode(random.choice(["utf-8", "utf-8", "latin-1", "utf-16"]))
    )


KINDS: dict[str, list[Mutation]] = {
    ".json": [_json_value, _json_value, _json_value, _json_text],
    ".safetensors": [_header, _header, _tensors, _tensors],
    ".csv": [_cells],
}


def mutate(path: Path, random: Random) -> str:
    """Damage a file, and return how."""
    own = KINDS.get(path.suffix, [])
    mutation = random.choice(own if own and random.random() < 0.6 else BYTES)
    mutation(path, random)
    return mutation.__name__.strip("_")


def copied(source: Path, target: Path) -> None:
    """Copy a directory that `_swapped` may look into."""
    shutil.copytree(source, target)
    (target / ".root").touch()
