"""The benchmarks' own code still fits the library's: a step or two of each, at toy sizes."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from invflow import MAF
from invflow.density import FlowDensity
from invflow.flows import TarFlow
from invflow.images import data
from invflow.vi import fit, from_pymc
from invflow.vi.targets.target import Flat

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Return what imports a script of the folder, for one test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield module
    ours = {path.stem for path in FOLDER.glob("*.py")} | {"nuts", "tabular"}
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ours:
            del sys.modules[name]


def test_densities_are_trained_written_and_read(load, tmp_path: Path) -> None:
    density = load("density")
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    np.savez(tmp_path / "toy.npz", data=rows)
    data = density.Data.load(tmp_path / "toy.npz", "cpu")
    budget = density.Budget(1, (8, 8), batch=32, updates=4, rate=1e-3, evaluate_every=2)
    data = dataclasses.replace(data, budget=budget)
    ours = [name for name in density.MODELS if name.startswith("invflow")]
    results = [density.train(data, name, seed=0) for name in ours]
    for result in results:
        density.add(tmp_path / "results.csv", result)
    assert density.read(tmp_path / "results.csv") == results
    assert all(np.isfinite(result.test) for result in results)
    printed = density.table(results)
    assert all(name in printed for name in ours)


def test_flows_are_trained_for_a_time_and_tested(
    load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    equal_time, workers = load("equal_time"), load("workers")
    monkeypatch.setitem(equal_time.SIZES, "digits", {"made": (1, (8,))})
    equal_time.worker("invflow MAF", "digits", 0.3, 1e-3, 0)
    found = [
        json.loads(line.removeprefix(workers.MARK)) for line in capsys.readouterr().out.splitlines()
    ]
    assert [line["what"] for line in found[-2:]] == ["validation", "test"]
    assert found[-1]["spent"] >= 0.3
    # Worse than trained flows, better than pixels that are equally likely.
    assert 2 < found[-1]["value"] < math.log2(17)
    labels = {
        "data": "digits",
        "flow": "invflow MAF",
        "seconds": "0.3",
        "rate": "0.001",
        "seed": "0",
    }
    equal_time.draw([{**labels, **line} for line in found], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_a_rate_is_chosen_on_validation_rows_among_finished_runs(load) -> None:
    tested = load("equal_time").tested

    def run(rate: str, values: list[str], test: str, unit: str) -> list[dict[str, str]]:
        labels = {"data": "d", "flow": "f", "seconds": "9", "rate": rate, "seed": "0"}
        whats = [*((value, "validation") for value in values), (test, "test")]
        lines = [{**labels, "what": what, "value": v, "unit": unit} for v, what in whats if v]
        return [*lines, *([] if test else [{**labels, "what": "", "value": "", "unit": ""}])]

    def rates(*runs: list[dict[str, str]]) -> list[str]:
        return [line["rate"] for line in tested([line for run in runs for line in run])]

    good = run("0.1", ["3", "2", "4"], "2.1", "bits per dimension")
    better = run("0.2", ["1.9"], "2.2", "bits per dimension")
    nats = run("0.3", ["1", "3"], "2", "nats"), run("0.4", ["2", "2"], "4", "nats")
    assert rates(good, better) == rates(better, good) == ["0.2"]
    assert rates(*nats) == ["0.3"]
    unfinished = run("0.5", ["0.1"], "", "bits per dimension")
    diverged = run("0.6", ["nan", "0.1"], "nan", "bits per dimension")
    for bad in (unfinished, diverged):
        assert rates(bad, good) == rates(good, bad) == ["0.1"]


def test_ways_to_sample_patches_agree_and_are_timed(
    load, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ("--size", "4", "--patch", "2", "--width", "8", "--blocks", "2", "--batch", "3")
    load("patches").main([*sizes, "--transforms", "2", "--runs", "1"])
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert "sampling" in head
    names = [line.split("|")[1].strip() for line in lines]
    ways = ["usual", "segments", "passes", "fixed_point", "auto", "cached"]
    assert names == ["parallel pass", *ways]
    assert "nan" not in "".join(lines)


def test_only_a_run_of_a_tarflow_without_labels_is_sampled(
    load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    patches = load("patches")

    def said() -> str:
        with pytest.raises(SystemExit):
            patches.main(["--run", str(tmp_path / "run")])
        return capsys.readouterr().err

    assert "run does not exist" in said()
    for flow, got in (
        (MAF(4), "got a MAF; make one"),
        (TarFlow((1, 2, 2), 1, classes=2), "got a TarFlow with labels"),
    ):
        found = SimpleNamespace(model=SimpleNamespace(flow=flow))
        monkeypatch.setattr(patches, "load", lambda directory, found=found: found)
        assert got in said()


def test_groups_are_measured_trained_and_drawn(load, tmp_path: Path) -> None:
    groups = load("groups")
    assert groups.groups(64) == [1, 4, 16, 32]
    assert groups.groups(10) == [1, 4, 5]
    effort = dataclasses.replace(load("directions").QUICK, warm_up=0.0, seconds=0.0, fewest=2)
    size = load("directions").Size(16, 8, 4)
    costs = list(groups.costs(size, list(groups.KINDS), effort))
    assert [cost.group for cost in costs] == [1, 4, 8] * 4 + [1]
    assert "16 " in groups.cost_table(costs)
    rows = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    np.savez(tmp_path / "toy.npz", data=rows)
    groups.likelihoods([tmp_path / "toy.npz"], tmp_path / "results.csv", [0], 1)
    results = load("density").read(tmp_path / "results.csv")
    assert len(results) == 4
    groups.draw(costs, results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
    table, patches = groups.of_scikit_learn(tmp_path, (20, 5, 5))
    assert np.load(table)["data"].shape == (569, 30)
    assert np.load(patches)["test"].shape == (5, 63)


def test_a_teacher_is_taught_and_distilled(load) -> None:
    distillation = load("distillation")
    size = distillation.Size(8, 1, 16, teacher_steps=2, student_steps=2, count=64)
    torch.manual_seed(0)
    start, end = distillation.measure(3, size)
    assert len(start) == len(end) == len(distillation.HEADER)
    assert [start[:2], end[:2]] == [["3", "start"], ["3", "end"]]


def test_directions_round_trip(load) -> None:
    directions = load("directions")
    effort = directions.Effort(warm_up=0.0, seconds=0.0, fewest=3, most=3, slowest=1.0)
    cell = directions.measure("invflow", directions.Size(4, 8, 16), effort, noise=0.1)
    assert cell.round_trip < 1e-5


def test_ways_to_invert_are_compared(load) -> None:
    gpu, directions = load("gpu"), load("directions")
    effort = directions.Effort(warm_up=0.0, seconds=0.0, fewest=3, most=3, slowest=1.0)
    cpu, size = torch.device("cpu"), directions.Size(4, 8, 16)
    cells = [
        gpu.measure(way, size, torch.float32, cpu, effort) for way in ("cached", "fixed_point")
    ]
    assert all(cell.error < 1e-5 for cell in cells)
    assert all(len(cell.row()) == len(gpu.HEADER) for cell in cells)
    (line,) = gpu.fastest(cells)
    assert line.startswith("D = 4, float32: ")


def test_without_a_card_there_is_nothing_to_compare(load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="needs a CUDA device"):
        load("gpu").main([])


def test_the_guard_trips_beyond_its_tolerance_only(load) -> None:
    guard = load("guard")
    recorded = {"same": 1.0, "better": 1.0, "a little worse": 0.5, "worse": 0.01, "broken": 1.0}
    found = {"same": 1.0, "better": 0.1, "a little worse": 0.69, "worse": 0.0141, "new": 9.0}
    assert guard.slower(recorded, found, tolerance=0.4) == ["worse"]
    assert guard.slower(recorded, {"broken": float("nan")}) == ["broken"]


def test_the_guard_measures_what_is_worse_once_more(load) -> None:
    guard = load("guard")
    values = {"steady": iter([1.3]), "a hiccup": iter([2.0, 1.1]), "slower": iter([1.8, 2.0])}
    what = {name: lambda each=each: next(each) for name, each in values.items()}
    found = guard.measure(what, dict.fromkeys(values, 1.0))
    assert found == {"steady": 1.3, "a hiccup": 1.1, "slower": 1.8}


def test_the_guard_records_and_compares(
    load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = load("guard")
    now = {"first ratio": 1.0, "second ratio": 2.0}
    monkeypatch.setattr(
        guard, "measures", lambda effort: {name: lambda name=name: now[name] for name in now}
    )
    options = ["--file", str(tmp_path / "ratios.json"), "--threads", str(torch.get_num_threads())]
    assert guard.main([*options, "--record"]) == 0
    now["first ratio"] = 1.3
    assert guard.main(options) == 0
    now["second ratio"] = 3.0
    capsys.readouterr()
    assert guard.main(options) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "slower than recorded: second ratio"


def test_every_ratio_of_the_guard_is_recorded(load) -> None:
    guard = load("guard")
    recorded = json.loads(guard.RECORD.read_text())["ratios"]
    assert guard.measures(guard.QUICK).keys() <= recorded.keys()


@pytest.mark.parametrize("which", ["inverse / forward", "training through it / forward"])
def test_the_guard_measures_ratios(load, which: str) -> None:
    guard = load("guard")
    directions = load("directions")
    effort = directions.Effort(warm_up=0.0, seconds=0.0, fewest=3, most=3, slowest=1.0)
    measures = guard.measures(effort)
    assert measures[next(name for name in measures if name.startswith(which))]() > 0


def test_a_level_is_reached_where_a_fit_comes_to_it_and_stays(load) -> None:
    elbo = load("elbo")
    bounds = [-5.0, -1.0, -3.0, -1.5, float("nan"), -0.5, -0.4]
    course = [elbo.Point(float(i), 0.0, bound) for i, bound in enumerate(bounds)]
    assert elbo.reached(course, -2.0) == course[5]
    assert elbo.reached(course[:4], -2.0) == course[3]
    assert elbo.reached(course[:4], -9.0) == course[0]
    assert elbo.reached(course, 0.0) is None
    assert elbo.settled(course, -0.6, 2, 99.0)
    assert not elbo.settled(course, -0.6, 3, 99.0)
    assert elbo.settled(course, -0.6, 3, 5.5)


def test_a_fit_is_stopped_after_so_many_steps(load) -> None:
    elbo = load("elbo")
    # A banana: no Gaussian is near enough for the training to be left out.
    target = elbo.vi.Flat(
        lambda z: -0.5 * (z[..., 0].square() + 4 * (z[..., 1] - z[..., 0].square()).square()), 2
    )
    stopped = elbo.Stopped(target, 3)
    posterior = elbo.vi.fit(stopped)
    assert stopped.over
    assert posterior.record.steps == 3
    assert posterior.record.stopped == "interrupted"


def test_bounds_of_an_iaf_are_measured_while_it_is_trained(
    load, monkeypatch: pytest.MonkeyPatch
) -> None:
    elbo = load("elbo")
    target = elbo.vi.Flat(lambda z: -0.5 * (z - 3).square().sum(-1), 2)
    monkeypatch.setattr(elbo.posteriordb, "load", lambda *_: (target, None, None))
    monkeypatch.setattr(elbo, "STEPS", 40)
    points = elbo.trained("a normal", Path(), 0, 1e-2)
    first, *_, last = (next(points) for _ in range(5))
    evidence = np.log(2 * np.pi)
    assert first.elbo < last.elbo < evidence + 0.1
    assert 0 < first.seconds < last.seconds
    assert elbo.bound(target, torch.full((2, 2), torch.nan), torch.zeros(2)) == -np.inf


@pytest.mark.parametrize("library", ["invflow", "zuko"])
def test_vaes_of_both_libraries_are_the_same_size_and_take_a_step(load, library: str) -> None:
    pytest.importorskip(library)
    trainee = load("vae_peers").Trainee(library, batch=4)
    before = [parameter.clone() for parameter in trainee.module.parameters()]
    trainee.step()
    assert trainee.parameters == 621_456
    after = trainee.module.parameters()
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("library", ["invflow", "zuko", "pythae"])
def test_vaes_at_equal_time_are_the_same_model(library: str, load) -> None:
    pytest.importorskip(library)
    learning = load("vae_learning")
    trainee = learning.Trainee(library, torch.randint(256, (9, 784)).float(), 0, seconds=1e-9)
    x = torch.randint(2, (7, 784)).float()
    torch.manual_seed(1)
    with torch.no_grad():
        losses = torch.stack([trainee.model.loss(x) for _ in range(200)])
    bound, likelihood = trainee.score(x, 200)
    assert -losses.mean() == pytest.approx(bound, abs=0.5)
    assert bound < likelihood
    before = [parameter.clone() for parameter in trainee.model.module.parameters()]
    trainee.train(1e-9)
    assert trainee.step == 1
    after = trainee.model.module.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_every_start_trains(load) -> None:
    starts = load("starts")
    images = data.load("digits")
    found = {
        name: starts.bounds(images, "iaf", name, seed=0, updates=2, every=2)[-1]
        for name in starts.STARTS
    }
    assert all(np.isfinite(bound) for bound in found.values())
    assert len(set(found.values())) == len(found)


def test_numpyro_has_the_densities_of_posteriordb(load) -> None:
    pytest.importorskip("numpyro")
    jax = pytest.importorskip("jax")
    posteriordb, theirs = load("posteriordb"), load("numpyro_iaf")
    theirs.numpyro.enable_x64()
    draw = np.random.default_rng(0).normal
    x = np.concatenate([np.ones((40, 1)), draw(size=(40, 24))], 1)
    data = {
        "eight_schools_noncentered": {"y": draw(size=8), "sigma": np.exp(draw(size=8))},
        "diamonds": {"X": x, "Y": 8 + draw(size=40)},
    }
    for name, (model, size) in theirs.MODELS.items():
        arrays = data[name.partition("-")[2]]
        tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
        z = draw(size=(5, size))
        ours = posteriordb.MODELS[name][0](tensors)(torch.from_numpy(z))
        np.testing.assert_allclose(jax.vmap(model(arrays))(z), ours, rtol=1e-6)


def test_jobs_whose_memory_is_measured_run(load) -> None:
    memory = load("memory")
    before = memory.peak()
    memory.JOBS["vae", "invflow"](Path(), 1)()
    assert 10 < before <= memory.peak() < 1e6


def test_what_a_small_step_is_made_of(
    load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overhead = load("overhead")

    def once(timers: dict, effort: object) -> dict[str, float]:
        return {name: float(timed(False)[0] > 0) for name, timed in timers.items()}

    monkeypatch.setattr(overhead.peers, "take_turns", once)
    overhead.main(["--size", "3/8/5", "--threads", str(torch.get_num_threads())])
    header, _, row = capsys.readouterr().out.splitlines()[-3:]
    assert "| invflow | PyTorch's share | the kernels' |" in header
    assert "| 3/8/5     | 1       | 1               | 1 " in row


def test_a_step_without_arithmetic_has_gradients_of_the_same_sizes(load) -> None:
    overhead = load("overhead")
    weights = [torch.zeros(size, requires_grad=True) for size in (4, 9)]
    value, ladj = overhead._Nothing.apply(torch.ones(5, 3), *weights)
    assert value.sum() == 15
    found = torch.autograd.grad(value.sum() + ladj.sum(), weights)
    assert [len(gradient) for gradient in found] == [4, 9]


@pytest.mark.parametrize("kind", ["student", "posterior"])
def test_losses_that_are_compiled(load, kind: str) -> None:
    model, parts, loss = load("compiling").problem(kind, 3, 8)
    loss().backward()
    assert all(weight.grad is not None for weight in parts[0].parameters())
    assert model.training


def test_a_fit_that_diverges_ends(load, monkeypatch: pytest.MonkeyPatch) -> None:
    elbo = load("elbo")
    nothing = Flat(lambda z: torch.nan * z.sum(-1), 2)
    monkeypatch.setattr(elbo.posteriordb, "load", lambda name, folder: (nothing, None, None))
    points = list(elbo.trained("nothing", Path(), 0, 0.1))
    assert [point.elbo for point in points] == [-np.inf]


@pytest.mark.slow
def test_trees_and_libraries_take_turns_in_processes_of_their_own(load) -> None:
    peers, directions = load("peers"), load("directions")
    effort = directions.Effort(warm_up=0.0, seconds=0.0, fewest=3, most=3, slowest=1.0)
    size, tree = directions.Size(3, 4, 5), FOLDER.parent
    with (
        peers.worker("invflow", None, 1) as here,
        peers.worker("invflow", tree, 1) as there,
    ):
        workers = {"invflow": here, "again": there}
        lines = peers.against_peers(size, workers, effort)
        floors = here.floors(size, 1.0, effort)
    assert [line[1] for line in lines] == list(peers.MODES)
    assert all(float(cell) > 0 for line in lines for cell in line[2:])
    assert len(lines[0]) == 5
    assert floors[0] == "3/4/5"


def test_the_first_minute_is_measured(load) -> None:
    first_minute = load("first_minute")
    times = {"import": [(900.0, 800.0)], "sample": [(20.0, 10.0), (2.0, 2.0), (4.0, 4.0)]}
    found = first_minute.rows("invflow", "float32", "new process", [times, times])
    assert found[0][3:] == ["import", "900", "800", "", ""]
    assert found[1][3:] == ["sample", "20", "10", "3", "6.67"]
    label, there = first_minute.Installation.parse("before=/usr/bin/python3:/tree")
    assert (label, there.python, there.path) == ("before", "/usr/bin/python3", "/tree/src")


def test_ways_to_wait_are_compared(load) -> None:
    company = load("company")
    rounds = [
        {way: dict.fromkeys(company.POSTERIORS, seconds) for way in company.WAYS}
        for seconds in (1.0, 2.0, 4.0)
    ]
    for each in rounds:
        each["passive"] = {name: 3 * value for name, value in each["passive"].items()}
    for line in company.rows(3, rounds):
        cells = dict(zip(company.WAYS, line[2:], strict=True))
        assert (cells["default"], cells["passive"]) == ("2 [1.00]", "6 [3.00]")


def test_products_are_measured(load, monkeypatch: pytest.MonkeyPatch) -> None:
    product = load("product")
    monkeypatch.setattr(product, "REPETITIONS", 10)
    for name in ("NumPy", "PyTorch"):
        rates = product.PRODUCTS[name]()
        assert list(rates) == ["torch.float32", "torch.float64"]
        assert min(rates.values()) > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["rugby", "golf", "coal", "volatility", "horseshoe"])
def test_models_are_the_same_in_torch_and_in_pymc(load, name: str) -> None:
    """Up to a constant, and the single precision of logarithms in torch's distributions."""
    pytest.importorskip("pymc", reason="needs PyMC")
    data = load("nuts.data").load(name, Path())
    model = load("nuts.pymc_models").build(name, data)
    target = load("nuts.torch_models").build(name, data)
    assert list(target.parameters) == [variable.name for variable in model.free_RVs]
    z = 0.3 * torch.randn(5, target.dim, generator=torch.Generator().manual_seed(0)).double()
    gap = target.log_density(z) - from_pymc(model).log_density(z)
    assert float((gap - gap.mean()).abs().max()) < 1e-5


