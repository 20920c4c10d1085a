"""The C library under sanitizers, which end a process that reads or writes where it must not.

One watches memory and what C leaves undefined, the other what threads do to each other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from invflow.kernels import build
from tests.kernels import small

pytestmark = [
    pytest.mark.slow,
    small.needed,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="no GCC, whose sanitizers these are"),
]
#: What GCC calls them, and the library that has to be loaded before all others.
SANITIZERS = {"address,undefined": "libasan.so", "thread": "libtsan.so"}
#: What is fuzzed elsewhere, in a library from elsewhere, with nothing between arrays.
SCRIPT = """
import sys
from pathlib import Path
from hypothesis import settings

settings.register_profile("invflow", derandomize=True, database=None, deadline=None)
settings.load_profile("invflow")
import torch
from invflow.kernels import build

torch.set_num_threads(1)
build.SOURCES, build.LIBRARY = Path("nowhere"), Path(sys.argv[1])
from invflow.kernels.cpu import library

if library.reason() is not None:
    print("there is no such variant")
    sys.exit()
from tests.kernels import fuzz, test_fuzz

fuzz.Memory.margin = 0
test_fuzz.test_any_record()
print("no complaints about", library.variant())
"""


class Checked(NamedTuple):
    """The library as it is compiled with a sanitizer."""

    sanitizer: str
    library: Path


@pytest.fixture(scope="module", params=SANITIZERS)
def checked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checked:
    library = tmp_path_factory.mktemp("checked") / "libinvflow.bin"
    flags = f"-fsanitize={request.param} -fno-sanitize-recover=all -g1 -Wall -Werror"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", f"gcc {flags}")
        build.build(build.SOURCES, library)
    return Checked(request.param, library)


@pytest.mark.parametrize("variant", list(build.variants()))
def test_no_complaints(variant: str, checked: Checked) -> None:
    question = ["gcc", f"-print-file-name={SANITIZERS[checked.sanitizer]}"]
    found = subprocess.run(question, capture_output=True, text=True, check=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python has many
        "TSAN_OPTIONS": "ignore_noninstrumented_modules=1",  # the library alone is
        "PYTHONMALLOC": "malloc",
        "INVFLOW_KERNELS": variant,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
    }
    command = [sys.executable, "-c", SCRIPT, str(checked.library)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-5000:]
    if "no such variant" in done.stdout:
        pytest.skip(f"this processor cannot run {variant}")
    assert done.stdout == f"no complaints about {variant}\n"
