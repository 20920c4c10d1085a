"""Training: an interrupted run ends with the same numbers, and every precision works."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx

from invflow import training
from invflow.images import data
from invflow.runs.directory import is_finished
from invflow.training import compiling
from invflow.vae import experiment, run
from invflow.vae.build import RESNET_POSTERIORS, build
from invflow.vae.config import Config, Format
from invflow.vae.models.base import LatentModel
from invflow.vae.presets import PRESETS
from tests.helpers import assert_close, fast, generator

SMALL: dict[str, Any] = {
    "flow_transforms": 1,
    "flow_hidden_features": (5,),
    "steps": 13,
    "batch_size": 7,
    "evaluate_every": 3,
    "importance_samples": 5,
}
SIZES: dict[str, dict[str, Any]] = {
    "mlp": {**SMALL, "hidden_features": (6,), "context": 4, "latents": 2},
    "resnet-vae": {
        **SMALL,
        "network": "resnet-vae",
        "depths": (1, 1),
        "feature_maps": 4,
        "latent_maps": 2,
    },
}
CONFIGS: dict[str, dict[str, Any]] = {
    "preset": {
        **PRESETS["small"],
        **SIZES["resnet-vae"],
        "averaging_decay": 0.9,
        "warmup": 9,
        "free_bits": 0.3,
    },
    "bottom-up": {
        **SIZES["resnet-vae"],
        "posteriors": ("bottom-up-iaf",),
        "train_samples": 3,
        "optimizer": "adamax",
    },
    "importance": {**SIZES["mlp"], "posteriors": ("diagonal", "iaf"), "train_samples": 4},
    "vamp": {**SIZES["mlp"], "prior": "vamp", "likelihood": "bernoulli", "averaging_decay": 0.5},
    "conditional": {
        **SIZES["mlp"],
        "conditional": True,
        "posteriors": ("iaf",),
        "prior": "vamp",
        "train_samples": 2,
    },
    "conditional-gated": {
        **SIZES["mlp"],
        "conditional": True,
        "posteriors": ("iaf",),
        "network": "gated",
        "hidden_features": (2, 3),
    },
    "conditional-layers": {
        **SIZES["resnet-vae"],
        "conditional": True,
        "posteriors": ("iaf",),
    },
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("images") / "images.npz"
    levels = np.random.default_rng(0).integers(0, 9, (40, 5, 4), dtype=np.uint8)
    np.savez(path, images=levels, labels=np.arange(40) % 3)
    return str(path)


def _metrics(directory: Path) -> list[dict[str, str]]:
    """Return what was measured, but for how long it took."""
    rows = csv.DictReader((directory / "metrics.csv").read_text().splitlines())
    return [{k: v for k, v in row.items() if k not in ("seconds", "rate")} for row in rows]


#: With warm-up, averages and layers; samples that share an image; a learned prior and classes.
QUICK = ["preset", "importance", "conditional"]


@pytest.mark.parametrize("name", fast(QUICK, CONFIGS))
def test_an_interrupted_run_ends_with_the_same_numbers(
    name: str, images: str, tmp_path: Path
) -> None:
    config = Config(data=images, **CONFIGS[name])
    whole = experiment.train(config, tmp_path / "whole")
    source = random.Random(name)
    for _ in range(3):
        stop = source.randrange(config.steps + 1)

        def report(step: int, line: str, stop: int = stop) -> None:
            if step >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            experiment.train(config, tmp_path / "again", report=report)
        assert not is_finished(tmp_path / "again")
    torch.manual_seed(source.randrange(1000))  # of which nothing depends
    again = experiment.train(config, tmp_path / "again")
    assert whole is not None
    assert again is not None
    assert _metrics(tmp_path / "again") == _metrics(tmp_path / "whole")
    steps = {int(row["step"]) for row in _metrics(tmp_path / "whole")}
    assert steps == {3, 6, 9, 12, 13}
    names = [tmp_path / each / "model.safetensors" for each in ("whole", "again")]
    assert names[0].read_bytes() == names[1].read_bytes()
    for posterior, result in whole.results.items():
        assert math.isfinite(result.log_likelihood)
        assert again.results[posterior].bound == result.bound
        assert again.results[posterior].kls == result.kls
        assert len(result.kls) == (4 if config.network == "resnet-vae" else 1)


@pytest.mark.parametrize(
    ("precision", "network"),
    fast(
        [("64-true", "mlp"), ("bf16-mixed", "resnet-vae")],
        product(["64-true", "bf16-mixed"], ["mlp", "resnet-vae"]),
    ),
)
def test_precisions(
    network: str, precision: str, images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(data=images, **SIZES[network], precision=precision, averaging_decay=0.5)
    computed: set[torch.dtype] = set()

    def spied(model: LatentModel, levels: Tensor, given: None, config: Config) -> None:
        start(model, levels, given, config)
        layer = model.decoder[0] if network == "mlp" else model.stem
        layer.register_forward_hook(
            # What has gradients is training; scores are not computed in half precision.
            lambda layer, inputs, output: (
                computed.add(output.dtype) if output.requires_grad else None
            )
        )

    start = experiment._start
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "_start", spied)
        finished = experiment.train(config, tmp_path / "run")
    assert finished is not None
    assert computed == {torch.bfloat16 if precision == "bf16-mixed" else torch.float64}
    exact = experiment.train(
        config.model_copy(update={"precision": "32-true"}), tmp_path / "single"
    )
    assert exact is not None
    dtype = torch.float64 if precision == "64-true" else torch.float32
    for name, model in run.load(tmp_path / "run").models.items():
        assert model.like.dtype == dtype
        assert_close(model.state_dict(), finished.models[name].state_dict(), tolerance=0)
        # Noise of another precision is other noise.
        ours, theirs = finished.results[name].bound, exact.results[name].bound
        assert ours == pytest.approx(theirs, rel=0.15)


def test_what_is_scored_is_the_average_of_the_weights(images: str, tmp_path: Path) -> None:
    plain, averaged = (
        experiment.train(
            Config(data=images, averaging_decay=decay, **SIZES["mlp"]), tmp_path / str(decay)
        )
        for decay in (0.0, 0.9)
    )
    assert plain is not None
    assert averaged is not None
    for name, result in plain.results.items():
        assert averaged.results[name].bound != result.bound


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("network", ["mlp", pytest.param("resnet-vae", marks=pytest.mark.slow)])
def test_compiled(
    network: str, images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graphs are taken, and run as they are: generating code for them takes minutes."""
    ran = 0

    def counting(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            nonlocal ran
            ran += 1
            return graph(*given)

        return run

    def found(device: str) -> bool:
        return True

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counting))
    monkeypatch.setattr(compiling, "has_compiler", found)
    settings = {**SIZES[network], "posteriors": ("iaf",), "averaging_decay": 0.5}
    plain = experiment.train(Config(data=images, **settings), tmp_path / "plain")
    assert ran == 0
    config = Config(data=images, compile=True, **settings)
    compiled = experiment.train(config, tmp_path / "compiled")
    assert plain is not None
    assert compiled is not None
    # Of the model's parts each runs at every step.
    assert ran >= config.steps * len(compiled.model().parts)
    assert compiled.results["iaf"].bound == pytest.approx(plain.results["iaf"].bound, rel=1e-3)


