"""Exported flows run where this library cannot be imported, and compute the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from invflow import IAF, MAF, NAF, NSF, RealNVP, flows
from invflow.adapters.export import exported
from invflow.density import FlowDensity
from invflow.flows import FlowMixture, TarFlow
from tests.helpers import FLOWS, assert_close, context_for, flow, perturbed, randn

TINY: dict[str, Any] = {"transforms": 1, "hidden_features": (4,)}
#: Small flows, as exporting takes seconds; `slow` tests export all kinds.
SMALL: dict[str, Callable[[], Any]] = {
    "maf": flow(MAF, 2, 1, 2, (3,), order="random"),
    "realnvp": flow(RealNVP, 3, 2, 1, (4,)),
}
#: What `SMALL` does not have.
MORE: dict[str, Callable[[], Any]] = {
    "iaf-groups-fixed-point": flow(IAF, 4, 0, 1, (4,), group=2, inverse="fixed_point"),
    "maf-1-passes": flow(MAF, 1, 0, 1, (3,), inverse="passes", base="diagonal"),
    "gaussian": flow(flows.Gaussian, 3, 2),
    "iaf-bounded": flow(IAF, 2, 0, 1, (4,), input_bound=3.0),
    "nsf": flow(NSF, 2, 0, 1, (4,), univariate={"name": "spline", "bins": 3}),
    "lstm": flow(IAF, 2, 1, 1, (3,), conditioner="lstm"),
    "attention": flow(MAF, 2, 0, 1, (4,), conditioner="attention", heads=2),
    "tempered": lambda: flow(MAF, 2, 1, 1, (4,))().tempered(0.7),
    "guided": lambda: perturbed(TarFlow((1, 2, 2), 1, classes=2, **TINY)).guided(1.5),
}
DIRECTIONS = ("log_prob", "sample")
#: Loads every program and runs it on several batches, without this library.
ALONE = """
import sys
from pathlib import Path

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "invflow":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
import torch
from safetensors.torch import load_file, save_file

for path in Path(sys.argv[1]).glob("*.pt2"):
    inputs, results = load_file(path.with_suffix(".in")), {}
    module = torch.export.load(path).module()
    for batch in (1, 5):
        given = [inputs[name][:batch] for name in sorted(inputs)]
        results[str(batch)] = module(*given).contiguous()
        assert not results[str(batch)].requires_grad
    save_file(results, path.with_suffix(".out"))
assert "invflow" not in sys.modules
"""


def computed(made: Any, what: str, value: Tensor, *context: Tensor) -> Tensor:
    """Return what a program should: scores, or draws from noise."""
    with torch.no_grad():
        if what == "log_prob":
            return made(*context).log_prob(value)
        return made.transform(value, *context)[0]


def inputs(made: Any) -> list[Tensor]:
    """Return five vectors, and contexts if the flow takes any."""
    context = context_for(made, 5)
    return [randn(5, made.features), *([] if context is None else [context])]


def run_alone(folder: Path) -> None:
    command = [sys.executable, "-I", "-W", "ignore", "-c", ALONE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def write(folder: Path, name: str, made: Any, what: str) -> None:
    path = folder / f"{name}.{what}.pt2"
    torch.export.save(exported(made, what), path)
    given = {str(place): each for place, each in enumerate(inputs(made))}
    save_file(given, path.with_suffix(".in"))


def check(folder: Path, name: str, made: Any, what: str) -> None:
    found = load_file((folder / f"{name}.{what}.pt2").with_suffix(".out"))
    value, *context = inputs(made)
    expected = computed(made, what, value, *context)
    assert_close(found["5"], expected, 1e-9)
    assert_close(found["1"], expected[:1], 1e-9)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export all small flows, and run them in one process without this library."""
    folder = tmp_path_factory.mktemp("programs")
    for name, build in SMALL.items():
        for what in DIRECTIONS:
            write(folder, name, build(), what)
    run_alone(folder)
    return folder


@pytest.mark.parametrize("what", DIRECTIONS)
@pytest.mark.parametrize("name", SMALL)
def test_a_program_computes_the_same_without_this_library(
    name: str, what: str, alone: Path
) -> None:
    check(alone, name, SMALL[name](), what)


