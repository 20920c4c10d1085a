"""`invflow doctor` says what there is, wherever it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from invflow.cli import doctor
from tests.cli.conftest import Invflow
from tests.documented import ROOT

#: Packages that a broken environment may hold, as files.
BROKEN = {
    "typer": 'raise RuntimeError("made for another Python\\nand another line")',
    "narwhals": "raise SystemExit(3)",
    "pooch": "import no_such_module",
}
REQUIRED = [
    "torch>=2.9",
    'good_one>=1; extra == "first"',
    "Good.One>=1; extra == 'second'",
    "absent<2,>=1; extra == 'second'",
    "old>=2; extra == 'third'",
    "absent; (sys_platform == 'none') and extra == 'third'",
    "absent; (sys_platform == 'none') and extra == 'fourth'",
    "absent; extra == 'dev'",
]


def _lines(text: str) -> dict[str, str]:
    return {line[:10].strip(): line[11:] for line in text.splitlines()}


def test_everything_is_said_where_everything_is_there(
    invflow: Invflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_failure", lambda modules: None)  # importing all takes seconds
    code, out, error = invflow("doctor")
    assert (code, error) == (0, "")
    said = _lines(out)
    assert list(said) == list(doctor.LINES)
    assert len(said) <= 12
    assert said["torch"].startswith(metadata.version("torch"))
    assert "vi" in said["extras"].split(", ")
    assert said["broken"] == "nothing"
    assert not [text for text in said.values() if "unknown" in text]


def test_nothing_stops_it(tmp_path: Path) -> None:
    needed = {"dill", "numpy", "packaging", "safetensors", "torch", "typing_extensions", "invflow"}
    installed = {name for of in doctor._installed().values() for name in of}
    # The others are empty here, which is faster.
    working = {name: "" for name in installed - needed if name.isidentifier()}
    for name, code in {**working, **BROKEN}.items():
        (tmp_path / f"{name}.py").write_text(code)
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "INVFLOW_KERNELS": "oops",
        "HOME": str(tmp_path),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "invflow", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path
        )

    done = run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"^broken     typer .*, RuntimeError: made for another Python$", done.stdout, re.M
    )
    assert re.search(r"^broken     narwhals .*, SystemExit: 3$", done.stdout, re.M)
    assert re.search(r"^broken     pooch .*, ModuleNotFoundError: .*", done.stdout, re.M)
    assert "no kernels, PyTorch runs: INVFLOW_KERNELS must be one of " in done.stdout
    assert not re.search(r"(?<!\w)/\w+/", done.stdout)  # folders may hold names of people
    other = run("posterior", "model.py")
    assert other.returncode == 1
    assert "the command line cannot start (RuntimeError: made for another Python" in other.stderr
    assert "Traceback" not in other.stderr


def test_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"good-one": "1.5", "old": "1.9.post1"}
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: REQUIRED)
    monkeypatch.setattr(doctor, "_installed", lambda: {name: [name] for name in there})
    monkeypatch.setattr(doctor, "_version", there.__getitem__)
    assert doctor.LINES["extras"]() == "first, fourth"
    assert doctor.LINES["missing"]() == "second (absent), third (old 1.9.post1: needs >=2)"
    # Without packaging, which comes with the extra "cli", all requirements count, in any version.
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    assert doctor.LINES["extras"]() == "first"
    assert doctor.LINES["missing"]() == "fourth, second (absent), third (absent)"
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: None)
    assert doctor.LINES["extras"]() == "none is complete"


def test_an_install_that_pip_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    for name in ("requires", "distribution", "version"):
        monkeypatch.setattr(doctor.metadata, name, unknown)
    assert "not installed by pip" in str(doctor.LINES["invflow"]())
    assert "numpy not installed" in str(doctor.LINES["torch"]())
    with pytest.raises(metadata.PackageNotFoundError):
        doctor.LINES["extras"]()  # the command says that this is unknown


def test_a_line_that_cannot_be_made_is_unknown(
    invflow: Invflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> str:
        sys.stdout.write("noise")
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "LINES", {"torch": fails, "python": lambda: "3"})
    code, out, _ = invflow("doctor")
    assert code == 0
    assert _lines(out) == {"torch": "unknown (ZeroDivisionError)", "python": "3"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{Path.home()}/my code/libinvflow.bin is damaged", "libinvflow.bin is damaged"),
        ("cc -c /srv/jane doe/x.c failed", "x.c failed"),
        (r"C:\Users\jane\env\x.dll: not found", "x.dll: not found"),
        ("see https://pytorch.org/get-started/locally", None),
        ("OMP_NUM_THREADS=1, 1 of 2 processors and/or 3", None),
    ],
)
def test_folders_are_not_shown(
    text: str, shown: str | None, invflow: Invflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LINES", {"on CPUs": lambda: text})
    _, out, _ = invflow("doctor")
    (said,) = _lines(out).values()
    assert said == text if shown is None else said.endswith(shown)
    assert "jane" not in said
    assert str(Path.home()) not in said