def test_default_posteriors() -> None:
    assert Config().posteriors == ("diagonal", "full", "iaf")
    assert Config(network="resnet").posteriors == ("diagonal", "full", "iaf")
    assert Config(network="resnet-vae").posteriors == ("diagonal", "iaf")
    assert Config(network="resnet-vae", posteriors=("iaf",)).posteriors == ("iaf",)
    stored = Config(network="resnet-vae").model_dump(mode="json")
    assert Config(**stored) == Config(network="resnet-vae")


def _format(name: str) -> Format:
    shape, likelihood = {
        "mnist": ((1, 28, 28), "bernoulli"),
        "cifar10": ((3, 32, 32), "shared-logistic"),
        "digits": ((1, 8, 8), "logistic"),
    }[name]
    return Format(
        shape=shape, levels=17 if name == "digits" else 256, likelihood=likelihood, digest=""
    )


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    config = Config(**PRESETS[name])
    experiment._settings(config)
    assert config.data in data.NAMES
    format = _format(config.data)
    if name == "paper-cifar":
        with torch.device("meta"):
            (model,) = build(config, format).values()
        assert [layer.size for layer in model.layers] == [(16, 16)] * 20
        assert model.latents == 20 * 32 * 16 * 16
        # The model itself, less deep.
        config = config.model_copy(update={"depths": (1,)})
    models = build(config, format)
    assert list(models) == list(config.posteriors)
    for posterior, model in models.items():
        levels = torch.zeros(2, model.pixels, dtype=torch.uint8)
        bound = model.elbo(model.observe(levels)).bound
        assert bound.shape == (2,)
        assert bool(bound.isfinite().all())
        assert posterior in RESNET_POSTERIORS or config.network != "resnet-vae"


