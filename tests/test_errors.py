"""Messages about files that no other test reaches, word for word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from invflow import IAF, Flow, _files, _json, _readable, _tensors

#: What a JSON file holds, and what is wrong with it.
JSON = {
    '{"a": 1, "a": 2}': "the key 'a' appears twice",
    "[1e999]": "it holds 1e999, which is too large",
    "9" * 5000: "it holds an integer of 5,000 digits",
}


@pytest.mark.parametrize("text", JSON, ids=range(len(JSON)))
def test_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=JSON[text]):
        _json.read(tmp_path / "a.json")


def test_a_header_that_is_too_long(tmp_path: Path) -> None:
    size = _tensors.LONGEST + 1
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.write(size.to_bytes(8, "little"))
        file.truncate(size + 8)
    with pytest.raises(ValueError, match=f"its header has {size:,} bytes"):
        _tensors.read(tmp_path / "a.safetensors")


#: What is changed in the `config.json` of a flow, and what is said of it.
CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "nothing": (lambda content: content.clear(), "was not written by invflow: it lacks format"),
    "format": (
        lambda content: content.update(format=99, invflow="9.9"),
        "has format 99, written by invflow '9.9'; this is invflow .*, which reads format",
    ),
    "tensors": (
        lambda content: content.update(tensors={}),
        "was not written by invflow: its tensors lack bytes or sha256",
    ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_configurations(case: str, tmp_path: Path) -> None:
    change, message = CONFIGS[case]
    IAF(2).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    change(content)
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        Flow.from_pretrained(tmp_path)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a regular file and cannot be replaced"):
        _files.write_text(tmp_path, "text")
    (tmp_path / "a").write_text("text")
    with pytest.raises(ValueError, match="has 4 bytes, at most 3 were expected"):
        _readable.read(tmp_path / "a", largest=3)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a path: "):
        _readable.check_readable(Path("a\0"))
    with pytest.raises(ValueError, match="is a directory; expected a file"):
        _readable.check_readable(tmp_path)
    with pytest.raises(ValueError, match="is not a regular file, but a pipe, socket or device"):
        _readable.check_readable(Path("/dev/null"))
