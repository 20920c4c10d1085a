"""How the library is compiled, and what happens where it cannot be."""

from __future__ import annotations

import ast
import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from invflow.kernels import build
from invflow.kernels.cpu.record import Record
from tests.kernels import small

pytestmark = small.needed
#: Something that happens to a folder of sources and the library that was made from it.
Change = Callable[[Path, Path], object]
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@pytest.fixture(autouse=True)
def _no_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return small.sources(tmp_path / "c")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "libinvflow.bin"


def _stands_for_a_compiler(folder: Path, script: str) -> str:
    """Write a program that does something before it becomes the compiler."""
    file = folder / "compiler"
    file.write_text(f'#!/bin/sh\n{script}\nexec {COMPILER} "$@"\n')
    file.chmod(0o755)
    return str(file)


def _times(library: Path) -> list[int]:
    return [file.stat().st_mtime_ns for file in (library, build.stamp(library))]


def test_a_library_has_all_variants_and_tells_what_it_is(sources: Path, library: Path) -> None:
    build.build(sources, library)
    assert ctypes.CDLL(str(library)).invflow_abi() == ctypes.sizeof(Record)
    about = json.loads(build.stamp(library).read_text())
    expected = {"x86_64": ["avx512", "avx2"], "aarch64": ["neon"], "arm64": ["neon"]}
    assert about["variants"] == expected[platform.machine()]
    assert about["compiler"]
    assert {file.name for file in library.parent.iterdir()} == {
        "c", "libinvflow.bin", "libinvflow.json",
    }  # fmt: skip


def test_only_what_is_exported_can_be_seen(sources: Path, library: Path) -> None:
    build.build(sources, library)
    loaded = ctypes.CDLL(str(library))
    for name in json.loads(build.stamp(library).read_text())["variants"]:
        with pytest.raises(AttributeError):
            getattr(loaded, f"invflow_{name}_f32")


def test_a_library_is_made_once(sources: Path, library: Path) -> None:
    build.current(sources, library)
    before = _times(library)
    build.current(sources, library)
    assert _times(library) == before


def _edit(sources: Path, library: Path) -> None:
    with (sources / "variant.c").open("a") as file:
        file.write("\n")


def _add(sources: Path, library: Path) -> None:
    (sources / "more.h").touch()


def _truncate(sources: Path, library: Path) -> None:
    library.write_bytes(library.read_bytes()[:-1])


def _flip(sources: Path, library: Path) -> None:
    content = bytearray(library.read_bytes())
    content[len(content) // 2] ^= 1
    library.write_bytes(content)


def _remove(sources: Path, library: Path) -> None:
    library.unlink()


def _unstamp(sources: Path, library: Path) -> None:
    build.stamp(library).unlink()


def _scribble(sources: Path, library: Path) -> None:
    build.stamp(library).write_text("[1, 2")


CHANGES: list[Change] = [_edit, _add, _truncate, _flip, _remove, _unstamp, _scribble]


@pytest.mark.parametrize("change", CHANGES)
def test_a_library_is_compiled_again_when_it_is_not_of_the_sources(
    change: Change, sources: Path, library: Path
) -> None:
    build.current(sources, library)
    before, whole = _times(library), library.read_bytes()
    change(sources, library)
    build.current(sources, library)
    assert _times(library) != before
    assert library.read_bytes() == whole  # as compilers give the same for the same
    before = _times(library)
    build.current(sources, library)
    assert _times(library) == before


def test_without_sources_a_library_is_taken_as_it_is(sources: Path, library: Path) -> None:
    build.build(sources, library)
    before = _times(library)
    build.current(sources / "nowhere", library)
    assert _times(library) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_truncate, "is damaged"),
        (_flip, "is damaged"),
        (_unstamp, "is damaged"),
        (_scribble, "is damaged"),
        (_remove, "built without a working C compiler"),
    ],
)
def test_without_sources_a_library_must_be_whole(
    change: Change, said: str, sources: Path, library: Path
) -> None:
    build.build(sources, library)
    change(sources, library)
    with pytest.raises(build.BuildError, match=said):
        build.current(sources / "nowhere", library)


def test_no_compiler(
    sources: Path, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match="none of cc, gcc and clang"):
        build.current(sources, library)
    assert not library.exists()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("/nowhere/cc", "compiler /nowhere/cc cannot be run: No such file"),
        ("/", "compiler / cannot be run: Permission denied"),
        ("cc 'x", "CC must be a command, got"),
        ("false", "false .* failed:\nexit status 1"),
    ],
)
def test_a_compiler_that_is_not_one(
    named: str, said: str, sources: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", named)
    with pytest.raises(build.BuildError, match=said):
        build.current(sources, library)
    assert not library.exists()


@pytest.mark.parametrize("file", ["library.c", "variant.c"])
def test_what_the_compiler_says_is_passed_on(file: str, sources: Path, library: Path) -> None:
    build.current(sources, library)
    before = _times(library)
    (sources / file).write_text("int broken(void) { return nonsense; }\n")
    with pytest.raises(build.BuildError, match=rf"(?s)-c \S*{file} .* failed:.*nonsense"):
        build.current(sources, library)
    assert _times(library) == before
    assert set(library.parent.glob("libinvflow*")) == {build.stamp(library), library}


def test_a_compiler_that_knows_no_variant(
    sources: Path, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "VARIANTS", {build._family(): {"new": ["-mnew-instructions"]}})
    with pytest.raises(build.BuildError, match="cannot compile for any of new"):
        build.build(sources, library)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="there are two variants")