def test_the_start_is_from_the_first_images(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the layers give for them has standard deviation one, before anything is learned."""
    config = Config(data=images, **CONFIGS["preset"])
    loaded = data.load(images)
    levels = loaded.train.flatten(1)[:7]
    format = Format(shape=loaded.shape, levels=loaded.levels, likelihood="logistic", digest="")
    untrained = build(config, format)["iaf"]
    started: dict[str, Tensor] = {}
    stds: list[Tensor] = []

    def stop(step: int, line: str) -> None:
        raise KeyboardInterrupt

    def spied(*args: Any) -> Any:
        model = args[1]["iaf"].model
        started.update({k: v.clone() for k, v in model.state_dict().items()})
        hook = model.stem.register_forward_hook(
            lambda layer, inputs, output: stds.append(
                output.movedim(1, 0).flatten(1).std(1, correction=0)
            )
        )
        model.elbo(model.observe(levels))
        hook.remove()
        return fit(*args)

    fit = training.fit
    monkeypatch.setattr(training, "fit", spied)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(config, tmp_path / "run", report=stop)
    before = untrained.state_dict()
    changed = {k for k, v in started.items() if not torch.equal(v, before[k])}
    assert changed
    assert all(k.endswith((".g", ".bias")) for k in changed)
    assert_close(stds[0], torch.ones_like(stds[0]), tolerance=1e-4)


#: Settings that each make another model of the same data.
CHANGES: list[dict[str, Any]] = [
    {},
    {"beta": 0.5},
    {"warmup": 4},
    {"free_bits": 30.0},
    {"train_samples": 3},
    {"optimizer": "adamax"},
    {"optimizer": "adam"},  # neither decays weights, as the default does
    {"schedule": "constant"},
    {"learning_rate": 3e-3},
    {"weight_decay": 1.0},
    {"averaging_decay": 0.9},
    {"max_gradient_norm": 1e-8},
    {"batch_size": 6},
    {"seed": 1},
]


def test_every_setting_counts(images: str, tmp_path: Path) -> None:
    base = {**SIZES["mlp"], "posteriors": ("diagonal",), "steps": 3, "learning_rate": 0.05}
    trained: dict[str, str] = {}
    for i, changes in enumerate(CHANGES):
        experiment.train(Config(data=images, **base | changes), tmp_path / str(i))
        # The bound is measured on the model; the loss may differ merely in how it is measured.
        trained[str(changes)] = _metrics(tmp_path / str(i))[-1]["bound"]
    same = [name for name, bound in trained.items() if [*trained.values()].count(bound) > 1]
    assert not same


def test_batches_and_noise_are_of_the_seed(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the same weights another seed trains otherwise."""
    monkeypatch.setattr(
        experiment,
        "build",
        lambda config, images: build(config.model_copy(update={"seed": 0}), images),
    )
    losses = []
    for seed in (0, 1):
        config = Config(data=images, **{**SIZES["mlp"], "steps": 6}, seed=seed)
        experiment.train(config, tmp_path / str(seed))
        rows = _metrics(tmp_path / str(seed))
        losses.append([row["loss"] for row in rows if row["split"] == "train"])
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    "changes", [{"beta": 20.0, "warmup": 12}, {"free_bits": 5.0}, {"train_samples": 20}]
)
def test_what_is_kept_is_best_by_the_objective_at_its_end(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SIZES["mlp"], "posteriors": ("diagonal",), "evaluate_every": 1, "steps": 24}
    # Enough validation images that the noise of their draws averages out.
    brightness = torch.randint(7, (1040, 1, 1), generator=generator(0))
    levels = (brightness + torch.randint(3, (1040, 5, 4), generator=generator(1))).numpy()
    parts = dict(zip(("train", "validation", "test"), np.split(levels, [20, 1020]), strict=True))
    np.savez(tmp_path / "noisy.npz", **parts)
    config = Config(
        data=str(tmp_path / "noisy.npz"),
        schedule="constant",
        learning_rate=0.02,
        weight_decay=0.0,
        **settings,
        **changes,
    )
    images = run.read(config)
    states: list[dict[str, Tensor]] = []
    losses: list[float] = []

    def spied(*args: Any) -> Any:
        def evaluate(trained: Any) -> dict[str, float]:
            state = trained.model.state_dict()
            states.append({k: v.clone() for k, v in state.items()})
            values = args[4](trained)
            losses.append(values["loss"])
            return values

        return fit(*args[:4], evaluate, *args[5:])

    fit = training.fit
    monkeypatch.setattr(training, "fit", spied)
    finished = experiment.train(config, tmp_path / "run")
    assert finished is not None
    model = finished.model()
    kept = model.state_dict()
    (place,) = [
        i for i, each in enumerate(states) if all(torch.equal(kept[k], each[k]) for k in kept)
    ]
    assert losses[place] == min(losses)
    # The losses are those of the objective after its warm-up, but for the noise of the draws.
    bounds = []
    x = model.observe(images.validation.flatten(1))
    for state, loss in zip(states, losses, strict=True):
        model.load_state_dict(state)
        with torch.no_grad():
            elbo = model.elbo(x, generator(1))
            weighted = model.importance_bound(x, config.train_samples, generator(2))
        bounds.append(float(elbo.bound.mean()))
        kl = max(float(elbo.kl.mean()), config.free_bits)
        expected = config.beta * kl - float(elbo.fit.mean())
        if config.train_samples > 1:
            expected = -float(weighted.mean())
        assert loss == pytest.approx(expected, rel=0.01)
    plain = [-bound for bound in bounds]
    assert losses != pytest.approx(plain, rel=0.02)
    if "train_samples" in changes:  # by the bound itself, another would be the best
        assert place != plain.index(min(plain))


