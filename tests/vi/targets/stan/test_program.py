"""Programs and data, as they are given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from invflow.vi import from_stan
from invflow.vi.targets.stan.program import Program, data_text, program

TEXT = "parameters {\n  real x;\n}\nmodel {\n  x ~ normal(0, 1);\n}\n"


def test_text_and_paths(tmp_path: Path) -> None:
    path = tmp_path / "normal.stan"
    path.write_text(TEXT)
    assert program(TEXT) == Program("model.stan", TEXT)
    assert program(TEXT.replace("\n", " ")).text == TEXT.replace("\n", " ")
    assert program(path) == program(str(path)) == Program("normal.stan", TEXT)


@pytest.mark.parametrize("name", ["none.stan", "none", "folder/none.txt"])
def test_what_looks_like_a_path_must_exist(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name} does not exist"):
        program(name)


@pytest.mark.parametrize("suffix", [".so", ".dylib", ".dll"])
def test_a_compiled_model_is_no_program(suffix: str) -> None:
    """Whether it exists or not."""
    with pytest.raises(ValueError, match=r"got model\S+, a compiled one: give the \.stan file"):
        program(f"model{suffix}")


def test_programs_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.stan").write_bytes(b"\x7fELF\xff")
    with pytest.raises(ValueError, match=r"a\.stan is not text"):
        program(tmp_path / "a.stan")
    with pytest.raises(TypeError, match=r"program must be the path .* got a bytes"):
        program(b"model {}")  # pyright: ignore[reportArgumentType]


def test_included_files_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "f.stan").write_text("real f(real x) { return x; }")
    (tmp_path / "all.stan").write_text("#include parts/f.stan\n")
    (tmp_path / "m.stan").write_text('functions {\n  #include "all.stan" // those\n}\nmodel {}')
    found = program(tmp_path / "m.stan").text
    assert " ".join(found.split()) == "functions { real f(real x) { return x; } } model {}"
    (tmp_path / "all.stan").write_text("#include <m.stan>")
    with pytest.raises(ValueError, match=r"m\.stan includes itself"):
        program(tmp_path / "m.stan")
    (tmp_path / "all.stan").unlink()
    with pytest.raises(FileNotFoundError, match=r"all\.stan does not exist"):
        program(tmp_path / "m.stan")


def test_data_by_name() -> None:
    given = {
        "n": np.int64(3),
        "x": torch.arange(4).reshape(2, 2),
        "y": np.array([1 + 2j, 3]),
        "pairs": [(1, torch.ones(2))],
        "missing": float("nan"),
    }
    found = json.loads(data_text(given))
    assert str(found.pop("missing")) == "nan"
    assert found == {
        "n": 3,
        "x": [[0, 1], [2, 3]],
        "y": [[1.0, 2.0], [3.0, 0.0]],
        "pairs": [[1, [1.0, 1.0]]],
    }
    assert data_text(None) == "{}"


def test_data_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text('{"n": 3,\n "x": [1, 2.0]}')
    assert data_text(path) == data_text(str(path)) == '{"n": 3,\n "x": [1, 2.0]}'


def test_bad_data(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="data must be numbers, lists, arrays or tensors, got a se"):
        data_text({"y": {1, 2}})
    with pytest.raises(TypeError, match="data must be values by name, or a path, got a list"):
        data_text([1])  # pyright: ignore[reportArgumentType]
    with pytest.raises(FileNotFoundError, match=r"none\.json does not exist"):
        data_text(tmp_path / "none.json")
    for text, message in (("n <- 3", "does not hold JSON"), ("[1]", "must hold a JSON object")):
        (tmp_path / "data.json").write_text(text)
        with pytest.raises(ValueError, match=rf"data\.json {message}"):
            data_text(tmp_path / "data.json")


def test_an_unknown_engine() -> None:
    with pytest.raises(ValueError, match=r"engine must be one of 'auto', .*, got 'cmdstan'"):
        from_stan(TEXT, engine="cmdstan")
