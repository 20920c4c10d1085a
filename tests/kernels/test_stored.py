"""Machine code on disk: whatever becomes of it, flows give the right numbers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")

from invflow.kernels.cpu import stored

_FLOW = """
import warnings, torch
from invflow import IAF, NSF, RealNVP
torch.manual_seed(0)

def check(dtype=torch.float32):
    flow = IAF(3, 0, 2, (8,)).to(dtype)
    x = torch.randn(5, 3, dtype=dtype)
    with torch.no_grad():
        found = flow().log_prob(x)
        for part in flow.transform.transforms:
            part.inverse_method = "passes"
        torch.testing.assert_close(found, flow().log_prob(x), rtol=1e-4, atol=1e-4)
"""


def _run(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _FLOW + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class _Target:
    """Stands for Numba's view of a processor."""

    def __init__(self, features: str = "+avx2") -> None:
        self.features = features

    def refresh(self) -> None: ...

    def codegen(self) -> _Target:
        return self

    def magic_tuple(self) -> tuple[str, ...]:
        return "x86_64", "zen", self.features


class _Result:
    """Stands for compiled code."""

    target_context = _Target()

    def _reduce(self) -> tuple[str, ...]:
        return ("machine code",)


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(
        stored.CompileResult, "_rebuild", staticmethod(lambda target, *parts: parts)
    )
    stored._told.cache_clear()


def _files() -> list[Path]:
    return sorted(stored.folder().glob("*"))


def test_code_is_kept_by_source_and_processor() -> None:
    for source in ("float32", "float64"):
        stored.Stored(source).save_overload(None, _Result())
    assert len(_files()) == 2
    assert stored.Stored("float32").load_overload(None, _Target()) == ("machine code",)
    assert stored.Stored("float32").load_overload(None, _Target("+avx512f")) is None
    assert stored.Stored("bfloat16").load_overload(None, _Target()) is None


def test_versions_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    stored.Stored("a").save_overload(None, _Result())
    for module, name in ((stored.numba, "__version__"), (stored.llvmlite, "__version__")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, "99.0")
            assert stored.Stored("a").load_overload(None, _Target()) is None
    monkeypatch.setattr(sys, "version", "4.0")
    assert stored.Stored("a").load_overload(None, _Target()) is None


DAMAGES = {
    "empty": lambda code: b"",
    "half": lambda code: code[: len(code) // 2],
    "one-bit": lambda code: code[:-3] + bytes([code[-3] ^ 1]) + code[-2:],
    "other": lambda code: b"x" * len(code),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_code_is_made_anew(damage: str) -> None:
    stored.Stored("a").save_overload(None, _Result())
    (path,) = _files()
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.warns(RuntimeWarning, match=f"{path.name} is damaged"):
        assert stored.Stored("a").load_overload(None, _Target()) is None
    assert stored.Stored("a").load_overload(None, _Target()) is None  # and says so once
    stored.Stored("a").save_overload(None, _Result())
    assert stored.Stored("a").load_overload(None, _Target()) == ("machine code",)


def test_code_that_does_not_fit_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AttributeError("of another world")

    stored.Stored("a").save_overload(None, _Result())
    monkeypatch.setattr(stored.CompileResult, "_rebuild", staticmethod(fail))
    with pytest.warns(RuntimeWarning, match="of another world"):
        assert stored.Stored("a").load_overload(None, _Target()) is None


def test_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR"):
        stored.Stored("a").save_overload(None, _Result())
    stored.Stored("a").save_overload(None, _Result())  # and says so once
    assert stored.Stored("a").load_overload(None, _Target()) is None


def test_a_full_disk_leaves_nothing_half_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        stored.Stored("a").save_overload(None, _Result())
    assert not _files()


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.warns(RuntimeWarning, match="home directory"):
        assert stored.Stored("a").load_overload(None, _Target()) is None


def test_nothing_is_said_where_all_is_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stored.Stored("a").load_overload(None, _Target()) is None
        stored.Stored("a").save_overload(None, _Result())


BROKEN = {
    "OSError": "raise OSError('Could not load shared object file: libllvmlite.so')",
    "ImportError": "raise ImportError('Numba needs NumPy 2.1 or less. Got NumPy 9.9.')",
    "AttributeError": "raise AttributeError('_ARRAY_API not found')",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_compiler_is_said_once_and_harms_none(fault: str, tmp_path: Path) -> None:
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text(BROKEN[fault])
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    script = """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what needs no kernel has nothing to do with it
        for flow in (NSF(3, 0, 1, (8,)), RealNVP(3, 0, 1, (8,)), IAF(3, inverse="cached")):
            flow().sample((2,))
            flow().log_prob(torch.zeros(3))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for dtype in (torch.float32, torch.float64):
            check(dtype)
    assert [warning.category for warning in said] == [RuntimeWarning], said
    assert "PyTorch takes their place" in str(said[0].message)
    """
    _run(script, PYTHONPATH=path)


@pytest.mark.slow
def test_processes_that_compile_at_the_same_time(tmp_path: Path) -> None:
    """Two processes and two precisions, and a third that takes what they left."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    script = _FLOW + "warnings.simplefilter('error')\ncheck(torch.{})\n"
    runs = [
        subprocess.Popen([sys.executable, "-c", script.format(dtype)], env=environment)
        for dtype in ("float32", "float64", "float32")
    ]
    assert [run.wait(timeout=300) for run in runs] == [0, 0, 0]
    assert len(list((tmp_path / "invflow").glob("*.kernel"))) == 2
    _run(
        """
        warnings.simplefilter("error")
        check(torch.float64)
        check(torch.float32)
        from invflow.kernels.cpu import chain
        for dtype in (torch.float32, torch.float64):
            assert chain._compiled("chain", dtype).cache_hits == 1
        """,
        NUMBA_CACHE_DIR=str(tmp_path),
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", ["damaged", "file"])
def test_kernels_without_a_cache(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "invflow"
    if how == "file":
        folder.write_text("not a folder")
    else:
        _run("check()", NUMBA_CACHE_DIR=str(tmp_path))
        for path in folder.glob("*.kernel"):
            path.write_bytes(path.read_bytes()[:-100])
    script = """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check()
    assert [warning.category for warning in said] == [RuntimeWarning], said
    """
    _run(script, NUMBA_CACHE_DIR=str(tmp_path))
