"""A user's own encoders and decoders: what they may be, and the error for what they may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from invflow import IAF
from invflow.vae import VAE, networks
from tests.helpers import generator

SHAPE, PIXELS, OUTPUTS = (1, 4, 4), 16, 2


class Calls(nn.Module):
    """A module that calls a function with its input and a layer's output."""

    def __init__(self, inputs: int, outputs: int, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.layer(x))


def encoder() -> nn.Module:
    return nn.Linear(PIXELS, 6)


def decoder() -> nn.Module:
    return nn.Sequential(nn.Linear(3, PIXELS * OUTPUTS), nn.Unflatten(-1, (PIXELS, OUTPUTS)))


def build(first: Any = None, second: Any = None, **options: Any) -> VAE:
    torch.manual_seed(0)
    pair = (encoder() if first is None else first, decoder() if second is None else second)
    return VAE(SHAPE, 17, **{"network": pair, "latents": 3, "context": 6, **options})


def double(likelihood: str = "logistic", **options: Any) -> VAE:
    """A model whose parts from elsewhere alone are in double precision."""
    outputs = 1 if likelihood == "shared-logistic" else OUTPUTS
    second = nn.Sequential(nn.Linear(3, PIXELS * outputs), nn.Unflatten(-1, (PIXELS, outputs)))
    flow = IAF(3, context=6).double()
    pair = encoder().double(), second.double()
    return build(*pair, posterior=flow, likelihood=likelihood, **options)


