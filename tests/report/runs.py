"""Runs that were never trained, for reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from invflow._tensors import fingerprint
from invflow.images.data import Images
from invflow.runs.directory import Input
from invflow.training.metrics import FILE
from invflow.vae import run as saved
from invflow.vae.build import build
from invflow.vae.config import Config, Format
from invflow.vae.run import Result, Run
from invflow.vae.scores import ImageScores, Scores
from invflow.vae.shortfall import rows

RESULT = Result(-90.0, 1.0, -88.0, 0.9, 0.5, 0.1, 20.0, 15, [20.0], 65.4)
GREY = torch.randint(
    17, (6, 1, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)
COLOUR = (
    GREY.expand(-1, 3, -1, -1) + torch.tensor([0, 5, 9], dtype=torch.uint8)[:, None, None]
) % 17
SMALL = {
    "mlp": {
        "posteriors": ("diagonal", "iaf"),
        "latents": 3,
        "hidden_features": (8,),
        "context": 4,
        "flow_transforms": 1,
        "flow_hidden_features": (8,),
    },
    "resnet-vae": {
        "depths": (1, 1),
        "feature_maps": 4,
        "latent_maps": 2,
        "flow_hidden_features": (4,),
    },
}
METRICS = """step,model,split,loss,seconds,rate,skipped,bound,kl
10,diagonal,train,101.0,1.5,800.0,0,,
10,diagonal,validation,100.0,,,,-100.0,3.0
10,iaf,train,99.0,2.5,400.0,1,,
10,iaf,validation,98.0,,,,-98.0,4.0
20,diagonal,train,97.0,3.0,900.0,0,,
20,diagonal,validation,96.0,,,,-96.0,3.5
20,iaf,train,nan,5.0,500.0,3,,
20,iaf,validation,94.0,,,,-94.0,4.5
"""


def run(
    directory: Path,
    *,
    channels: int = 1,
    levels: int = 17,
    likelihood: str = "logistic",
    digest: str = "",
    result: Result = RESULT,
    test: Tensor | None = None,
    classes: tuple[str, ...] = (),
    scores: Scores | None = None,
    **settings: object,
) -> Run:
    """Return a run of untrained models whose weights are all but the initial ones.

    With classes, it is conditional, and the test images are of them in turn.
    """
    network = str(settings.get("network", "mlp"))
    config = Config.model_validate(SMALL[network] | {"conditional": bool(classes)} | settings)
    format = Format(
        shape=(channels, 4, 5),
        levels=levels,
        likelihood=likelihood,
        digest=digest or "a",
        classes=classes,
        labels="b" if classes else "",
    )
    models = build(config, format)
    for model in models.values():
        model.eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.2 * torch.randn(
                    parameter.shape, generator=torch.Generator().manual_seed(config.seed)
                )
    groups = 4 if network == "resnet-vae" else 1
    kls = [result.kl * share / 10 for share in (1, 2, 3, 4)] if groups == 4 else [result.kl]
    result = Result(**(asdict(result) | {"kls": kls}))
    test = (GREY if channels == 1 else COLOUR) if test is None else test
    labels = {"test": torch.arange(len(test)) % len(classes)} if classes else {}
    images = Images("images", test, test, test, levels, likelihood == "bernoulli", classes, labels)
    data = Input(None, format.digest)
    results = dict.fromkeys(models, result)
    scores = _scores(config, results, len(test)) if scores is None else scores
    return Run(directory, config, data, format, models, results, scores, images)


def _scores(config: Config, results: Mapping[str, Result], images: int) -> Scores:
    """Return scores with the means of results, further apart from image to image."""
    around = torch.linspace(-1, 1, images, dtype=torch.float64)
    found = {
        name: ImageScores(
            result.bound + (1 + i / 8) * around,
            result.log_likelihood + around,
            (result.log_likelihood + around).expand(rows(config.importance_samples) - 1, -1),
            result.bound + 0.5 * around,
        )
        for i, (name, result) in enumerate(results.items())
    }
    return Scores(found, torch.arange(images))


def write(made: Run) -> Path:
    """Put a run on disk, as if it had been trained."""
    begun = saved.begun(made.config, made.format)
    saved.KIND.prepare(made.directory, begun, overwrite=False)
    (made.directory / FILE).write_text(METRICS)
    saved.finish(made.directory, made.models, made.results, made.scores)
    return made.directory


def sealed(directory: Path) -> None:
    """Record a run's files again, as if it had finished with them."""
    path = directory / "results.json"
    content = json.loads(path.read_text())
    content["files"] = {name: fingerprint(directory / name) for name in content["files"]}
    path.write_text(json.dumps(content))