@pytest.mark.slow
def test_large_posteriors_have_the_evidence_they_say(load) -> None:
    large = load("large_posteriors")
    for name, dim in (("Gaussian", 5), ("groups", 6)):
        log_density, evidence = large.KINDS[name](dim)
        verdict = fit(log_density, dim).diagnose()
        assert abs(verdict.log_evidence - evidence) < 0.02


def test_a_fit_is_right_from_the_look_after_which_it_stays_right(load) -> None:
    versus = load("versus_nuts")
    draws = np.random.default_rng(0).normal(size=(4, 1000))
    draws[:, :150] += 1.0
    mean, sd = versus.errors({"x": draws}, {"x": [0.0, 1.0]}, 100)
    assert mean > 0.5
    assert sd < 0.1
    assert max(versus.errors({"x": draws[:, 150:]}, {"x": [0.0, 1.0]}, 850)) < 0.1
    assert versus.moments({"x": np.array([1.0, 3.0])}) == {"x": [2.0, 1.0]}


def people(count: int) -> pd.DataFrame:
    """Return rows of two numbers and a category that depends on the first."""
    random = np.random.default_rng(0)
    x = random.normal(size=count)
    named = np.where(x + 0.3 * random.normal(size=count) > 0, "tall", "small")
    return pd.DataFrame({"x": x, "y": x + 0.5 * random.normal(size=count), "named": named})


