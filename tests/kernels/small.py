"""A library with the exports of the kernels' and nothing in them: its build takes a moment."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from invflow.kernels import build
from invflow.kernels.cpu.record import Record

#: Where libraries can be compiled at all.
needed = pytest.mark.skipif(not build.supported(), reason="no kernels for this processor")

LIBRARY = """
#include <stdint.h>
#define EXPORT __attribute__((visibility("default")))
typedef void Kernel(int64_t *);
typedef struct { Kernel *map, *pull, *gradients; double (*rate)(int64_t); } Kernels;
#define VARIANT(name) extern const Kernels invflow_##name##_f32, invflow_##name##_f64;
VARIANTS
#undef VARIANT
#define VARIANT(name) &invflow_##name##_f32, &invflow_##name##_f64,
static const Kernels *all[] = {VARIANTS};
EXPORT int64_t invflow_abi(void) { return ABI; }
EXPORT const char *invflow_variant(void) { return CHOSEN; }
EXPORT const Kernels *invflow_kernels(int64_t bits) { return all[bits == 64]; }
"""
VARIANT = """
#include <stdint.h>
typedef void Kernel(int64_t *);
typedef struct { Kernel *map, *pull, *gradients; double (*rate)(int64_t); } Kernels;
static void map(int64_t *record) { *record = REAL_BITS + 1; }
static void pull(int64_t *record) { *record = REAL_BITS + 2; }
static void gradients(int64_t *record) { *record = REAL_BITS + 3; }
static double rate(int64_t repetitions) { return (REAL)repetitions; }
const Kernels NAME = {map, pull, gradients, rate};
"""


def sources(folder: Path, *, abi: int = ctypes.sizeof(Record), variant: str = '"small"') -> Path:
    """Write sources to a folder, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    defined = f"#define ABI {abi}\n#define CHOSEN {variant}\n"
    (folder / "library.c").write_text(defined + LIBRARY)
    (folder / "variant.c").write_text(VARIANT)
    return folder