@pytest.mark.parametrize("where", ["_start", "metrics.require", "training.launch"])
def test_what_cannot_start_overwrites_nothing(
    where: str, images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(data=images, posteriors=("diagonal",), **SIZES["mlp"])
    experiment.train(config, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.*")}

    def fails(*arguments: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(f"invflow.vae.experiment.{where}", fails)
    other = config.model_copy(update={"seed": 1})
    with pytest.raises(RuntimeError, match="out of memory"):
        experiment.train(other, tmp_path / "run", overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.*")} == before


@pytest.mark.filterwarnings("ignore:.* test images are also training")
def test_a_conditional_run_learns_what_its_classes_look_like(tmp_path: Path) -> None:
    """Images of two levels: a class is half of the picture, and latents have nothing to say."""
    labels = np.arange(300) % 2
    white = np.zeros((300, 4, 4), np.uint8)
    white[labels == 0, :2], white[labels == 1, 2:] = 1, 1
    path = tmp_path / "halves.npz"
    np.savez(path, images=white, labels=np.array(["upper half", "$lower$"])[labels])
    settings: dict[str, Any] = {**SIZES["mlp"], "posteriors": ("iaf",), "steps": 400}
    settings |= {"batch_size": 32, "evaluate_every": 100, "learning_rate": 0.02}
    bounds: dict[bool, float] = {}
    for conditional in (True, False):
        config = Config(data=str(path), conditional=conditional, **settings)
        trained = experiment.train(config, tmp_path / str(conditional))
        assert trained is not None
        bounds[conditional] = trained.results["iaf"].bound
    # One bit less to say, however well the other model says it.
    assert bounds[True] > bounds[False] + 0.5
    loaded = run.load(tmp_path / "True")
    assert loaded.format.classes == ("$lower$", "upper half")
    model = loaded.model()
    samples = model.sample(200, generator(0), loaded.in_turn(model, 200)).reshape(200, 4, 4)
    upper = samples[:, :2].sum((1, 2)) > samples[:, 2:].sum((1, 2))
    assert (upper == torch.arange(200) % 2).sum() > 190
    assert loaded.images.labels_digest == loaded.format.labels
    assert loaded.images is loaded.images  # a report asks for them often
    x = model.observe(loaded.images.test)
    given = loaded.given(model)
    assert given is not None
    right = model.log_likelihood(x, 50, generator(1), given=given)
    wrong = model.log_likelihood(x, 50, generator(1), given=1 - given)
    assert (right > wrong + 5).all()
    # Another labelling is another run, and the labels may not change.
    np.savez(path, images=white, labels=1 - labels)
    with pytest.raises(ValueError, match="have changed since it was trained"):
        run.load(tmp_path / "True").images  # noqa: B018
    with pytest.raises(FileExistsError, match="a run with different data"):
        experiment.train(Config(data=str(path), conditional=True, **settings), tmp_path / "True")
    assert len(run.load(tmp_path / "False").images.train) == 240


def test_runs_from_before_there_were_classes(images: str, tmp_path: Path) -> None:
    experiment.train(Config(data=images, **SIZES["mlp"]), tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    facts = content["config"]["facts"]["images"]
    assert facts.pop("classes") == []
    assert facts.pop("labels") == ""
    assert content["config"]["settings"].pop("conditional") is False
    path.write_text(json.dumps(content))
    loaded = run.load(tmp_path / "run")
    assert loaded.format.classes == ()
    assert loaded.given(loaded.model()) is None
    assert loaded.in_turn(loaded.model(), 3) is None


def test_runs_whose_classes_are_missing(images: str, tmp_path: Path) -> None:
    experiment.train(Config(data=images, conditional=True, **SIZES["mlp"]), tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    whole = path.read_text()
    for key, value in (("classes", []), ("labels", "")):
        content = json.loads(whole)
        content["config"]["facts"]["images"][key] = value
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="conditional runs alone have classes and labels"):
            run.load(tmp_path / "run")
