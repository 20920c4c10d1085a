"""JSON files that are damaged or hostile: one line, which names the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from invflow import _json

BAD: dict[str, tuple[bytes, str]] = {
    "truncated": (b'{"a": [1, 2', "Expecting"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "nested more than 100 levels"),
    "deep, but not for Python": (b"[" * 101 + b"]" * 101, "nested more than 100 levels"),
    "deep objects": (b'{"a":' * 101 + b"1" + b"}" * 101, "nested more than 100 levels"),
    "long integer": (b'{"a": ' + b"9" * 4000 + b"}", "integer of 4,000 digits"),
    "too long for Python": (b"9" * 5000, "integer of 5,000 digits"),
    "nan": (b"[NaN]", "NaN"),
    "infinity": (b"[-Infinity]", "-Infinity"),
    "overflow": (b"[1e999]", "1e999, which is too large"),
    "duplicate": (b'{"b": {"a": 1, "c": 3, "a": 2}}', "the key 'a' appears twice"),
    "surrogate": (rb'["\ud800"]', "surrogates not allowed"),
    "surrogate key": (rb'{"\udc00": 1}', "surrogates not allowed"),
    "byte order mark": (b"\xef\xbb\xbf{}", "BOM"),
    "utf-16": ("{}".encode("utf-16"), "utf-8"),
    "latin-1": ('{"a": "é"}'.encode("latin-1"), "utf-8"),
    "more than one": (b"{} {}", "Extra data"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_line_names_the_file(name: str, tmp_path: Path) -> None:
    content, reason = BAD[name]
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path} is not a valid JSON file: .*{reason}") as caught:
        _json.read(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2.5, 1e308, 10**299, None, True, "grün \U0001f600"]},
        json.loads("[" * 100 + "]" * 100),
        {},
        "text",
    ],
    ids=["values", "nested", "empty", "text"],
)
def test_what_is_written_is_read(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(_json.text(value), encoding="utf-8")
    assert _json.read(path) == value
    path.write_text(json.dumps(value))  # with escapes
    assert _json.read(path) == value


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": -float("inf")}])
def test_what_could_not_be_read_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _json.text(value)


def test_files_that_are_too_large_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(ValueError, match=r"a\.json has 1,099,511,627,776 bytes, at most"):
        _json.read(path)
