"""What is imported is declared, and who lacks it is told the extra that brings it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "invflow"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: The names of modules where they are not those of what is installed.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "arviz_stats": "arviz-stats",
    "lightning_fabric": "lightning-fabric",
    "pyro": "pyro-ppl",
    "pytensor": "pymc",
    "sklearn": "scikit-learn",
    "torch.utils.tensorboard": "tensorboard",
    "triton": "torch",
}
#: The extras of files and folders. What is not here is the core, which has none.
EXTRAS = {
    "_uniformity.py": ["density"],  # or "vi"
    "training": ["training"],
    "vae": ["vae"],
    "density": ["density"],
    "vi": ["vi"],
    "report": ["report"],
    "report/density": ["report", "density"],
    "report/images": ["report", "images"],
    "report/vae": ["report", "vae"],
    "report/posterior": ["report", "vi"],
    "report/inference": ["report", "simulation"],
    "report/student": ["report", "density"],
    "distillation": ["density"],
    "images": ["images"],
    "simulation": ["simulation"],
    "runs": ["density"],
    "cli": ["cli"],
    "cli/vae.py": ["cli", "vae", "report"],
    "cli/density.py": ["cli", "density", "report"],
    "cli/posterior.py": ["cli", "vi", "report"],
    "cli/infer.py": ["cli", "simulation", "report"],
    "runs/options.py": ["cli", "density"],
    "flows/pyro.py": ["pyro"],
    "flows/_pyro.py": ["pyro"],
    "adapters/zuko.py": ["zuko"],
    "adapters/_zuko.py": ["zuko"],
    "adapters/sbi.py": ["sbi"],
    "adapters/hub.py": ["hub"],
    "adapters/_hub.py": ["hub"],
    "adapters/nessai.py": ["nessai"],
    "adapters/_nessai.py": ["nessai"],
    "vi/targets/observed.py": ["vi", "pyro"],
    "vi/targets/pyro.py": ["vi", "pyro"],
    "vi/targets/sites.py": ["vi", "pyro"],
    "vi/fitting/guide.py": ["vi", "pyro"],
    "vi/targets/pymc.py": ["vi", "pymc"],
    "vi/targets/graphs.py": ["vi", "pymc"],
    "vi/targets/pymc_data.py": ["vi", "pymc"],
    "vi/targets/stan": ["vi", "stan", "httpstan"],
}


def _distribution(module: str) -> str:
    top = module.partition(".")[0]
    return DISTRIBUTIONS.get(module, DISTRIBUTIONS.get(top, top))


def declared(*extras: str) -> set[str]:
    """Return what is installed with some extras, by the requirements of pyproject.toml."""
    found: set[str] = set()
    requirements = list(PROJECT["dependencies"])
    for extra in extras:
        requirements += PROJECT["optional-dependencies"][extra]
    for requirement in requirements:
        name, inner = re.match(r"([\w-]+)(?:\[([\w,]+)\])?", requirement).groups()  # pyright: ignore
        found |= declared(*inner.split(",")) if name == "invflow" else {name}
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    """Give the modules that a piece of code imports, by statements or `import_module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0]
            if called in ("import_module", "required") and isinstance(first, ast.Constant):
                yield str(first.value)


def _strangers(tree: ast.AST) -> set[str]:
    known = {"invflow", *sys.stdlib_module_names}
    return {_distribution(m) for m in _imported(tree) if m.partition(".")[0] not in known}


FILES = sorted(SOURCE.rglob("*.py"))


def _extras(file: Path) -> list[str]:
    place = file.relative_to(SOURCE)
    for each in (place, *place.parents):
        if (extras := EXTRAS.get(each.as_posix())) is not None:
            return extras
    return []


def test_what_is_imported_is_declared() -> None:
    missing = {
        str(file.relative_to(SOURCE)): undeclared
        for file in FILES
        if (undeclared := _strangers(ast.parse(file.read_text())) - declared(*_extras(file)))
    }
    assert not missing


def test_what_is_declared_is_imported() -> None:
    imported = {name for file in FILES for name in _strangers(ast.parse(file.read_text()))}
    extras = set(PROJECT["optional-dependencies"]) - {"adapters", "bench", "dev", "docs", "onnx"}
    # The engine of ArviZ's files is named, not imported.
    assert declared(*extras) - imported == {"h5netcdf", "h5py"}


def test_errors_name_an_extra_that_brings_what_is_missing() -> None:
    checked = 0
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Try):
                continue
            for handler in node.handlers:
                for extra in re.findall(r"invflow\[(\w+)\]", ast.unparse(handler)):
                    tried = ast.Module(node.body, [])
                    assert _strangers(tried) <= declared(extra), f"{file}: {extra}"
                    checked += 1
    assert checked > 15


#: What a user calls, and the extra that brings what it needs.
CALLS = {
    "from invflow.density import FlowDensity": "density",
    "invflow.density.FlowDensity": "density",
    "invflow.density.table.Parquet": "density",
    "invflow.report.vae.write": "vae",
    "invflow.cli.main()": "all",
    "from invflow.density.table import Parquet": "density",
    "from invflow.density.checks.calibration import ranks": "density",
    "from invflow.vae.config import Config": "vae",
    "from invflow.images import data; data.load('digits')": "images",
    "from invflow.images import data; data.load('mnist')": "images",
    "from invflow.images import data; data.load('.')": "images",
    "posterior().summary()": "vi",
    "posterior().to_arviz()": "vi",
    "posterior().refine(32, warmup=20)": "vi",
    "import invflow.vi.run": "vi",
    "import invflow.simulation.run": "simulation",
    "import invflow.simulation.config": "simulation",
    "simulate(2)": "simulation",
    "posterior().to_pandas(resampled=False)": "vi",
    "from invflow import vi; vi.AutoIAF(lambda: None)": "pyro",
    "from invflow import vi; vi.from_pyro(lambda: None)": "pyro",
    "from invflow import vi; vi.from_pymc(None)": "pymc",
    "from invflow import vi; vi.from_stan('model.stan')": "httpstan",
    "invflow.flows.to_pyro(invflow.MAF(2)())": "pyro",
    "invflow.adapters.zuko.to_zuko(invflow.MAF(2))": "zuko",
    "invflow.adapters.sbi.posterior_nn()(torch.zeros(2, 1), torch.zeros(2, 1))": "sbi",
    "invflow.adapters.nessai.flow_class()(2, 8, 1, 1)": "nessai",
    "invflow.adapters.hub.push_to_hub(invflow.MAF(2), 'user/name')": "hub",
    "invflow.adapters.hub.from_pretrained('user/name')": "hub",
    "from invflow.training.fabric import launch; launch('cpu')": "training",
    "from invflow.cli import main; main()": "all",
}
#: What needs no extra.
CORE = [
    "invflow.vi.fit(lambda z: -z.pow(4).sum(-1), dim=1)",
    "posterior().diagnose()",
    "posterior().draws(100)",
    "simulate(1)",
    "sys.stderr.isatty = lambda: True; invflow.vi.fit(lambda z: -z.square().sum(-1), dim=1)",
]
#: Where nothing can be imported but the core and what comes with it.
ALONE = """
import importlib, json, pkgutil, sys
import torch, numpy, safetensors.torch

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import invflow

def posterior():
    from invflow import vi
    target = vi.Flat(lambda z: -z.square().sum(-1), 1)
    return vi.Posterior(target, invflow.flows.Gaussian(1).double())

def simulate(jobs):
    from invflow import simulation
    normal = torch.distributions.Normal(0.0, 1.0)
    return simulation.simulate(lambda p, random: p["theta"], {{"theta": normal}}, 5, jobs=jobs)

said = {{}}
for call in {calls!r}:
    try:
        exec(call)
    except (Exception, SystemExit) as error:
        said[call] = str(error)

def modules():
    for each in pkgutil.walk_packages(invflow.__path__, "invflow.", onerror=lambda name: None):
        name = each.name.rpartition(".")[2]
        # Of modules, those of a kind of run; Triton comes with PyTorch.
        if each.ispkg and name != "gpu" or name in ("config", "experiment", "run"):
            yield each.name

refused = {{}}
for name in modules():
    try:
        importlib.import_module(name)
        refused[name] = None
    except ImportError as error:
        refused[name] = str(error)
print(json.dumps([said, refused]))
"""


def test_a_user_who_lacks_an_extra_is_told_which(tmp_path: Path) -> None:
    outside = declared(*PROJECT["optional-dependencies"]) - declared()
    modules = {name for name, of in DISTRIBUTIONS.items() if of in outside} | outside
    script = ALONE.format(names=modules, calls=[*CALLS, *CORE])
    command = [sys.executable, "-c", script]
    (tmp_path / "picture.png").touch()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said, refused = json.loads(done.stdout)
    wrong = {
        call: said.get(call)
        for call, extra in CALLS.items()
        if f'pip install "invflow[{extra}]"' not in said.get(call, "")
    }
    assert not wrong
    assert not {call: said[call] for call in CORE if call in said}
    bare = {
        name: error for name, error in refused.items() if not (error is None or _right(name, error))
    }
    assert not bare
    assert refused["invflow.report"] is refused["invflow.vi"] is refused["invflow.cli"] is None
    assert len(refused) > 50


def _right(module: str, error: str) -> bool:
    """Return whether an error names an extra that a module needs."""
    place = SOURCE.joinpath(*module.split(".")[1:])
    extras = _extras(place / "__init__.py" if place.is_dir() else place.with_suffix(".py"))
    return any(f'pip install "invflow[{extra}]"' in error for extra in [*extras, "all"])
