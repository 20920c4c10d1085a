"""Posteriors from a fresh process: `vi.fit` beside NUTS and Pathfinder, by time until right.

Twelve models with their data (`nuts/data.py`), each the same for every tool:

- invflow: `vi.fit` of the model in torch (`vi.Named`), and 4,000 weighted draws;
- invflow_pymc: the same of `vi.from_pymc(model)`;
- pymc: `pymc.sample`, 4 chains, 1,000 draws after 1,000 of tuning;
- nutpie: the same, by nutpie's sampler of the PyMC model;
- numpyro: the same of the model in NumPyro, in double precision;
- pathfinder: `pymc_extras.fit_pathfinder`, with 4,000 draws.

Every fit runs in a process of its own, on two cores, with empty caches of compiled code. "Cold"
counts from before the tool's imports until the draws are there; "warm" is a second fit, with
another seed, of the same model in the same process. A fit is right as soon as every parameter's
mean is within 0.1 posterior standard deviations of a reference and the log of its standard
deviation within 0.1, positive parameters on a log scale; for the chains, the draws so far are
looked at after 100, 200, 400 and so on, and time is divided evenly among draws.

    python benchmarks/versus_nuts.py reference --data FOLDER [--models NAME ...]
    python benchmarks/versus_nuts.py run --data FOLDER [--models ...] [--tools ...] [--seeds 0 1 2]
    python benchmarks/versus_nuts.py table

FOLDER is that of the posteriors of posteriordb. `reference` writes
`results/nuts/references.json`: of posteriordb's draws for its six, from a grid for coal, from
nutpie's four chains of 25,000 draws for the others. `run` adds lines to
`results/nuts/fits.csv`. Needs pip install pymc nutpie numpyro pymc-extras arviz.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import workers

RESULTS = Path(__file__).parent / "results" / "nuts"
REFERENCES, FITS = RESULTS / "references.json", RESULTS / "fits.csv"
CHAINS, TUNE, DRAWS, CORES = 4, 1000, 1000, 2
LOOKS = (100, 200, 400, 600, 800, 1000)
#: Limits of the grid of a model with two positive parameters, on the log scale, and its size.
GRIDS = {"coal": ((0.0, 2.0), (-1.5, 1.0))}
GRID = 800
FIELDS = ("model", "tool", "seed", "when", "seconds", "right", "mean", "sd", "ess", "note")
Values = dict[str, np.ndarray[Any, Any]]
#: Returns draws by parameter, (chains, draws, *shape); the effective draws, if it knows them; and a
#: remark.
Fit = Callable[[int], tuple[Values, float | None, str]]


def invflow(name: str, folder: Path) -> Fit:
    """Fit a flow to the model in torch, and draw with weights."""
    from nuts import data, torch_models

    target = torch_models.build(name, data.load(name, folder))
    return _fit(lambda: target, list(target.parameters))


def invflow_pymc(name: str, folder: Path) -> Fit:
    """Fit a flow to the model in PyMC, and draw with weights."""
    from nuts import data, pymc_models

    from invflow import vi

    model = pymc_models.build(name, data.load(name, folder))
    return _fit(lambda: vi.from_pymc(model), [variable.name for variable in model.free_RVs])


def _fit(build: Callable[[], Any], names: list[str]) -> Fit:
    from invflow import vi

    kept: list[Any] = []

    def fit(seed: int) -> tuple[Values, float | None, str]:
        if not kept:
            kept.append(build())
        posterior = vi.fit(kept[0], seed=seed)
        draws = posterior.draws(CHAINS * DRAWS)
        verdict = posterior.diagnose(CHAINS * DRAWS)
        evaluations = posterior.record.evaluations if posterior.record else 0
        note = f"{verdict.level}; {evaluations} evaluations"
        return {k: draws[k].numpy()[None] for k in names}, verdict.ess, note

    return fit


def pymc(name: str, folder: Path) -> Fit:
    """Sample by PyMC's NUTS."""
    import pymc as pm
    from nuts import data, pymc_models

    model = pymc_models.build(name, data.load(name, folder))

    def fit(seed: int) -> tuple[Values, float | None, str]:
        with model:
            found = pm.sample(
                DRAWS, tune=TUNE, chains=CHAINS, cores=CORES, random_seed=seed, progressbar=False
            )
        return _arrays(found, model), None, f"{int(found.sample_stats.diverging.sum())} divergences"

    return fit


def nutpie(name: str, folder: Path, draws: int = DRAWS, **options: Any) -> Fit:
    """Sample by nutpie's NUTS."""
    import nutpie as sampler
    from nuts import data, pymc_models

    model = pymc_models.build(name, data.load(name, folder))
    kept: list[Any] = []

    def fit(seed: int) -> tuple[Values, float | None, str]:
        if not kept:
            kept.append(sampler.compile_pymc_model(model))
        found = sampler.sample(
            kept[0],
            draws=draws,
            tune=TUNE,
            chains=CHAINS,
            cores=CORES,
            seed=seed,
            progress_bar=False,
            **options,
        )
        return _arrays(found, model), None, f"{int(found.sample_stats.diverging.sum())} divergences"

    return fit


