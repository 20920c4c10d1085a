"""Compiles the C library when the package is built, and checks a library file.

The build hook loads this module by its path, so it imports nothing from invflow, and not torch.

A stamp next to the library identifies its sources and its contents. If the sources are present too,
as in an editable install, a library made from other sources or for another kind of computer is
recompiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = [
    "LIBRARY",
    "SOURCES",
    "BuildError",
    "build",
    "current",
    "stamp",
    "supported",
    "variants",
    "wheel_tag",
]

SOURCES = Path(__file__).parent / "c"
#: Not ".so", which some tools would take for a Python module.
LIBRARY = Path(__file__).parent / "libinvflow.bin"

#: The variants of the kernels and their flags for each processor family, best first.
VARIANTS = {
    "x86_64": {
        "avx512": [
            *("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mavx2", "-mfma"),
            "-mprefer-vector-width=512",
        ],
        "avx2": ["-mavx2", "-mfma"],
    },
    "aarch64": {"neon": []},
}
#: Number of bits of each precision.
PRECISIONS = {"float": 32, "double": 64}
#: Fuse products and sums; C's vector types have no other way to request it. Without errors in
#: `errno`, several square roots are computed at once.
FLAGS = [
    *("-std=gnu11", "-O2", "-fPIC", "-fvisibility=hidden"),
    *("-ffp-contract=fast", "-fno-math-errno"),
]
#: The oldest macOS that PyTorch runs on.
MACOS = "11.0"


class BuildError(Exception):
    """Why no library can be used."""


def supported() -> bool:
    """Return whether there are kernels for this system and processor."""
    return sys.platform in ("linux", "darwin") and sys.maxsize > 2**32 and bool(variants())


def variants() -> dict[str, list[str]]:
    """Return the variants for this processor's family and their flags, best first."""
    return VARIANTS.get(_family(), {})


def build(sources: Path, library: Path) -> None:
    """Compile the library and write its stamp next to it; each appears whole or not at all.

    Args:
        sources: the folder of `library.c`, compiled once, and `variant.c`, compiled once for each
            variant and precision.
        library: the file to write.

    Raises:
        BuildError: if there is no compiler, it fails, or the file cannot be written.
        OSError: if a source file cannot be read.
    """
    digest = _digest(sources)
    try:
        with tempfile.TemporaryDirectory(prefix=f"{library.stem}-", dir=library.parent) as folder:
            made, mark = Path(folder, library.name), Path(folder, "stamp")
            about = _compile(sources, made) | {"sources": digest, "library": _sha256(made)}
            mark.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            made.replace(library)
            mark.replace(stamp(library))
    except OSError as error:
        where = f"the library cannot be written to {library.parent}"
        raise BuildError(f"{where}: {error.strerror}") from error


def current(sources: Path, library: Path) -> None:
    """Make sure that the library exists, is intact, and matches the sources, if they are present.

    Raises:
        BuildError: if it is not, and cannot be compiled.
        OSError: if a file cannot be read.
    """
    if not sources.is_dir():
        if (flaw := _flaw(library)) is not None:
            raise BuildError(flaw)
    elif _stale(sources, library):
        with _alone(sources):
            if _stale(
                sources, library
            ):  # check again: another process may have compiled it meanwhile
                build(sources, library)


def stamp(library: Path) -> Path:
    """Return the file next to a library that describes what it was made from."""
    return library.with_suffix(".json")


def wheel_tag(library: Path) -> str:
    """Return the tag of wheels with this library; it is the same for all Python versions."""
    machine = platform.machine()
    if sys.platform == "darwin":
        return f"py3-none-macosx_{MACOS.replace('.', '_')}_{machine}"
    content = library.read_bytes()
    versions = [int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", content)]
    if not versions:  # another C library, such as musl
        return f"py3-none-linux_{machine}"
    if b"GLIBC_ABI_DT_RELR" in content:
        versions.append(36)
    # No other library is linked, so manylinux depends only on the symbols of glibc.
    return f"py3-none-manylinux_2_{max(17, *versions)}_{machine}"


def _family() -> str:
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def _compile(sources: Path, library: Path) -> dict[str, object]:
    """Compile and link next to `library`; return a description for the stamp."""
    compiler = _compiler()
    nothing = ["-E", "-x", "c", os.devnull]
    _run([*compiler, *nothing])
    known = {
        name: flags
        for name, flags in variants().items()
        if _succeeds([*compiler, *flags, *nothing])
    }
    if not known:
        raise BuildError(
            f"{shlex.join(compiler)} cannot compile for any of {', '.join(variants())}"
        )
    system = [f"-mmacosx-version-min={MACOS}"] if sys.platform == "darwin" else []
    listed = " ".join(f"VARIANT({name})" for name in known)
    jobs = [("library.c", "library.o", [f"-DVARIANTS={listed}"])]
    for name, flags in known.items():
        for real, bits in PRECISIONS.items():
            names = [f"-DREAL={real}", f"-DREAL_BITS={bits}", f"-DNAME=invflow_{name}_f{bits}"]
            jobs.append(("variant.c", f"{name}_f{bits}.o", [*flags, *names]))

    def one(job: tuple[str, str, list[str]]) -> str:
        source, result, flags = job
        made = str(library.parent / result)
        _run([*compiler, *FLAGS, *system, *flags, "-c", str(sources / source), "-o", made])
        return made

    with ThreadPoolExecutor() as pool:
        objects = list(pool.map(one, jobs))
    _run([*compiler, *system, "-shared", "-o", str(library), *objects, "-lm"])
    return {"compiler": _version(compiler), "variants": list(known)}


def _compiler() -> list[str]:
    """Return the command of the C compiler."""
    if named := os.environ.get("CC", "").strip():
        try:
            return shlex.split(named)
        except ValueError as error:
            raise BuildError(f"CC must be a command, got {named!r}: {error}") from error
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    raise BuildError("there is no C compiler: none of cc, gcc and clang is on the PATH")


def _succeeds(command: Sequence[str]) -> bool:
    return _output(command).returncode == 0


def _run(command: Sequence[str]) -> None:
    try:
        done = _output(command)
    except OSError as error:
        raise BuildError(f"the C compiler {command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        lines = "\n".join(said.splitlines()[:10])
        raise BuildError(f"{shlex.join(command)} failed:\n{lines}")


def _version(compiler: Sequence[str]) -> str:
    return _output([*compiler, "--version"]).stdout.partition("\n")[0]


def _output(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def _stale(sources: Path, library: Path) -> bool:
    return _flaw(library) is not None or _about(library).get("sources") != _digest(sources)


def _flaw(library: Path) -> str | None:
    """Return why a file is not the library that its stamp describes; None if it is."""
    if not library.is_file():
        return "the package was built without a working C compiler"
    if _about(library).get("library") != _sha256(library):
        return f"{library} is damaged"
    return None


def _about(library: Path) -> dict[str, object]:
    """Return the contents of a library's stamp; empty if it cannot be read."""
    try:
        return dict(json.loads(stamp(library).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _digest(sources: Path) -> str:
    """Return a digest of everything a library is made from, and of its target."""
    files = sorted([*sources.glob("*.c"), *sources.glob("*.h"), Path(__file__)])
    parts = (part for file in files for part in (file.name.encode(), file.read_bytes()))
    return _hash([sys.platform.encode(), _family().encode(), *parts])


def _sha256(file: Path) -> str:
    return _hash([file.read_bytes()])


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Let one process at a time work in a folder."""
    import fcntl  # not available on all systems

    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(
            OSError
        ):  # some network drives cannot lock; then the work is done twice
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