class Maps(nn.Module):
    """A decoder of maps, (n, 2, 4, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 8), nn.Unflatten(-1, (8, 1, 1)), nn.ConvTranspose2d(8, 2, 4)
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


IMAGES = nn.Sequential(nn.Conv2d(1, 6, 4), nn.Flatten())
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "encoder-tuple": (
        lambda: build(Calls(PIXELS, 6, lambda h: (h, h))),
        TypeError,
        r"the encoder must return one tensor, \(n, context\), got a tuple; return that tensor",
    ),
    "encoder-images": (
        lambda: build(IMAGES),
        ValueError,
        r"the encoder fails on an input of shape \(2, 16\): .*; it must take \(n, 16\) and return "
        r"\(n, 6\); to read images, let it begin with nn\.Unflatten\(-1, \(1, 4, 4\)\)",
    ),
    "encoder-inputs": (
        lambda: build(nn.Linear(15, 6)),
        ValueError,
        r"the encoder fails on an input of shape \(2, 16\): .*must take \(n, 16\)",
    ),
    "encoder-outputs": (
        lambda: build(nn.Linear(PIXELS, 7)),
        ValueError,
        r"the encoder must return shape \(2, 6\), \(n, context\), for 2 rows, got \(2, 7\); build "
        "the posterior with the encoder's context, or let the last layer have 6 outputs",
    ),
    "encoder-default-context": (
        lambda: VAE(SHAPE, 17, network=(encoder(), decoder()), latents=3),
        ValueError,
        r"the encoder must return shape \(2, 64\), .*got \(2, 6\)",
    ),
    "encoder-sums-the-batch": (
        lambda: build(Calls(PIXELS, 6, lambda h: h.sum(0))),
        ValueError,
        r"the encoder must return shape \(2, 6\), .*got \(6,\)",
    ),
    "encoder-integers": (
        lambda: build(Calls(PIXELS, 6, lambda h: h.long())),
        TypeError,
        r"the encoder must return floating-point numbers, \(n, context\), got torch\.int64; "
        "do not round or index them",
    ),
    "encoder-double": (
        lambda: build(encoder().double()).elbo(torch.zeros(1, PIXELS).double()),
        ValueError,
        "network, posterior, prior and likelihood must have one dtype and device, got "
        r"torch\.float64 on cpu in the encoder, torch\.float32 on cpu in the posterior, .*; "
        r"convert the model with \.to\(dtype\) and \.to\(device\)",
    ),
    "all-double-but-the-prior": (
        lambda: double(prior="vamp").elbo(torch.zeros(1, PIXELS).double()),
        ValueError,
        r"torch\.float64 on cpu in the posterior, torch\.float32 on cpu in the prior",
    ),
    "all-double-but-the-likelihood": (
        lambda: double(likelihood="shared-logistic").encode(torch.zeros(1, PIXELS)),
        ValueError,
        r"got torch\.float32 on cpu in the likelihood, torch\.float64 on cpu in the encoder",
    ),
    "encoder-none": (
        lambda: build(Calls(PIXELS, 6, lambda h: None)),
        TypeError,
        "the encoder must return one tensor, .*got a NoneType",
    ),
    "encoder-raises": (
        lambda: build(Calls(PIXELS, 6, lambda h: {}["h"])),
        ValueError,
        "the encoder fails on an input of shape .*: 'h'; it must take",
    ),
    "lambda": (
        lambda: build(lambda x: x),
        TypeError,
        r"an encoder and a decoder \(two modules\), got \(function, Sequential\); call functions "
        r"from the forward method of an nn\.Module",
    ),
    "class": (
        lambda: VAE(SHAPE, 17, network=(nn.Linear, nn.Linear)),
        TypeError,
        "network must be a name, or an encoder and a decoder",
    ),
    "encoder-only": (
        lambda: VAE(SHAPE, 17, network=encoder()),
        TypeError,
        r"network must be a name, or an encoder and a decoder \(two modules\), got Linear",
    ),
    "three": (
        lambda: VAE(SHAPE, 17, network=(encoder(), decoder(), encoder())),
        TypeError,
        "network must be a name, or an encoder and a decoder",
    ),
    "swapped": (
        lambda: build(decoder(), encoder()),
        ValueError,
        r"the encoder fails on an input of shape \(2, 16\)",
    ),
    "decoder-latents": (
        lambda: build(None, nn.Linear(4, 32)),
        ValueError,
        r"the decoder fails on an input of shape \(2, 3\): .*; it must take \(n, 3\) and return "
        r"\(n, 16, 2\): the parameters of the likelihood of each pixel",
    ),
    "decoder-flat": (
        lambda: build(None, nn.Linear(3, 32)),
        ValueError,
        r"the decoder must return shape \(2, 16, 2\), \(n, pixels, outputs\), for 2 rows, "
        r"got \(2, 32\); let it end with nn\.Unflatten\(-1, \(16, 2\)\)",
    ),
    "decoder-no-outputs": (
        lambda: build(None, nn.Linear(3, PIXELS), likelihood="bernoulli"),
        ValueError,
        r"\(2, 16, 1\), .*got \(2, 16\); let it end with nn\.Unflatten\(-1, \(16, 1\)\)",
    ),
    "decoder-maps": (
        lambda: build(None, Maps()),
        ValueError,
        r"got \(2, 2, 4, 4\); .* or for maps ordered by channel, then output, with "
        r"networks\.ToPixels\(1\)",
    ),
    "decoder-transposed": (
        lambda: build(
            None, nn.Sequential(nn.Linear(3, PIXELS * OUTPUTS), nn.Unflatten(-1, (2, PIXELS)))
        ),
        ValueError,
        r"the decoder must return shape \(2, 16, 2\), .*got \(2, 2, 16\)",
    ),
    "decoder-list": (
        lambda: build(None, Calls(3, 32, lambda h: [h])),
        TypeError,
        r"the decoder must return one tensor, \(n, pixels, outputs\), got a list",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_each_mistake_has_one_clear_error(mistake: str) -> None:
    call, error, message = WRONG[mistake]
    with pytest.raises(error, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_a_network_that_changes_its_mind() -> None:
    """The output is checked in every call, not only when the model is built."""
    first = Calls(PIXELS, 6, lambda h: h)
    vae = build(first)
    first.function = lambda h: h[:, :5]
    x = vae.observe(torch.zeros(4, PIXELS, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"must return shape \(4, 6\), .*for 4 rows, got \(4, 5\)"):
        vae.elbo(x)


RIGHT: dict[str, Callable[[], VAE]] = {
    "linear": build,
    "images": lambda: build(nn.Sequential(nn.Unflatten(-1, SHAPE), IMAGES)),
    "maps": lambda: build(None, nn.Sequential(Maps(), networks.ToPixels(1))),
    "flow": lambda: build(posterior=IAF(3, context=6)),
    "lazy": lambda: build(nn.LazyLinear(6)),
    "sequential": lambda: build(network=nn.Sequential(encoder(), decoder())),
    "double": lambda: build(encoder().double(), decoder().double()).double(),
    "normalised": lambda: build(nn.Sequential(encoder(), nn.BatchNorm1d(6), nn.Dropout())),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_networks_that_fit(kind: str) -> None:
    vae = RIGHT[kind]()
    x = vae.observe(torch.randint(17, (5, PIXELS), generator=generator(0)))
    assert vae.elbo(x).bound.shape == (5,)
    assert vae.elbo(x.reshape(5, 1, PIXELS)).bound.shape == (5, 1)
    assert vae.sample(2).shape == (2, PIXELS)
    assert vae.elbo(x[:0]).bound.shape == (0,)


def test_a_trial_leaves_no_trace() -> None:
    network = nn.Sequential(encoder(), nn.BatchNorm1d(6), nn.Dropout())
    second = decoder()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(1)
    VAE(SHAPE, 17, posterior=IAF(3, context=6), network=(network, second))
    after = torch.get_rng_state()
    torch.manual_seed(1)
    IAF(3, context=6)
    assert torch.equal(torch.get_rng_state(), after)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
