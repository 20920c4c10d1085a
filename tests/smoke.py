"""A little of everything, for the oldest and the newest versions of what invflow stands on.

Not of the suite: `make oldest` and `make newest` run it, each in an environment of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import invflow
from invflow import vi
from invflow.density import FlowDensity
from invflow.kernels.cpu import library
from tests.documented import PAGES, Block, blocks

# Other libraries warn of each other; that invflow does not, is a test of its own.
pytestmark = pytest.mark.filterwarnings("default", "error:::invflow")

TORCH = tuple(map(int, torch.__version__.split(".")[:2]))
IMPORTS = """
import importlib, pkgutil, invflow
for each in pkgutil.walk_packages(invflow.__path__, "invflow.", onerror=lambda name: None):
    if each.name != "invflow.__main__" and ".gpu" not in each.name:  # which needs Triton
        importlib.import_module(each.name)
"""
FLOWS: dict[str, dict[str, Any]] = {
    "iaf": {},
    "maf": {"univariate": "gated", "context": 2},
    "nsf": {"inverse": "cached"},
    "naf": {},
    "umnn": {},
    "realnvp": {},
    "coupling-nsf": {},
    "gaussian": {},
}


def _python(*arguments: str, cwd: Path | None = None) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_import_warns_of_nothing() -> None:
    assert _python("-W", "error", "-c", "import invflow") == ""


def test_every_module_is_imported() -> None:
    _python("-c", IMPORTS)


def test_the_kernels_are_compiled() -> None:
    assert library.reason() is None


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_goes_both_ways_with_gradients(name: str, tmp_path: Path) -> None:
    flow = invflow.flows.build(name, features=3, **FLOWS[name]).double()
    context = torch.zeros(5, 2).double() if flow.context else None
    z = torch.randn(5, 3).double().requires_grad_()
    x, ladj = flow.transform(z, context)
    back, minus = flow.transform.inverse(x, context)
    torch.testing.assert_close(back, z, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(minus, -ladj, rtol=1e-6, atol=1e-6)
    (back.sum() + minus.sum()).backward()
    assert z.grad is not None
    flow.save_pretrained(tmp_path)
    again = invflow.flows.build(name, features=3, **FLOWS[name]).from_pretrained(tmp_path)
    assert torch.equal(again(context).log_prob(x.detach()), flow(context).log_prob(x.detach()))


@pytest.mark.parametrize("inverse", ["compiled", "cached", "fixed_point", "passes"])
def test_every_inverse_gives_the_same(inverse: str) -> None:
    flow = invflow.IAF(4, inverse=inverse, generator=torch.Generator().manual_seed(0)).double()
    other = invflow.IAF(4, inverse="passes", generator=torch.Generator().manual_seed(0)).double()
    x = torch.randn(6, 4).double()
    torch.testing.assert_close(flow().log_prob(x), other().log_prob(x), rtol=1e-8, atol=1e-8)
    gradients = [
        torch.autograd.grad(f().log_prob(x).sum(), list(f.parameters())) for f in (flow, other)
    ]
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-8)


def test_torch_maps_and_differentiates() -> None:
    flow, x = invflow.MAF(3, inverse="cached"), torch.randn(4, 3)
    score = torch.func.vmap(torch.func.grad(lambda row: flow().log_prob(row)))(x)
    assert score.shape == x.shape


@pytest.mark.skipif(TORCH < (2, 13), reason="older compilers cannot trace all transforms")
def test_torch_compiles() -> None:
    flow, x = invflow.MAF(3, transforms=1, inverse="cached"), torch.randn(4, 3)
    for call in (flow.transform, flow.transform.inverse):
        compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), call(x))


def test_the_density_of_a_table(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "a": source.normal(size=200),
            "b": source.integers(0, 5, 200),
            "c": source.choice(["x", "y"], 200),
        }
    )
    table.loc[::20, "a"] = np.nan
    density = FlowDensity(
        "maf", missing="marginalise", conditional_on=["c"], steps=20, random_state=0
    ).fit(table)
    assert np.isfinite(density.score_samples(table)).all()
    drawn = density.sample(3, given=table[["c"]].head(3), random_state=0)
    assert list(drawn.dtypes) == list(table.dtypes)
    assert not density.impute(table, random_state=0).isna().any(axis=None)
    assert str(density.calibrate(table))
    density.save(tmp_path / "run")
    again = FlowDensity.load(tmp_path / "run")
    assert np.array_equal(again.score_samples(table), density.score_samples(table))


def _log_density(z: Tensor) -> Tensor:
    return -0.5 * z[:, 0] ** 2 - 0.5 * ((z[:, 1] - z[:, 0] ** 2) / 0.5) ** 2


def test_a_posterior(tmp_path: Path) -> None:
    posterior = vi.fit(_log_density, dim=2, seed=0)
    assert posterior.diagnose().level in ("good", "usable")
    assert list(posterior.summary().columns) == ["mean", "sd", "3%", "97%", "mcse"]
    data = posterior.to_arviz(100)
    assert data.posterior["z"].shape == (1, 100, 2)
    assert data.attrs["inference_library"] == "invflow"
    data.to_netcdf(str(tmp_path / "draws.nc"), engine="h5netcdf")
    refined = posterior.refine(200, chains=4, warmup=30)
    assert refined.to_arviz().sample_stats["lp"].shape == (4, 50)
    assert bool(torch.isfinite(refined.rhat).all())
    posterior.save(tmp_path)
    again = vi.Posterior.load(tmp_path, posterior.target)
    assert torch.equal(again.resample(10), posterior.resample(10))


def test_models_of_pyro_and_pymc_have_one_density() -> None:
    import pymc
    import pyro
    import pyro.distributions as dist

    def model() -> None:
        mu = pyro.sample("mu", dist.Normal(torch.tensor(0.0).double(), 2.0))
        pyro.sample("y", dist.Normal(mu, 1.0), obs=torch.tensor(1.5).double())

    with pymc.Model() as other:
        pymc.Normal("y", pymc.Normal("mu", 0.0, 2.0), 1.0, observed=1.5)
    z = torch.linspace(-1, 1, 5).double().unsqueeze(-1)
    values = [vi.from_pyro(model).log_density(z), vi.from_pymc(other).log_density(z)]
    torch.testing.assert_close(*values)


def test_arviz_compares_what_pymc_and_pyro_have_modelled() -> None:
    import arviz as az
    import pymc
    import pyro
    import pyro.distributions as dist

    y = np.array([0.3, 1.5, -0.2])

    def model() -> None:
        mu = pyro.sample("mu", dist.Normal(torch.tensor(0.0).double(), 2.0))
        with pyro.plate("row", 3):
            pyro.sample("y", dist.Normal(mu, 1.0), obs=torch.from_numpy(y))

    with pymc.Model(coords={"row": ["a", "b", "c"]}) as other:
        pymc.Normal("y", pymc.Normal("mu", 0.0, 2.0), 1.0, observed=y, dims="row")
    fits = {"pyro": vi.fit(vi.from_pyro(model)), "pymc": vi.fit(vi.from_pymc(other))}
    found = {name: posterior.to_arviz(1000) for name, posterior in fits.items()}
    for each in found.values():
        assert each.log_likelihood["y"].dims == ("chain", "draw", "row")
        assert np.isfinite(az.loo(each).se)
    assert set(az.compare(found).index) == {"pyro", "pymc"}
    with other:
        drawn = pymc.sample_posterior_predictive(found["pymc"], progressbar=False)
    assert drawn.posterior_predictive["y"].dims == ("chain", "draw", "row")


MODEL = """
from invflow.vi import Flat
def target():
    return Flat(lambda z: -0.5 * z.square().sum(-1), dim=2)