def numpyro(name: str, folder: Path) -> Fit:
    """Sample by NumPyro's NUTS."""
    import numpyro as library

    library.enable_x64()
    library.set_host_device_count(CHAINS)
    import jax
    from numpyro.infer import MCMC, NUTS
    from nuts import data, numpyro_models

    model = numpyro_models.build(name, data.load(name, folder))
    chains = MCMC(
        NUTS(model), num_warmup=TUNE, num_samples=DRAWS, num_chains=CHAINS, progress_bar=False
    )

    def fit(seed: int) -> tuple[Values, float | None, str]:
        chains.run(jax.random.PRNGKey(seed))
        found = chains.get_samples(group_by_chain=True)
        bad = int(chains.get_extra_fields()["diverging"].sum())
        return {k: np.asarray(v) for k, v in found.items()}, None, f"{bad} divergences"

    return fit


def pathfinder(name: str, folder: Path) -> Fit:
    """Fit by Pathfinder."""
    import pymc_extras
    from nuts import data, pymc_models

    model = pymc_models.build(name, data.load(name, folder))

    def fit(seed: int) -> tuple[Values, float | None, str]:
        found = pymc_extras.fit_pathfinder(
            model=model, num_draws=CHAINS * DRAWS, random_seed=seed, progressbar=False
        )
        return _arrays(found, model), None, ""

    return fit


TOOLS: dict[str, Callable[[str, Path], Fit]] = {
    "invflow": invflow,
    "invflow_pymc": invflow_pymc,
    "pymc": pymc,
    "nutpie": nutpie,
    "numpyro": numpyro,
    "pathfinder": pathfinder,
}


def _arrays(found: Any, model: Any) -> Values:
    return {v.name: np.asarray(found.posterior[v.name]) for v in model.free_RVs}


def columns(name: str, draws: Values) -> Values:
    """Return the compared numbers, each (chains, draws)."""
    from nuts import data

    chains, count = next(iter(draws.values())).shape[:2]
    flat = {k: v.reshape(chains * count, *v.shape[2:]) for k, v in draws.items()}
    return {k: v.reshape(chains, count) for k, v in data.columns(name, flat).items()}


def errors(found: Values, reference: dict[str, list[float]], count: int) -> tuple[float, float]:
    """Return the largest errors of means, in sds, and of log sds, of the first draws of chains."""
    mean, sd = 0.0, 0.0
    for key, (centre, width) in reference.items():
        part = found[key][:, :count]
        mean = max(mean, abs(float(part.mean()) - centre) / width)
        sd = max(sd, abs(float(np.log(part.std() / width))))
    return mean, sd


def worker(tool: str, name: str, folder: Path, seed: int, started: float) -> None:
    """Fit twice, and print a line for each."""
    reference = json.loads(REFERENCES.read_text())[name]
    fit = TOOLS[tool](name, folder)
    setup = time.time() - started
    for when, shift in (("cold", 0), ("warm", 1000)):
        begin = time.time()
        draws, ess, note = fit(seed + shift)
        spent = time.time() - begin
        seconds = spent + (setup if when == "cold" else 0.0)
        found = columns(name, draws)
        count = next(iter(found.values())).shape[1]
        looks = LOOKS if count == DRAWS else (count,)
        seen = [errors(found, reference, look) for look in looks]
        wrong = [max(pair) >= 0.1 for pair in seen]
        first = next((i for i in range(len(seen)) if not any(wrong[i:])), None)
        right = float("nan")
        if first is not None:
            left = spent * (count - looks[first]) / (count + TUNE) if len(looks) > 1 else 0.0
            right = seconds - left
        if ess is None:
            import arviz as az

            ess = min(float(az.ess(value)) for value in found.values())
        row = [name, tool, seed, when, seconds, right, *seen[-1], ess, note]
        workers.say(dict(zip(FIELDS, row, strict=True)))


def run(options: argparse.Namespace) -> None:
    """Run workers one by one, and keep their lines."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name in options.models:
            for tool in options.tools:
                rows = fitted(tool, name, options.data, seed, options.limit)
                new = not FITS.exists()
                with FITS.open("a", newline="") as file:
                    writer = csv.DictWriter(file, FIELDS)
                    if new:
                        writer.writeheader()
                    writer.writerows(rows)
                for row in rows:
                    print(*(f"{v:.4g}" if isinstance(v, float) else v for v in row.values()))
                    sys.stdout.flush()


def fitted(tool: str, name: str, folder: Path, seed: int, limit: float) -> list[dict[str, Any]]:
    """Run a worker, and return its lines."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {
            "OMP_NUM_THREADS": str(CORES),
            "PYTENSOR_FLAGS": f"base_compiledir={empty}/pytensor",
            "NUMBA_CACHE_DIR": f"{empty}/numba",
        }
        arguments = ["worker", tool, name, str(folder), str(seed), str(time.time())]
        rows, last = workers.results(__file__, arguments, environment, limit)
    for when in ("cold", "warm")[len(rows) :]:
        numbers = dict.fromkeys(FIELDS, math.nan)
        labels = {"model": name, "tool": tool, "seed": seed, "when": when}
        rows.append({**numbers, **labels, "note": f"failed: {last}"})
    return rows


