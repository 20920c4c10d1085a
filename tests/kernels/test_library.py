"""The library when it is first needed: loaded, or a warning says why not."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from invflow import IAF, NAF
from invflow.kernels import build, door
from invflow.kernels.cpu import library
from tests.helpers import assert_close, perturbed, randn
from tests.kernels import small

pytestmark = small.needed


def _forget() -> None:
    library._library.cache_clear()
    library.address.cache_clear()
    door.reason.cache_clear()


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand for the folder of the kernels, with small sources."""
    monkeypatch.setattr(build, "SOURCES", small.sources(tmp_path / "c"))
    monkeypatch.setattr(build, "LIBRARY", tmp_path / "libinvflow.bin")
    monkeypatch.delenv("INVFLOW_KERNELS", raising=False)
    monkeypatch.delenv("CC", raising=False)
    _forget()
    yield tmp_path
    _forget()


def _installed(package: Path) -> None:
    """Make it the package as a wheel brings it."""
    build.build(build.SOURCES, build.LIBRARY)
    shutil.rmtree(build.SOURCES)


def _warning() -> str:
    """Return the warning, which appears once; later calls return its reason."""
    with pytest.warns(RuntimeWarning, match="slower PyTorch code runs instead") as said:
        why = library.reason()
    assert why is not None
    assert len(said) == 1
    assert why in str(said[0].message)
    assert library.reason() == why  # a second warning would be an error
    with pytest.raises(RuntimeError, match="the compiled kernels cannot be used"):
        library.address("map", torch.float32)
    return str(said[0].message)


def test_kernels_by_name_and_precision() -> None:
    assert library.reason() is None
    assert library.variant() == "small"
    for dtype, bits in ((torch.float32, 32), (torch.float64, 64)):
        for number, name in enumerate(("map", "pull", "gradients"), 1):
            written = ctypes.c_int64()
            kernel = ctypes.CFUNCTYPE(None, ctypes.c_int64)(library.address(name, dtype))
            kernel(ctypes.addressof(written))
            assert written.value == bits + number
        rate = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)(library.address("rate", dtype))
        assert rate(3) == 3.0


def test_the_variant_is_chosen_once() -> None:
    """The library itself; what is set after the first call would be another one, or none."""
    code = """
import os, torch
from invflow.kernels.cpu import library
before = library.variant()
os.environ["INVFLOW_KERNELS"] = "off"
assert library.variant() == before and library.address("map", torch.float64)
"""
    environment = {name: os.environ[name] for name in os.environ if name != "INVFLOW_KERNELS"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)


def test_a_wheel_needs_no_sources(package: Path) -> None:
    _installed(package)
    assert library.reason() is None