"""


def test_the_command_line(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    rows = pd.DataFrame(source.normal(size=(120, 2)), columns=["a", "b"])
    rows.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "model.py").write_text(MODEL)
    short = "--steps 20"
    for line in (
        f"vae digits {short} --importance-samples 5",
        "vae digits --name other --posteriors iaf --seed 1 --steps 20 --importance-samples 5",
        "compare runs/digits runs/other",
        "sample runs/digits -n 4 --out pictures.png",
        "score runs/digits digits --samples 5",
        f"density table.csv {short} --flow maf",
        "sample runs/table -n 4 --out rows.parquet",
        "score runs/table table.csv",
        f"distill runs/table {short} --evaluation-draws 200",
        "posterior model.py --draws 100",
        "--version",
    ):
        _python("-m", "invflow", *line.split(), cwd=tmp_path)
    assert len(pd.read_parquet(tmp_path / "rows.parquet")) == 4
    for command in (
        "vae",
        "density",
        "infer",
        "distill",
        "compare",
        "posterior",
        "sample",
        "score",
    ):
        assert "--help" in _python("-m", "invflow", command, "--help")


@pytest.mark.parametrize("block", blocks(*PAGES), ids=lambda block: block.name)
def test_a_documented_example_runs_in_a_process_of_its_own(block: Block, tmp_path: Path) -> None:
    if block.missing:
        pytest.skip(f"needs {' and '.join(block.missing)}")
    (tmp_path / "example.py").write_text(block.text)
    _python("example.py", cwd=tmp_path)