def reference(options: argparse.Namespace) -> None:
    """Keep means and standard deviations: posteriordb's, from a grid, or from long chains."""
    from nuts import data

    RESULTS.mkdir(parents=True, exist_ok=True)
    known = json.loads(REFERENCES.read_text()) if REFERENCES.exists() else {}
    for name in options.models:
        if name in data.POSTERIORDB:
            known[name] = moments(data.reference(name, options.data))
        else:
            known[name] = on_grid(name) if name in GRIDS else of_chains(name, options.data)
        REFERENCES.write_text(json.dumps(known, indent=1) + "\n")


def moments(found: Values) -> dict[str, list[float]]:
    """Return the mean and the standard deviation of each number."""
    return {k: [float(v.mean()), float(v.std())] for k, v in found.items()}


def of_chains(name: str, folder: Path) -> dict[str, list[float]]:
    """Return means and standard deviations of long chains."""
    import arviz as az

    draws, _, note = nutpie(name, folder, 25_000, target_accept=0.95)(12345)
    found = columns(name, draws)
    rhat = max(float(az.rhat(v)) for v in found.values())
    ess = min(float(az.ess(v)) for v in found.values())
    print(name, len(found), note, f"R-hat {rhat:.4f}, ESS {ess:.0f}", flush=True)
    return moments(found)


def on_grid(name: str) -> dict[str, list[float]]:
    """Return means and standard deviations of the logs of two positive parameters."""
    from nuts import data, pymc_models

    model = pymc_models.build(name, data.load(name, Path()))
    log_density = model.compile_logp()
    names = [variable.name for variable in model.value_vars]
    axes = [np.linspace(*limits, GRID) for limits in GRIDS[name]]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    values = np.array([log_density(dict(zip(names, point, strict=True))) for point in points])
    values = values.reshape(GRID, GRID)
    weights = np.exp(values - values.max())
    found: dict[str, list[float]] = {}
    for i, variable in enumerate(model.free_RVs):
        marginal = weights.sum(1 - i) / weights.sum()
        mean = float(marginal @ axes[i])
        found[f"{variable.name}[0]"] = [mean, float(marginal @ (axes[i] - mean) ** 2) ** 0.5]
        print(name, variable.name, f"mass at the edges {marginal[[0, -1]].sum():.1g}", flush=True)
    return found


def table() -> None:
    """Print medians over seeds of the seconds until right, and the wins."""
    with FITS.open() as file:
        rows = list(csv.DictReader(file))
    tools = [tool for tool in TOOLS if any(row["tool"] == tool for row in rows)]
    for when in ("cold", "warm"):
        print(f"\n| {when} | " + " | ".join(tools) + " |\n| --- |" + " --- |" * len(tools))
        found: dict[str, dict[str, float]] = {}
        for name in dict.fromkeys(row["model"] for row in rows):
            found[name] = {tool: _seconds(rows, name, tool, when) for tool in tools}
            cells = ["" if math.isnan(x) else f"{x:.3g}" for x in found[name].values()]
            print(f"| {name} | " + " | ".join(cells) + " |")
        print()
        for other in (tool for tool in tools if not tool.startswith("invflow")):
            pairs = [(cells["invflow"], cells[other]) for cells in found.values()]
            wins = sum(mine <= theirs < math.inf or mine < theirs for mine, theirs in pairs)
            ratios = [mine / theirs for mine, theirs in pairs if min(mine, theirs) < math.inf]
            print(
                f"{when}, {other}: at least as fast on {wins}; median ratio {np.median(ratios):.2f}"
            )


def _seconds(rows: list[dict[str, str]], name: str, tool: str, when: str) -> float:
    """Return the median over seeds of the seconds until right, NaN where there is no fit."""
    mine = [row for row in rows if (row["model"], row["tool"], row["when"]) == (name, tool, when)]
    right = [float(row["right"]) for row in mine]
    return statistics.median([math.inf if math.isnan(x) else x for x in right] or [math.nan])


def main(arguments: list[str]) -> None:
    """Run one of the commands."""
    from nuts.data import NAMES

    if arguments[:1] == ["worker"]:
        tool, name, folder, seed, started = arguments[1:]
        worker(tool, name, Path(folder), int(seed), float(started))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("reference", "run", "table"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--models", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--limit", type=float, default=600.0)
    options = parser.parse_args(arguments)
    if options.command == "table":
        table()
    else:
        {"run": run, "reference": reference}[options.command](options)


if __name__ == "__main__":
    main(sys.argv[1:])
