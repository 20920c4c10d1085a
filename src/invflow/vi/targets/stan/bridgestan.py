"""Stan programs compiled by BridgeStan."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from invflow._extra import installed, required
from invflow.vi.targets.external import Array
from invflow.vi.targets.stan.cache import kept
from invflow.vi.targets.stan.program import Program, refused

EXTRA = "stan"


def ready() -> bool:
    """Return whether BridgeStan is installed, and its C++ sources need not be fetched first."""
    if not installed("bridgestan"):
        return False
    fetched = required("bridgestan.download", EXTRA).CURRENT_BRIDGESTAN
    return "BRIDGESTAN" in os.environ or fetched.is_dir()


def compiled(program: Program, data: str) -> Model:
    """Compile a program, and give it its data.

    Raises:
        ImportError: if BridgeStan is not installed.
        OSError: if the compiled program cannot be kept.
        ValueError: if the C++ sources cannot be fetched, the program cannot be compiled, or it
            does not accept the data.
    """
    bridgestan = required("bridgestan", EXTRA)
    try:
        sources = bridgestan.compile.get_bridgestan_path()
        bridgestan.compile.verify_bridgestan_path(sources)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"BridgeStan needs its C++ sources: {error} Set BRIDGESTAN to a directory with them, "
            'or use engine="httpstan": pip install "invflow[httpstan]"'
        ) from error

    def build(library: Path) -> None:
        with TemporaryDirectory(prefix="invflow-stan-") as folder:
            path = Path(folder, program.name).with_suffix(".stan")
            path.write_text(program.text, encoding="utf-8")
            try:
                shutil.copyfile(bridgestan.compile_model(path), library)
            except RuntimeError as error:  # its message repeats what make has said on both streams
                *_, told = str(error).rpartition("stderr:\n")
                raise ValueError(f"{program.name} cannot be compiled: {told.strip()}") from error

    made_from = (program.name, program.text, bridgestan.__version__, str(Path(sources).resolve()))
    path = kept(made_from, build, EXTRA)
    try:
        return Model(bridgestan.StanModel(str(path), data=data, seed=0, warn=False))
    except RuntimeError as error:
        raise refused(program, data, str(error)) from error


class Model:
    """A model of BridgeStan.

    Args:
        model: a `bridgestan.StanModel`, or an object with its methods.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.dim = int(model.param_unc_num())
        self.names: Sequence[str] = model.param_names(include_tp=True, include_gq=True)
        self._generates = len(self.names) > len(model.param_names(include_tp=True))

    def gradients(self, rows: Array) -> tuple[Array, Array]:
        values, gradients = np.full(len(rows), np.nan), np.zeros_like(rows)
        for i, row in enumerate(rows):
            with suppress(RuntimeError):  # Stan rejects the point
                # Constants belong to the evidence; BridgeStan leaves them out by default.
                values[i], gradients[i] = self._model.log_density_gradient(
                    row, propto=False, jacobian=True
                )
        return values, gradients

    def constrain(self, rows: Array, seeds: Sequence[int]) -> Array:
        values = np.full((len(rows), len(self.names)), np.nan)
        for row, seed, value in zip(rows, seeds, values, strict=True):
            with suppress(RuntimeError):  # Stan rejects the point
                known = self._model.param_constrain(row, include_tp=True)
                value[: len(known)] = known
                if self._generates:
                    random = self._model.new_rng(seed)
                    value[:] = self._model.param_constrain(
                        row, include_tp=True, include_gq=True, rng=random
                    )
        return values
