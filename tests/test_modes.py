"""Evaluation: in evaluation mode, with every module's own mode back afterwards."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from invflow._modes import evaluating
from invflow.distillation import FlowTeacher, closeness
from invflow.flows import IAF, MAF, Flow
from invflow.images import ImageDensity, Variational
from invflow.transforms import BatchNorm, Compose
from invflow.vae import VAE, evaluation
from invflow.vi import Flat, Posterior
from tests.helpers import generator, perturbed, randn

SHAPE, PIXELS, LATENTS = (1, 4, 4), 16, 3


def layers(*sizes: int) -> nn.Sequential:
    """Return a network whose values depend on its mode in both of the usual ways."""
    parts: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        parts += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.Dropout(0.3)]
    return nn.Sequential(*parts)


def vae(prior: str = "normal") -> VAE:
    encoder = layers(PIXELS, 8, 6)
    decoder = nn.Sequential(layers(LATENTS, 2 * PIXELS), nn.Unflatten(-1, (PIXELS, 2)))
    flow = IAF(LATENTS, context=6, transforms=1, hidden_features=(5,))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VAE(SHAPE, 17, posterior=flow, prior=prior, network=(encoder, decoder))
    perturbed(model)
    model.train()
    encoder[1].eval()  # as of a network that was trained before
    return model


def state(model: nn.Module) -> tuple[list[bool], dict[str, Tensor]]:
    modes = [module.training for module in model.modules()]
    return modes, {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_state(model: nn.Module, before: tuple[list[bool], dict[str, Tensor]]) -> None:
    modes, values = state(model)
    assert modes == before[0]
    assert all(torch.equal(value, before[1][name]) for name, value in values.items())


IMAGES = torch.randint(17, (5, 1, 4, 4), generator=generator(0))
#: What only looks at a model, by a seed.
LOOKS = {
    "log_likelihood": lambda model, noise: model.log_likelihood(model.observe(IMAGES), 7, noise),
    "in pieces": lambda model, noise: model.log_likelihood(
        model.observe(IMAGES), 7, noise, chunk=1
    ),
    "of one": lambda model, noise: model.log_likelihood(model.observe(IMAGES[:1]), 1, noise),
    "sample": lambda model, noise: model.sample(1, noise),
    "score": lambda model, noise: evaluation.score(model, IMAGES, samples=3).bound,
    "log-likelihood of a score": lambda model, noise: (
        evaluation.score(model, IMAGES, samples=3).log_likelihood
    ),
    "active latents": lambda model, noise: (
        evaluation.spread(model, model.observe(IMAGES), 3, noise).between
    ),
    "embed": lambda model, noise: model.embed(model.observe(IMAGES), 5, noise),
    "reconstruct": lambda model, noise: model.reconstruct(model.observe(IMAGES[:1]), noise),
    "interpolate": lambda model, noise: model.interpolate(
        model.observe(IMAGES[:2]), model.observe(IMAGES[2:4]), 3, noise
    ),
    "expected": lambda model, noise: model.expected(torch.ones(1, LATENTS).double()),
}


@pytest.mark.parametrize("prior", ["normal", "vamp", "autoregressive"])
@pytest.mark.parametrize("look", LOOKS)
def test_what_looks_at_a_vae(look: str, prior: str) -> None:
    """The numbers are those of evaluation mode, whatever torch's own random numbers are."""
    model = vae(prior)
    before = state(model)
    found = [LOOKS[look](model, generator(1)) for _ in range(2)]
    assert torch.equal(found[0], found[1])
    assert_same_state(model, before)
    assert torch.equal(found[0], LOOKS[look](model.eval(), generator(1)))


def test_the_bound_is_for_training_and_keeps_the_mode() -> None:
    model = vae()
    x = model.observe(IMAGES)
    bounds = [model.elbo(x, generator(1)).bound for _ in range(2)]
    assert not torch.equal(bounds[0], bounds[1])
    model.eval()
    bounds = [model.elbo(x, generator(1)).bound for _ in range(2)]
    assert torch.equal(bounds[0], bounds[1])


def test_modes_are_back_after_an_error() -> None:
    model = vae()
    model.decoder.append(nn.Linear(3, 3))
    modes = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError):
        model.log_likelihood(model.observe(IMAGES), 2)
    assert [module.training for module in model.modules()] == modes


def test_a_module_that_is_in_two_models() -> None:
    shared = nn.Dropout().eval()
    first, second = nn.Sequential(shared), nn.Sequential(shared, nn.Dropout())
    with evaluating(first, second):
        assert not second[1].training
    assert [first.training, shared.training, second[1].training] == [True, False, True]


def test_images() -> None:
    """The encoder of the noise is a network of the user's."""
    noise = Variational(
        IAF(PIXELS, context=6, transforms=1, hidden_features=(5,), base="logistic"),
        layers(PIXELS, 6),
    )
    model = ImageDensity(MAF(PIXELS, transforms=1, hidden_features=(5,)), 17, SHAPE, 0.05, noise)
    perturbed(model)
    model.train()
    before = state(model)
    found = [model.bits_per_dim(IMAGES[:1], 3, generator(1)) for _ in range(2)]
    assert torch.equal(found[0], found[1])
    assert_same_state(model, before)
    assert torch.equal(found[0], model.eval().bits_per_dim(IMAGES[:1], 3, generator(1)))


def normalised() -> Flow:
    """Return a flow with batch normalisation, in training."""
    inner = MAF(2, transforms=1, hidden_features=(5,)).transform
    flow = Flow(Compose([inner, BatchNorm(2)])).train()
    perturbed(flow)
    with torch.no_grad():
        flow.transform.inverse(3 + randn(50, 2))
    return flow


def test_teachers_do_not_learn() -> None:
    flow = normalised()
    before = state(flow)
    teacher = FlowTeacher(flow)
    x = randn(4, 2, seed=2)
    found = teacher.log_prob(x), teacher.scores(x)[1], teacher.draws(5, generator(1)).x
    assert_same_state(flow, before)
    other = FlowTeacher(flow.eval())
    expected = other.log_prob(x), other.scores(x)[1], other.draws(5, generator(1)).x
    assert all(torch.equal(*each) for each in zip(found, expected, strict=True))


def test_students_are_measured_as_they_are_used() -> None:
    teacher, student = MAF(2, transforms=1, hidden_features=(5,)).double(), normalised()
    before = state(student)
    found = closeness(teacher, student, count=50)
    assert_same_state(student, before)
    again = closeness(teacher, student.eval(), count=50)
    assert (found.reverse, found.forward) == (again.reverse, again.forward)


def test_posteriors_do_not_learn() -> None:
    target = Flat(lambda z: -0.5 * z.square().sum(-1), 2)
    flow = normalised()
    before = state(flow)
    posterior = Posterior(target, flow)
    z = posterior.sample(10)
    found = [z, posterior.log_prob(z), posterior.resample(10)]
    assert posterior.diagnose(200) == posterior.diagnose(200)
    assert_same_state(flow, before)
    flow.eval()
    expected = [posterior.sample(10), posterior.log_prob(z), posterior.resample(10)]
    assert all(torch.equal(*each) for each in zip(found, expected, strict=True))


def test_flows_keep_their_mode() -> None:
    """As torch's modules do: batch normalisation in training uses the batch."""
    flow = normalised()
    x = randn(4, 2, seed=2)
    in_training = flow().log_prob(x)
    assert flow.training
    assert not torch.equal(in_training, flow.eval()().log_prob(x))