def test_flags_that_a_compiler_does_not_know(
    sources: Path, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = 'case "$*" in *-mavx512dq*) exit 1;; esac'
    monkeypatch.setenv("CC", _stands_for_a_compiler(tmp_path, old))
    build.build(sources, library)
    assert json.loads(build.stamp(library).read_text())["variants"] == ["avx2"]


def test_an_empty_name_is_none(
    sources: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", " ")
    build.build(sources, library)
    assert library.is_file()


@pytest.mark.parametrize("changed", ["system", "processor"])
def test_a_library_for_another_kind_of_computer_is_compiled_again(
    changed: str, sources: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder that two of them share: the one cannot load what the other made."""
    made = list[Path]()
    build.current(sources, library)
    monkeypatch.setattr(build, "build", lambda _, library: made.append(library))
    build.current(sources, library)
    assert made == []
    if changed == "system":
        monkeypatch.setattr(sys, "platform", "other")
    else:
        monkeypatch.setattr(build, "_family", lambda: "other")
    build.current(sources, library)
    assert made == [library]


def test_a_command_with_arguments(
    sources: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (sources / "library.c").open("a") as file:
        file.write("EXPORT int told(void) { return TOLD; }\n")
    monkeypatch.setenv("CC", f"{COMPILER} -DTOLD=7")
    build.build(sources, library)
    assert ctypes.CDLL(str(library)).told() == 7


def test_a_folder_that_cannot_be_written(
    sources: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system", str(library.parent))

    with monkeypatch.context() as patch:
        patch.setattr(build.tempfile, "TemporaryDirectory", refused)
        said = f"cannot be written to {library.parent}: Read-only file system"
        with pytest.raises(build.BuildError, match=said):
            build.current(sources, library)
    build.current(sources, library)
    monkeypatch.setattr(build.tempfile, "TemporaryDirectory", refused)
    build.current(sources, library)  # nothing needs to be written


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])  # alone, as the build hook has it
import build
build.current(Path(sys.argv[2]), Path(sys.argv[3]))
"""


def _start(sources: Path, library: Path, compiler: str) -> subprocess.Popen[bytes]:
    arguments = [str(Path(build.__file__).parent), str(sources), str(library)]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], env={**os.environ, "CC": compiler}
    )


def test_processes_that_build_at_the_same_time(
    sources: Path, library: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    compiler = _stands_for_a_compiler(tmp_path, f'echo "$@" >>{log}; sleep 0.1')
    processes = [_start(sources, library, compiler) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    assert log.read_text().count("-c " + str(sources / "library.c")) == 1
    build.current(sources / "nowhere", library)


def test_a_process_that_is_killed_while_it_builds(
    sources: Path, library: Path, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    slow = _stands_for_a_compiler(tmp_path, f"touch {started}; exec sleep 5")
    process = _start(sources, library, slow)
    deadline = time.monotonic() + 30
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait(timeout=10)
    assert not library.exists()
    build.current(sources, library)
    build.current(sources / "nowhere", library)


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("linux", "x86_64", True),
        ("linux", "aarch64", True),
        ("darwin", "arm64", True),
        ("linux", "riscv64", False),
        ("win32", "AMD64", False),
    ],
)
def test_what_there_are_kernels_for(
    system: str, machine: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert build.supported() is expected


@pytest.mark.parametrize(
    ("system", "machine", "needs", "expected"),
    [
        ("linux", "x86_64", b"GLIBC_2.2.5 GLIBC_2.4", "manylinux_2_17_x86_64"),
        ("linux", "x86_64", b"GLIBC_2.2.5\0GLIBC_2.29", "manylinux_2_29_x86_64"),
        ("linux", "aarch64", b"GLIBC_2.17\0GLIBC_ABI_DT_RELR", "manylinux_2_36_aarch64"),
        ("linux", "x86_64", b"musl", "linux_x86_64"),
        ("darwin", "arm64", b"", "macosx_11_0_arm64"),
    ],
)
def test_the_tag_of_a_wheel(
    system: str,
    machine: str,
    needs: bytes,
    expected: str,
    library: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library.write_bytes(b"\x7fELF" + needs)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert build.wheel_tag(library) == f"py3-none-{expected}"


def test_the_module_stands_alone() -> None:
    tree = ast.parse(Path(build.__file__).read_text())
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert names <= sys.stdlib_module_names
