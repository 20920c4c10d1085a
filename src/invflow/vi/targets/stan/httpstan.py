"""Stan programs compiled with what the package httpstan holds: stanc, Stan's C++, its libraries.

Its HTTP server is not used, nor its module, which reads all data again for every density. A program
is compiled together with `interface.cpp` to a library, which is called without the interpreter's
lock.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import weakref
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from invflow._extra import required
from invflow.vi.targets.external import Array
from invflow.vi.targets.stan.cache import kept
from invflow.vi.targets.stan.program import Program, refused

EXTRA = "httpstan"
INTERFACE = Path(__file__).with_name("interface.cpp")
#: More optimisation than -O1 takes longer to compile than it saves in a fit.
FLAGS = (
    *("-std=c++17", "-O1", "-w", "-pthread", "-shared", "-fPIC", "-fvisibility=hidden", "-DNDEBUG"),
    *("-DSTAN_THREADS", "-D_REENTRANT", "-DBOOST_DISABLE_ASSERTS"),
    *("-DBOOST_PHOENIX_NO_VARIADIC_EXPRESSION", "-D_GLIBCXX_USE_CXX11_ABI=0"),
)
LIBRARIES = ("-lsundials_cvodes", "-lsundials_idas", "-lsundials_nvecserial", "-ltbb")
#: Number of bytes of the longest message of Stan that is shown.
MESSAGE = 2000


def compiled(program: Program, data: str) -> Library:
    """Compile a program, and give it its data.

    Raises:
        ImportError: if httpstan is not installed.
        OSError: if the compiled program cannot be kept.
        ValueError: if there is no C++ compiler, the program cannot be compiled, or it does not
            accept the data.
    """
    package = required("httpstan", EXTRA)
    place = Path(package.__file__).parent
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    cpp = _translated(program, place)

    def build(library: Path) -> None:
        with TemporaryDirectory(prefix="invflow-stan-") as folder:
            source = Path(folder, "program.hpp")
            source.write_text(cpp, encoding="utf-8")
            _run(
                [
                    *(*compiler, *FLAGS, "-isystem", str(place / "include")),
                    *("-include", str(source), str(INTERFACE), "-o", str(library)),
                    *(f"-L{place / 'lib'}", *LIBRARIES, f"-Wl,-rpath,{place / 'lib'}"),
                ],
                program.name,
            )

    made_from = (cpp, INTERFACE.read_text(), package.__version__, str(place), *compiler, *FLAGS)
    try:
        return Library(kept(made_from, build, EXTRA), data)
    except RuntimeError as error:
        raise refused(program, data, str(error)) from error


def _translated(program: Program, place: Path) -> str:
    """Return a program in C++."""
    with TemporaryDirectory(prefix="invflow-stan-") as folder:
        path = Path(folder, "program.stan")
        path.write_text(program.text, encoding="utf-8")
        options = ["--name", "invflow_program", "--filename-in-msg", program.name, "--print-cpp"]
        return _run([str(place / "stanc"), *options, str(path)], program.name)


def _run(command: Sequence[str], name: str) -> str:
    """Return what a command writes to its standard output.

    Raises:
        ValueError: if it does not exist or fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ValueError(
            f"{name} cannot be compiled: {command[0]} is missing. Install a C++ compiler such as "
            "g++ or clang++, or name one by the environment variable CXX"
        ) from error
    if done.returncode:
        raise ValueError(f"{name} cannot be compiled: {done.stderr.strip()}")
    return done.stdout


class Library:
    """A compiled program with its data; rows run in as many threads as PyTorch uses.

    Args:
        path: of the library.
        data: a JSON object as text.

    Raises:
        RuntimeError: if the program does not accept the data.
        OSError: if the library cannot be loaded.
    """

    def __init__(self, path: Path, data: str) -> None:
        self._library = _typed(ctypes.CDLL(str(path)))
        self._program = ctypes.c_void_p()
        self._call("construct", data.encode(), ctypes.byref(self._program))
        weakref.finalize(self, self._library.invflow_destruct, self._program)
        self.dim = int(self._library.invflow_dim(self._program))
        self.names: Sequence[str] = self._library.invflow_names(self._program).decode().split()

    def gradients(self, rows: Array) -> tuple[Array, Array]:
        rows = np.ascontiguousarray(rows)
        values, gradients = np.empty(len(rows)), np.empty_like(rows)
        self._rows("gradients", rows, values, gradients)
        return values, gradients

    def constrain(self, rows: Array, seeds: Sequence[int]) -> Array:
        rows = np.ascontiguousarray(rows)
        values = np.empty((len(rows), len(self.names)))
        self._rows("constrain", rows, np.array(seeds, np.uint32), values)
        return values

    def _rows(self, name: str, rows: Array, *arrays: Any) -> None:
        pointers = [array.ctypes.data for array in (rows, *arrays)]
        self._call(name, self._program, len(rows), *pointers, torch.get_num_threads())

    def _call(self, name: str, *arguments: Any) -> None:
        message = ctypes.create_string_buffer(MESSAGE)
        if getattr(self._library, f"invflow_{name}")(*arguments, message, MESSAGE):
            raise RuntimeError(message.value.decode(errors="replace"))


def _typed(library: Any) -> Any:
    """Declare the functions of `interface.cpp`."""
    pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    functions = {
        "construct": (ctypes.c_int, [text, pointer, text, size]),
        "destruct": (None, [pointer]),
        "dim": (size, [pointer]),
        "names": (text, [pointer]),
        "gradients": (ctypes.c_int, [pointer, size, *[pointer] * 3, size, text, size]),
        "constrain": (ctypes.c_int, [pointer, size, *[pointer] * 3, size, text, size]),
    }
    for name, (result, arguments) in functions.items():
        function = getattr(library, f"invflow_{name}")
        function.restype, function.argtypes = result, arguments
    return library