#: Tools that need a package that is not the project's.
FOREIGN = {
    "synthetic": {"gaussian copula": "sdv", "ctgan": "sdv", "tvae": "sdv"},
    "anomalies": dict.fromkeys(["isolation forest", "lof", "knn", "ecod"], "pyod"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("job", ["synthetic", "mcar", "mnar", "anomalies"])
def test_tools_for_tables_are_measured(load, monkeypatch: pytest.MonkeyPatch, job: str) -> None:
    tables, module = load("tables"), load("tables").MODULES[job]
    monkeypatch.setattr(module, "load", lambda name, folder: people(90))
    monkeypatch.setattr(load("tabular.anomalies"), "MIXED", ("toy",))
    monkeypatch.setattr(load("tabular.imputation"), "PASSES", 1)
    monkeypatch.setitem(load("tabular.synthetic").FOREST, "n_estimators", 5)
    brief = functools.partial(FlowDensity, steps=2, hidden_features=[8])
    monkeypatch.setattr("invflow.density.FlowDensity", brief, raising=False)
    for tool in module.TOOLS:
        if find_spec(FOREIGN.get(job, {}).get(tool, "sys")) is not None:
            found = tables.JOBS[job]("toy", tool, 0, Path())
            assert next(iter(found)) == tool
            for values in found.values():
                assert list(values) == [*module.MEASURES, "seconds"]
                assert np.isfinite(list(values.values())).all()


def test_synthetic_rows_are_judged(load, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = load("tabular.synthetic").judge
    monkeypatch.setitem(load("tabular.synthetic").FOREST, "n_estimators", 40)
    rows = people(300)
    train, test, others = rows[:100], rows[100:150], rows[150:]
    right, copies = judge(train, test, others, "named"), judge(train, test, rows[:150], "named")
    assert abs(right["c2st"] - 0.5) < 0.15
    assert right["prediction"] > 0.9
    assert abs(right["distance"] - 1) < 0.3
    assert copies["distance"] == 0
    wrong = judge(train, test, others.assign(x=9.0, named="small"), "named")
    assert wrong["c2st"] == 1
    assert wrong["prediction"] == 0.5
    assert wrong["distance"] > 10


def test_missing_values_are_judged(load) -> None:
    imputation = load("tabular.imputation")
    rows = people(2000)
    anywhere, large = (imputation.gaps(rows, at_random, 0) for at_random in (True, False))
    assert np.allclose(anywhere.mean(0), 0.2, atol=0.03)
    assert np.allclose(large.mean(0), 0.2, atol=0.03)
    # Twice the rank as weight: the mean of 2 u^2 over uniform u is 2 / 3.
    assert abs(rows["x"].rank(pct=True)[large[:, 0]].mean() - 2 / 3) < 0.03
    assert list(imputation.judge(rows, rows, anywhere).values()) == [0, 0, 0]
    off = rows.assign(x=rows["x"] + rows["x"].std(ddof=0), y=rows["y"], named="other")
    found = imputation.judge(rows, off, anywhere)
    share = anywhere[:, 0].sum() / anywhere[:, :2].sum()
    assert found == pytest.approx({"rmse": share**0.5, "mae": share, "errors": 1})


def test_rows_are_decoded_from_numbers(load) -> None:
    rows = people(50)
    encoder = load("tabular.data").Encoder(rows)
    pd.testing.assert_frame_equal(encoder.decode(encoder.encode(rows)), rows, check_dtype=False)
    gaps = rows.mask(np.eye(50, 3, dtype=bool))
    assert np.isnan(encoder.encode(gaps)).sum(1).tolist() == [1, 1, 2] + [0] * 47


def test_spoiled_rows_are_halves_of_two_rows(load) -> None:
    frame = pd.DataFrame(np.arange(60.0).reshape(10, 6))
    odd = load("tabular.anomalies").spoiled(frame, np.random.default_rng(0)).to_numpy()
    rows = (odd // 6).astype(int)
    assert (odd % 6 == np.arange(6)).all()
    assert [len(set(row)) for row in rows] == [2] * 10
    assert [(row == i).sum() for i, row in enumerate(rows)] == [3] * 10


def test_results_of_tables_are_kept_and_ranked(
    load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables = load("tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    asked: list[str] = []

    def measured(job: str, table: str, tool: str, *_: object) -> list[dict[str, object]]:
        asked.append(tool)
        auc = {"invflow": 0.9, "gaussian": 0.8, "lof": 0.9}.get(tool)
        note = {"auc": auc} if auc else {"note": "failed: too long"}
        return [{"table": table, "tool": tool, "seed": 0, **note}]

    monkeypatch.setattr(tables, "measured", measured)
    for _ in range(2):
        tables.main(["run", "--jobs", "anomalies", "--tables", "wine", "--seeds", "0"])
    assert asked == list(load("tabular.anomalies").TOOLS)
    header, _, *lines = tables.table("anomalies", "auc").splitlines()
    assert header == "| anomalies, auc | wine | rank |"
    assert lines == ["| invflow | 0.9 | 1.0 |", "| gaussian | 0.8 | 3.0 |", "| lof | 0.9 | 1.0 |"]
    areas = {("a", "t"): 0.5, ("b", "t"): 0.6, ("c", "t"): 0.4, ("training rows", "t"): 0.5}
    assert tables.ranks(areas, "c2st") == {"a": 1, "b": 3, "c": 1}
    assert tables.ranks(areas, "distance") == {"a": 2, "b": 1, "c": 3}
