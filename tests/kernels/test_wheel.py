"""What the build hook puts into wheels, with a compiler and without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.kernels import small

pytest.importorskip("hatchling", reason="what the package is built with")
pytestmark = small.needed
ROOT = Path(__file__).parents[2]
FILES = {"invflow/kernels/libinvflow.bin", "invflow/kernels/libinvflow.json"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of all that packages are made from, with small sources."""
    folder = tmp_path / "checkout"
    foreign = shutil.ignore_patterns("__pycache__", "libinvflow*")
    shutil.copytree(ROOT / "src", folder / "src", ignore=foreign)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    shutil.rmtree(folder / "src/invflow/kernels/c", ignore_errors=True)
    small.sources(folder / "src/invflow/kernels/c")
    return folder


def _build(checkout: Path, target: str, **environment: str) -> Path:
    """Return the file that is built."""
    out = checkout / "dist"
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)],
        cwd=checkout,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.iterdir()
    return file


def _names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def _in_place(checkout: Path) -> bool:
    return (checkout / "src/invflow/kernels/libinvflow.bin").exists()


def test_a_wheel_brings_the_library_and_no_sources(checkout: Path) -> None:
    wheel = _build(checkout, "wheel")
    assert wheel.name.startswith("invflow-")
    assert "-py3-none-" in wheel.name
    assert "-any" not in wheel.name
    names = _names(wheel)
    assert names >= {*FILES, "invflow_command.py"}
    assert not [name for name in names if name.endswith((".c", ".h"))]
    about = zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("/WHEEL")))
    assert b"Root-Is-Purelib: false" in about
    assert not _in_place(checkout)


ASK = """
import sys
sys.path.insert(0, sys.argv[1])
import invflow
from invflow.kernels.cpu import library
assert invflow.__file__.startswith(sys.argv[1])
print(library.reason(), library.variant())
"""


def test_what_a_wheel_brings_is_taken(checkout: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(_build(checkout, "wheel")).extractall(tmp_path / "site")
    command = [sys.executable, "-W", "error", "-c", ASK, str(tmp_path / "site")]
    environment = {**os.environ, "CC": "/nowhere/cc"}
    environment.pop("INVFLOW_KERNELS", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout.strip(), done.stderr) == ("None small", "")


def test_without_a_compiler_a_wheel_is_for_all_systems(checkout: Path) -> None:
    wheel = _build(checkout, "wheel", CC="/nowhere/cc")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not FILES & _names(wheel)


def test_a_library_in_a_checkout_does_not_get_into_wheels(checkout: Path) -> None:
    _build(checkout, "wheel:editable")
    assert _in_place(checkout)
    assert not FILES & _names(_build(checkout, "wheel", CC="/nowhere/cc"))


def test_an_editable_install_builds_in_place(checkout: Path) -> None:
    wheel = _build(checkout, "wheel:editable")
    assert not FILES & _names(wheel)
    assert _in_place(checkout)


def test_an_editable_install_without_a_compiler(checkout: Path) -> None:
    _build(checkout, "wheel:editable", CC="/nowhere/cc")
    assert not _in_place(checkout)


def test_the_sources_of_a_release_build_the_library(checkout: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(_build(checkout, "sdist"), tmp_path, filter="data")
    (release,) = tmp_path.glob("invflow-*")
    assert _names(_build(release, "wheel")) >= FILES
