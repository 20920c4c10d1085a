"""What every model of images with latents can do, and what it makes of bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from invflow.vae import VAE, ResNetVAE
from invflow.vae.evaluation import score, spread
from invflow.vae.models.base import LatentModel
from tests.helpers import generator


def _vae(shape: tuple[int, int, int] = (1, 2, 3), likelihood: str = "logistic", **o: Any) -> VAE:
    torch.manual_seed(0)
    options = {
        "latents": 2,
        "hidden_features": (4,),
        "context": 3,
        "flow_hidden_features": (3,),
        **o,
    }
    return VAE(shape, 17, likelihood, **options)


def _resnet_vae(
    shape: tuple[int, int, int] = (1, 2, 3), likelihood: str = "logistic", **o: Any
) -> ResNetVAE:
    torch.manual_seed(0)
    options = {
        "depths": (1,),
        "feature_maps": 3,
        "latent_maps": 1,
        "flow_hidden_features": (3,),
        **o,
    }
    return ResNetVAE(shape, 17, likelihood, **options)


MODELS: dict[str, Callable[..., LatentModel]] = {"vae": _vae, "resnet-vae": _resnet_vae}
X = torch.zeros(2, 6)
WIDE, SINGLE, INTEGERS = torch.zeros(2, 7), torch.zeros(6), torch.zeros(2, 6, dtype=torch.int64)
PIXELS = r"x must have shape \(\*batch, 6\)"
ROWS = r"x must have shape \(batch, 6\)"
LATENTS = r"z must have shape \(\*batch, 2\)"
FLOATS = (
    r"x must hold observations, which are real numbers, got torch\.int64; "
    "observe turns grey levels into them"
)
Call = Callable[[Any], Any]

BAD: dict[str, tuple[Call, type[Exception], str]] = {
    "elbo-pixels": (lambda m: m.elbo(WIDE), ValueError, PIXELS),
    "elbo-integers": (lambda m: m.elbo(INTEGERS), TypeError, FLOATS),
    "elbo-double": (lambda m: m.elbo(X.double()), TypeError, "x must have the module's dtype"),
    "decode-latents": (lambda m: m.decode(torch.zeros(2, 3)), ValueError, LATENTS),
    "decode-double": (lambda m: m.decode(X[:, :2].double()), TypeError, "z must have the module's"),
    "decode-list": (lambda m: m.decode([0.0, 0.0]), TypeError, r"z must be a torch\.Tensor"),
    "draw-pixels": (lambda m: m.draw(WIDE, 2), ValueError, PIXELS),
    "draw-single": (lambda m: m.draw(SINGLE, 2), ValueError, ROWS),
    "draw-batches": (lambda m: m.draw(X[None], 2), ValueError, ROWS),
    "draw-none": (lambda m: m.draw(X, 0), ValueError, "samples must be at least 1"),
    "draw-float": (lambda m: m.draw(X, 2.0), TypeError, "samples must be an integer"),
    "likelihood-pixels": (lambda m: m.log_likelihood(WIDE, 2), ValueError, PIXELS),
    "likelihood-single": (lambda m: m.log_likelihood(SINGLE, 2), ValueError, ROWS),
    "likelihood-none": (lambda m: m.log_likelihood(X, 0), ValueError, "samples must be at least 1"),
    "likelihood-chunk": (lambda m: m.log_likelihood(X, chunk=0), ValueError, "chunk must be at"),
    "importance-pixels": (lambda m: m.importance_bound(WIDE), ValueError, PIXELS),
    "importance-single": (lambda m: m.importance_bound(SINGLE), ValueError, ROWS),
    "importance-none": (lambda m: m.importance_bound(X, 0), ValueError, "samples must be at least"),
    "importance-float": (lambda m: m.importance_bound(X, 2.0), TypeError, "samples must be an int"),
    "embed-pixels": (lambda m: m.embed(WIDE), ValueError, PIXELS),
    "embed-single": (lambda m: m.embed(SINGLE), ValueError, ROWS),
    "embed-none": (lambda m: m.embed(X, 0), ValueError, "samples must be at least 1"),
    "embed-chunk": (lambda m: m.embed(X, chunk=0), ValueError, "chunk must be at least 1"),
    "expected-latents": (lambda m: m.expected(torch.zeros(2, 3)), ValueError, LATENTS),
    "expected-double": (lambda m: m.expected(X[:, :2].double()), TypeError, "z must have the mod"),
    "reconstruct-pixels": (lambda m: m.reconstruct(WIDE), ValueError, PIXELS),
    "reconstruct-levels": (lambda m: m.reconstruct(INTEGERS), TypeError, FLOATS),
    "interpolate-first": (
        lambda m: m.interpolate(WIDE, X),
        ValueError,
        r"first must have shape \(\*batch, 6\)",
    ),
    "interpolate-second": (
        lambda m: m.interpolate(X, SINGLE),
        ValueError,
        r"second must have shape \(batch, 6\)",
    ),
    "interpolate-counts": (
        lambda m: m.interpolate(X, X[:1]),
        ValueError,
        "first and second must hold the same number of observations, got 2 and 1",
    ),
    "interpolate-steps": (lambda m: m.interpolate(X, X, 1), ValueError, "steps must be at least 2"),
    "sample-none": (lambda m: m.sample(0), ValueError, "count must be at least 1"),
    "observe-high": (
        lambda m: m.observe(INTEGERS + 17),
        ValueError,
        r"levels must lie in 0 \.\. 16",
    ),
    "observe-low": (lambda m: m.observe(INTEGERS - 1), ValueError, r"levels must lie in 0 \.\. 16"),
    "observe-pixels": (lambda m: m.observe(INTEGERS[:, :5]), ValueError, "levels must have shape"),
    "observe-sides": (
        lambda m: m.observe(INTEGERS.reshape(2, 1, 3, 2)),
        ValueError,
        "levels must have shape",
    ),
    "score-pixels": (
        lambda m: score(m, INTEGERS[:, :5], samples=2),
        ValueError,
        "levels must have shape",
    ),
    "score-single": (
        lambda m: score(m, INTEGERS[0], samples=2),
        ValueError,
        r"levels must hold images, \(images, pixels\) or \(images, channels, height, width\), got",
    ),
    "score-array": (
        lambda m: score(m, INTEGERS.numpy(), samples=2),
        TypeError,
        "levels must be a tensor, got ndarray; torch.as_tensor turns arrays and lists into tensors",
    ),
    "score-none": (
        lambda m: score(m, INTEGERS[:0], samples=2),
        ValueError,
        "levels must hold at least one image, got shape",
    ),
    "score-levels": (lambda m: score(m, INTEGERS + 17, samples=2), ValueError, "levels must lie"),
    "score-samples": (lambda m: score(m, INTEGERS, samples=0), ValueError, "samples must be at"),
    "score-bound": (
        lambda m: score(m, INTEGERS, samples=2, bound_samples=0),
        ValueError,
        "bound_samples must be at least 1",
    ),
    "score-chunk": (
        lambda m: score(m, INTEGERS, samples=2, chunk=0),
        ValueError,
        "chunk must be at least 1",
    ),
    "spread-pixels": (lambda m: spread(m, WIDE, 2), ValueError, PIXELS),
    "spread-single": (lambda m: spread(m, SINGLE, 2), ValueError, ROWS),
    "spread-none": (lambda m: spread(m, X[:0], 2), ValueError, "x must hold at least one"),
    "spread-samples": (lambda m: spread(m, X, 1), ValueError, "samples must be at least 2"),
    "spread-chunk": (lambda m: spread(m, X, 2, chunk=0), ValueError, "chunk must be at least 1"),
}
BAD_VAE: dict[str, tuple[Call, type[Exception], str]] = {
    "encode-pixels": (lambda m: m.encode(WIDE), ValueError, PIXELS),
    "encode-integers": (lambda m: m.encode(INTEGERS), TypeError, FLOATS),
    "prior-latents": (lambda m: m.log_prior(torch.zeros(2, 3)), ValueError, LATENTS),
    "prior-integers": (lambda m: m.log_prior(INTEGERS[:, :2]), TypeError, "z must have a floating"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("kind", MODELS)
def test_bad_input(kind: str, case: str) -> None:
    model = MODELS[kind]()
    assert model.latents == 2
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call(model)


@pytest.mark.parametrize("case", BAD_VAE)
def test_bad_input_of_a_vae(case: str) -> None:
    call, error, message = BAD_VAE[case]
    with pytest.raises(error, match=message):
        call(_vae())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("vae", {}),
        ("vae", {"posterior": "diagonal"}),
        ("resnet-vae", {}),
        ("resnet-vae", {"flow_transforms": 0}),  # whose divergence is in closed form
    ],
)
def test_bounds_are_in_single_precision_under_autocast(kind: str, options: dict[str, Any]) -> None:
    model = MODELS[kind](**options)
    computed: set[torch.dtype] = set()
    layer = model.encoder[0] if isinstance(model, VAE) else model.stem
    layer.register_forward_hook(lambda layer, inputs, output: computed.add(output.dtype))
    x = model.observe(torch.randint(17, (4, 6), generator=generator(0)), generator(1))
    with torch.autocast("cpu", torch.bfloat16):
        elbo = model.elbo(x, generator(2))
        z, log_w = model.draw(x, 3, generator(2))
        bound = model.importance_bound(x, 3, generator(2))
        values: list[Tensor] = [elbo.fit, elbo.kls, elbo.bound, z, log_w, bound, model.decode(z)]
        values.append(model.log_likelihood(x, 3, generator(2)))
    assert computed == {torch.bfloat16}
    assert {value.dtype for value in values} == {torch.float32}
    assert all(bool(value.isfinite().all()) for value in values)


@pytest.mark.parametrize("kind", MODELS)
def test_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build = MODELS[kind]
    shapes = [(1, 64, 64), (1, 128, 128), (3, 128, 128)]
    state = torch.get_rng_state()
    sizes = []
    for shape in shapes:
        model = build(shape)
        torch.set_rng_state(state)
        sizes.append(model.at_once)
        assert torch.equal(torch.get_rng_state(), state)
    assert sizes == sorted(set(sizes), reverse=True)
    # More numbers for each pixel.
    assert build(shapes[0], "categorical").at_once < build(shapes[0], "bernoulli").at_once
    assert build().at_once == 2048
    monkeypatch.setattr("invflow.vae.models.base.MAX_NUMBERS", 10)
    assert build().at_once == 1


@pytest.mark.parametrize("kind", MODELS)
def test_no_observations(kind: str) -> None:
    """An empty batch is a batch."""
    model = MODELS[kind]()
    x = model.observe(torch.zeros(0, 6, dtype=torch.uint8))
    assert model.elbo(x).bound.shape == (0,)
    assert model.elbo(x.reshape(0, 3, 6)).bound.shape == (0, 3)
    z, log_w = model.draw(x, 3)
    assert z.shape == (3, 0, 2)
    assert log_w.shape == (3, 0)
    assert model.importance_bound(x, 3).shape == model.log_likelihood(x, 3).shape == (0,)
    assert model.embed(x).shape == (0, 2)
    assert model.decode(z).shape == (3, 0, 6, 2)
    assert model.expected(z).shape == (3, 0, 6)
    assert model.reconstruct(x).shape == (0, 6)
    assert model.interpolate(x, x, 4).shape == (0, 4, 6)