@pytest.mark.slow
@pytest.mark.parametrize("what", DIRECTIONS)
@pytest.mark.parametrize("name", [*MORE, *(name for name in FLOWS if "65" not in name)])
def test_every_flow_is_exported_or_says_why_not(name: str, what: str) -> None:
    made = {**FLOWS, **MORE}[name]()
    searched = {"naf": "sample", "umnn": "sample", "iaf-3-sigmoidal": "log_prob"}
    if any(name.startswith(kind) and what == way for kind, way in searched.items()):
        with pytest.raises(NotImplementedError, match=r"torch\.export cannot write down"):
            exported(made, what)
        return
    program = exported(made, what)
    assert not [node for node in program.graph.nodes if "invflow" in str(node.target)]
    given = inputs(made)
    assert_close(program.module()(*given), computed(made, what, *given), 1e-9)


def test_the_weights_of_a_program_are_constants() -> None:
    made, x = MORE["gaussian"](), randn(5, 3)
    context = context_for(made, 5)
    assert context is not None
    program = exported(made).module()
    before = program(x, context)
    assert not before.requires_grad
    assert all(parameter.requires_grad for parameter in made.parameters())
    perturbed(made, seed=3)
    assert torch.equal(program(x, context), before)
    assert not torch.equal(made(context).log_prob(x), before)


@pytest.mark.slow
@pytest.mark.parametrize("what", DIRECTIONS)
def test_a_guided_flow_is_exported(what: str) -> None:
    made = MORE["guided"]()
    program, given = exported(made, what), inputs(made)
    assert_close(program.module()(*given), computed(made, what, *given), 1e-9)


def test_a_mixture_is_scored() -> None:
    made = perturbed(FlowMixture([MAF(2, transforms=1), flows.Gaussian(2)]))
    x = randn(5, 2)
    assert_close(exported(made).module()(x), made().log_prob(x).detach())
    with pytest.raises(TypeError, match="a mixture has several: export those in"):
        exported(made, "sample")


def test_the_flow_of_a_table_is_exported() -> None:
    rows = np.random.default_rng(0).normal(5.0, 2.0, (60, 2))
    options = {"transforms": 1, "hidden_features": (4,), "ensemble": 1}
    density = FlowDensity("maf", steps=2, random_state=0, **options).fit(rows)
    made = density.model_.flow
    x = randn(5, 2).float()
    assert_close(exported(made).module()(x), computed(made, "log_prob", x), 1e-5)
    assert_close(exported(made, "sample").module()(x), computed(made, "sample", x), 1e-5)


def test_a_flow_in_training_mode_is_exported_as_it_evaluates() -> None:
    made = flow(MAF, 2, 0, 1, (4,), norm=True)().train()
    x = randn(5, 2)
    assert_close(exported(made).module()(x), made.eval()().log_prob(x).detach())
    other = flow(MAF, 2, 0, 1, (4,))().train()
    exported(other)
    assert other.training


def test_what_cannot_be_exported() -> None:
    with pytest.raises(NotImplementedError, match=r"inverse of Sigmoidal, whose number of steps"):
        exported(NAF(2), "sample")
    with pytest.raises(ValueError, match="what must be one of 'log_prob', 'sample', got 'draw'"):
        exported(MAF(2), "draw")
    with pytest.raises(TypeError, match="flow must be an invflow Flow or FlowMixture, got Linear"):
        exported(torch.nn.Linear(2, 2))  # pyright: ignore[reportArgumentType]


#: What ONNX has no operation for.
WITHOUT_ONNX = {("gaussian", "log_prob")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", DIRECTIONS)
@pytest.mark.parametrize("name", ["maf", "nsf", "realnvp", "gaussian"])
def test_programs_become_onnx_models(name: str, what: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs onnxscript")
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    made = {**SMALL, **MORE}[name]()
    program = exported(made, what)
    if (name, what) in WITHOUT_ONNX:
        with pytest.raises(Exception, match="linalg_solve_triangular"):
            torch.onnx.export(program, dynamo=True, verbose=False)
        return
    model = torch.onnx.export(program, dynamo=True, verbose=False)
    assert model is not None
    model.save(tmp_path / "flow.onnx")
    session = runtime.InferenceSession(tmp_path / "flow.onnx")
    for batch in (1, 5):
        given = [each[:batch] for each in inputs(made)]
        names = [each.name for each in session.get_inputs()]
        (found,) = session.run(
            None, dict(zip(names, (each.numpy() for each in given), strict=True))
        )
        assert_close(torch.from_numpy(found), computed(made, what, *given), 1e-6)