def test_asked_from_many_threads() -> None:
    reasons: list[str | None] = []
    threads = [threading.Thread(target=lambda: reasons.append(library.reason())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reasons == [None] * 8


@pytest.mark.parametrize("where", ["checkout", "wheel"])
def test_off_says_nothing_and_builds_nothing(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVFLOW_KERNELS", "off")
    if where == "wheel":
        shutil.rmtree(build.SOURCES)
    assert library.reason() == "INVFLOW_KERNELS=off"
    assert not build.LIBRARY.exists()


def test_another_system_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert "riscv64" in str(library.reason())
    assert not build.LIBRARY.exists()


def test_an_older_processor_says_nothing(package: Path) -> None:
    small.sources(build.SOURCES, variant="(void *)0")
    assert "no kernels for this processor" in str(library.reason())


def test_a_variant_by_name_that_this_processor_lacks(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.sources(build.SOURCES, variant="(void *)0")
    name = next(iter(build.variants()))
    monkeypatch.setenv("INVFLOW_KERNELS", name)
    assert (
        f"INVFLOW_KERNELS={name}, which this processor or this build of the library" in _warning()
    )


@pytest.mark.parametrize("name", ["avx1024", "OFF", " avx2"])
def test_a_variant_that_does_not_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVFLOW_KERNELS", name)
    names = ", ".join(build.variants())
    assert f"INVFLOW_KERNELS must be one of {names}, off, got {name!r}. Unset it." in _warning()
    assert not build.LIBRARY.exists()


def test_a_checkout_without_a_compiler(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(package))
    said = _warning()
    assert "none of cc, gcc and clang" in said
    assert "they are compiled the next time Python starts" in said
    assert said.endswith("set INVFLOW_KERNELS=off.")


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    assert "false -E -x c /dev/null failed:\nexit status 1." in _warning()


def test_sources_that_cannot_be_compiled() -> None:
    (build.SOURCES / "variant.c").write_text("nonsense\n")
    assert "nonsense" in _warning()


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system", str(build.LIBRARY.parent))

    monkeypatch.setattr(build.tempfile, "TemporaryDirectory", refused)
    assert "Read-only file system" in _warning()


def test_a_wheel_that_was_built_without_a_compiler(package: Path) -> None:
    shutil.rmtree(build.SOURCES)
    said = _warning()
    assert "the package was built without a working C compiler" in said
    assert "Install a C compiler (gcc or clang), then run: pip install --force-reinstall" in said


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "one bit": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "other": lambda content: b"x" * len(content),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_loaded(damage: str, package: Path) -> None:
    _installed(package)
    build.LIBRARY.write_bytes(DAMAGES[damage](build.LIBRARY.read_bytes()))
    said = _warning()
    assert f"{build.LIBRARY} is damaged" in said
    assert "pip install" in said


def test_a_file_that_is_not_a_library(package: Path) -> None:
    _installed(package)
    build.LIBRARY.write_text("of another world")
    about = {"library": build._sha256(build.LIBRARY)}
    build.stamp(build.LIBRARY).write_text(json.dumps(about))
    assert "libinvflow.bin" in _warning()


def test_records_of_another_version(package: Path) -> None:
    small.sources(build.SOURCES, abi=8)
    assert "belongs to another version of invflow" in _warning()


def test_a_library_that_lacks_a_function() -> None:
    (build.SOURCES / "library.c").write_text("int invflow_other(void) { return 0; }\n")
    assert "invflow_abi" in _warning()


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ({"url": "file:///home/me/invflow", "dir_info": {}}, " file:///home/me/invflow"),
        (
            {
                "url": "https://example.org/invflow",
                "vcs_info": {"vcs": "git", "requested_revision": "main", "commit_id": "c0ffee"},
            },
            " git+https://example.org/invflow@c0ffee",
        ),
        ({"url": "file:///tmp/invflow.whl", "archive_info": {}}, " invflow"),
        ({"url": "file:///tmp/invflow.tar.gz", "archive_info": {}}, " file:///tmp/invflow.tar.gz"),
        (None, " invflow"),
    ],
)
def test_the_remedy_names_where_the_package_came_from(
    origin: object, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(build.SOURCES)
    installed = SimpleNamespace(read_text=lambda name: json.dumps(origin) if origin else None)
    monkeypatch.setattr(metadata, "distribution", lambda name: installed)
    assert f"--no-binary invflow{expected}. To silence" in _warning()


def test_the_remedy_of_a_package_that_pip_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    shutil.rmtree(build.SOURCES)
    monkeypatch.setattr(metadata, "distribution", unknown)
    assert "--no-binary invflow invflow. To silence" in _warning()


def test_nothing_is_said_where_all_is_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.reason() is None


@pytest.mark.parametrize("name", ["avx512", "avx2", "neon"])
def test_a_variant_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library itself, which runs the requested variant or none."""
    monkeypatch.undo()
    monkeypatch.setenv("INVFLOW_KERNELS", name)
    _forget()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert library.reason() or library.variant() == name


@pytest.mark.parametrize("missing", ["a compiler", "off"])
def test_flows_run_in_pytorch(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(build.SOURCES)
    if missing == "off":
        monkeypatch.setenv("INVFLOW_KERNELS", "off")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        perturbed(NAF(3)).double()().log_prob(randn(4, 3))
        assert not said  # as there are no kernels for it
        for dtype in (torch.float32, torch.float64):
            flow = perturbed(IAF(3)).to(dtype)
            x = randn(4, 3).to(dtype).requires_grad_()
            found = flow().log_prob(x)
            found.sum().backward()
            for part in flow.transform.transforms:
                part.inverse_method = "passes"
            assert_close(found.detach(), flow().log_prob(x).detach(), 1e-4)
    assert [each.category for each in said] == ([] if missing == "off" else [RuntimeWarning])
