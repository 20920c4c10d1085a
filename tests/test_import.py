from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import pytest

from invflow.kernels import build

SCRIPT = """
import hashlib, json, sys, warnings
import numpy, torch, safetensors.torch

def state():
    return {
        "dtype": str(torch.get_default_dtype()),
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "validation": torch.distributions.Distribution._validate_args,
        "rng": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
        "numpy": hashlib.sha256(numpy.random.get_state()[1].tobytes()).hexdigest(),
        "grad": torch.is_grad_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "device": str(torch.get_default_device()),
        "printing": repr(torch._tensor_str.PRINT_OPTS),
        "filters": repr(warnings.filters),
        "hook": repr(sys.excepthook),
    }

before, modules = state(), set(sys.modules)
import invflow
print(json.dumps({
    "before": before,
    "after": state(),
    "new": sorted({name.split(".")[0] for name in set(sys.modules) - modules}),
}))
"""


def test_import_has_no_side_effects_and_carries_little() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["after"] == found["before"]
    strangers = set(found["new"]) - sys.stdlib_module_names - {"invflow", "torch"}
    assert not strangers, f"imported beside torch, numpy and safetensors: {strangers}"


def test_public_names() -> None:
    import invflow

    assert {"IAF", "MAF", "Flow", "__version__"} <= set(invflow.__all__)
    assert all(hasattr(invflow, name) for name in invflow.__all__)


#: What a user may write after one `import invflow`.
ASKED = [
    "invflow.vi.fit",
    "invflow.vae.VAE",
    "invflow.density.FlowDensity",
    "invflow.density.table.Parquet",
    "invflow.images.ImageDensity",
    "invflow.distillation.distill",
    "invflow.simulation.fit",
    "invflow.adapters.export.exported",
    "invflow.adapters.hub.push_to_hub",
    "invflow.adapters.nessai.flow_class",
    "invflow.adapters.sbi.posterior_nn",
    "invflow.adapters.zuko.to_zuko",
    "invflow.density.checks.calibrate",
    "invflow.density.checks.two_sample",
    "invflow.density.checks.classifier_test",
    "invflow.training.fit",
    "invflow.report.vae.write",
    "invflow.cli.main",
    "invflow.flows.Gaussian",
    "invflow.transforms.Compose",
    "invflow.univariate.Spline",
    "invflow.conditioners.MADE",
    "invflow.testing.check_transform",
]
#: Imports what is not invflow's once, and invflow in a fork of its own for each name.
ONE_EACH = """
import json, os, sys, traceback
import numpy, torch, safetensors.torch

failed = []
for name in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        code = 1
        try:
            import invflow
            code = int(not callable(eval(name)))
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
print(json.dumps(failed))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_one_import_is_enough() -> None:
    command = [sys.executable, "-c", ONE_EACH, json.dumps(ASKED)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [], done.stderr


def test_parts_are_imported_when_they_are_asked_for() -> None:
    script = """
import sys
import invflow

parts = {"cli", "density", "report", "training", "vae", "vi"}
assert parts <= set(dir(invflow))
loaded = {f"invflow.{name}" for name in parts} & set(sys.modules)
assert not loaded, loaded
from invflow import vi
import invflow.vae
assert vi is invflow.vi is sys.modules["invflow.vi"]
assert not hasattr(invflow, "nothing")
assert not hasattr(invflow.density, "nothing")
assert {"FlowDensity", "table"} <= set(dir(invflow.density))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_a_part_needs_is_said_and_help_works_without_it() -> None:
    script = """
import inspect
import pydoc
import sys

sys.modules["pydantic"] = None  # as if it were not installed
import invflow

assert "vae" in dir(invflow.report)
assert not hasattr(invflow.report, "vae")
assert "vi" in dict(inspect.getmembers(invflow))
assert "IAF" in pydoc.render_doc(invflow)
try:
    invflow.report.vae.write
except AttributeError as error:
    print(error)
try:
    from invflow.report import vae
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == f"invflow.report.vae cannot be imported: {second}"
    assert "pip install" in second


def test_tools_that_list_modules_do_not_list_the_c_library() -> None:
    """By its suffix, it would be an extension module, which cannot be imported."""
    assert inspect.getmodulename(build.LIBRARY.name) is None
