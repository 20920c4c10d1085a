"""Bases against torch's own distributions, and mixtures against sums written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import f as f_distribution
from scipy.stats import kstest, multivariate_t
from scipy.stats import t as student
from torch import Tensor, distributions

from invflow import IAF, Flow
from invflow.flows import (
    BASES,
    Base,
    FlowBase,
    FlowMixture,
    Gaussian,
    Mixture,
    MultivariateStudentT,
    Product,
    StandardNormal,
    as_base,
    build,
)
from invflow.transforms import Compose, Elementwise, Sigmoid
from tests.helpers import assert_close, generator, perturbed, randn

COMPONENTS = ["diagonal", {"name": "student-t", "df": 3.0}]
DESCRIBED: dict[str, Any] = {
    "normal": "normal",
    "diagonal": "diagonal",
    "full": "full",
    "student-t": {"name": "student-t", "df": 3.0},
    "heavy": {"name": "student-t", "df": 0.7},
    "together": {"name": "multivariate-student-t", "df": 3.0},
    "product": {
        "name": "product",
        "groups": [[1], [0]],
        "bases": [{"name": "student-t", "df": 3.0}, "diagonal"],
    },
    "logistic": "logistic",
    "uniform": {"name": "uniform", "low": -2.0, "high": 0.5},
    "mixture": {"name": "mixture", "components": COMPONENTS},
    "flow": {"name": "flow", "flow": {"name": "iaf", "features": 2, "transforms": 1}},
    "flows": {
        "name": "flow",
        "flow": {
            "name": "mixture",
            "flows": [
                {"name": "gaussian", "features": 2},
                {"name": "gaussian", "features": 2, "kind": "diagonal"},
            ],
        },
    },
}
bases = pytest.mark.parametrize("name", DESCRIBED)


def _base(name: str, features: int = 2) -> Base:
    torch.manual_seed(0)
    return perturbed(as_base(DESCRIBED[name], features))


def _draw(base: Base, *shape: int, seed: int = 1) -> Tensor:
    options = {"dtype": torch.float64, "device": torch.device("cpu")}
    return base.sample(shape, generator=generator(seed), **options)


def _independent(base: distributions.Distribution) -> distributions.Distribution:
    return distributions.Independent(base, 1)


def _logistic(zero: Tensor) -> distributions.Distribution:
    inverse = distributions.SigmoidTransform().inv
    return distributions.TransformedDistribution(distributions.Uniform(zero, zero + 1), [inverse])


ZERO = torch.zeros(2, dtype=torch.float64)


class _MultivariateT(distributions.Distribution):
    """Normal draws over the root of a chi-squared one; the density is SciPy's."""

    def __init__(self, df: float, features: int) -> None:
        self.df = df
        super().__init__(event_shape=torch.Size([features]), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        normal = torch.randn(*shape, *self.event_shape, dtype=torch.float64)
        chi = distributions.Chi2(torch.tensor(self.df).double()).sample((*shape, 1))
        return normal * (self.df / chi).sqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.as_tensor(multivariate_t.logpdf(value, df=self.df, shape=torch.eye(2)))


class _Columns(distributions.Distribution):
    """Independent features with a distribution each."""

    def __init__(self, parts: list[distributions.Distribution]) -> None:
        self.parts = parts
        super().__init__(event_shape=torch.Size([len(parts)]), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return torch.stack([part.sample(torch.Size(sample_shape)) for part in self.parts], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        columns = zip(self.parts, value.unbind(-1), strict=True)
        return torch.stack([part.log_prob(column) for part, column in columns]).sum(0)


REFERENCES: dict[str, Callable[[Any], distributions.Distribution]] = {
    "normal": lambda base: _independent(distributions.Normal(ZERO, ZERO + 1)),
    "diagonal": lambda base: _independent(distributions.Normal(base.mean, base.log_scale.exp())),
    "full": lambda base: distributions.MultivariateNormal(
        base.mean, scale_tril=base.lower.tril(-1) + torch.diag(base.log_scale.exp())
    ),
    "student-t": lambda base: _independent(distributions.StudentT(ZERO + 3.0)),
    "heavy": lambda base: _independent(distributions.StudentT(ZERO + 0.7)),
    "together": lambda base: _MultivariateT(3.0, 2),
    "product": lambda base: _Columns(
        [
            distributions.Normal(base.bases[1].mean[0], base.bases[1].log_scale[0].exp()),
            distributions.StudentT(torch.tensor(3.0).double()),
        ]
    ),
    "logistic": lambda base: _independent(_logistic(ZERO)),
    "uniform": lambda base: _independent(distributions.Uniform(ZERO - 2, ZERO + 0.5)),
}


def test_every_base_is_tested() -> None:
    names = {what if isinstance(what, str) else what["name"] for what in DESCRIBED.values()}
    assert names == set(BASES)


@pytest.mark.parametrize("name", REFERENCES)
def test_log_prob_is_torchs(name: str) -> None:
    base = _base(name)
    reference = REFERENCES[name](base)
    z = reference.sample((3, 4))
    assert_close(base.log_prob(z), reference.log_prob(z), 1e-12)


@pytest.mark.parametrize("name", REFERENCES)
def test_samples_are_torchs(name: str) -> None:
    """Two-sample Kolmogorov-Smirnov distances of both features and of their sum."""
    base, count = _base(name), 20_000
    torch.manual_seed(3)
    ours, theirs = _draw(base, count), REFERENCES[name](base).sample((count,))
    for project in ([1.0, 0.0], [0.0, 1.0], [0.7, 0.7]):
        a, b = (draws @ torch.tensor(project, dtype=torch.float64) for draws in (ours, theirs))
        grid = torch.cat([a, b]).sort().values
        distance = [torch.searchsorted(s.sort().values, grid, side="right") for s in (a, b)]
        largest = (distance[0] - distance[1]).abs().max() / count
        assert largest < 1.95 * math.sqrt(2 / count)  # one in a thousand


@bases
def test_densities_integrate_to_one(name: str) -> None:
    if name in ("student-t", "heavy", "together", "product", "mixture"):
        pytest.skip("the tails reach far beyond any grid; compared with torch's instead")
    base = _base(name)
    axis = torch.linspace(-25, 25, 1201, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        total = base.log_prob(points).exp().sum() * float(axis[1] - axis[0]) ** 2
    assert abs(float(total) - 1) < (0.05 if name == "uniform" else 1e-5)


@bases
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_shapes_and_generators(name: str, shape: tuple[int, ...]) -> None:
    base = _base(name)
    z = _draw(base, *shape)
    assert z.shape == (*shape, 2)
    assert not z.requires_grad
    assert base.log_prob(z).shape == shape
    assert torch.equal(z, _draw(base, *shape))
    assert not torch.equal(z, _draw(base, *shape, seed=2))


@bases
def test_a_flow_over_it_is_saved_with_it(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    flow = perturbed(IAF(2, transforms=1, base=DESCRIBED[name]), scale=0.3)
    flow.save_pretrained(tmp_path)
    twin = IAF.from_pretrained(tmp_path)
    x = flow().sample((5,))
    assert torch.equal(twin().log_prob(x), flow().log_prob(x))
    assert twin.config == flow.config


@pytest.mark.parametrize("features", [1, 3, 8])
def test_a_multivariate_t_is_spherical_with_an_f_distributed_square(features: int) -> None:
    df, count = 2.5, 20_000
    z = _draw(MultivariateStudentT(features, df), count)
    square = z.square().sum(-1)
    assert kstest(square / features, f_distribution(features, df).cdf).pvalue > 1e-3
    for feature in z.unbind(-1):  # the marginals are univariate with the same nu
        assert kstest(feature, student(df).cdf).pvalue > 1e-3
    assert torch.equal(torch.isfinite(z), torch.ones_like(z, dtype=torch.bool))


def test_a_product_draws_its_groups_alike_with_and_without_gradients() -> None:
    base = _base("product", 2)
    options = {"dtype": torch.float64, "device": torch.device("cpu")}
    draws = [draw((4,), generator=generator(1), **options) for draw in (base.sample, base.rsample)]
    assert torch.equal(draws[0], draws[1].detach())
    assert draws[1].requires_grad  # of the diagonal normal
    mixed = Product(2, [[0], [1]], ["normal", {"name": "mixture", "components": ["normal"] * 2}])
    assert base.has_rsample
    assert not mixed.has_rsample
    assert _draw(mixed, 5).shape == (5, 2)


def _mixture_base() -> Mixture:
    mixture = _base("mixture")
    assert isinstance(mixture, Mixture)
    return mixture


def test_mixture_is_the_weighted_sum() -> None:
    mixture, z = _mixture_base(), randn(7, 2)
    first, second = mixture.components
    w = torch.softmax(mixture.logits, 0)
    expected = w[0] * first.log_prob(z).exp() + w[1] * second.log_prob(z).exp()
    assert_close(mixture.log_prob(z).exp(), expected, 1e-12)


def test_mixture_has_no_reparameterised_samples() -> None:
    flow = Flow(Elementwise(2).double(), _mixture_base())
    assert not flow().has_rsample
    assert flow().sample((3,)).shape == (3, 2)
    for draw in (flow().rsample, flow().rsample_and_log_prob):
        with pytest.raises(NotImplementedError, match="no reparameterised samples"):
            draw((3,))


def _flow_mixture(context: int = 0) -> FlowMixture:
    mixture = FlowMixture(
        [
            IAF(2, context, 2, (8,), generator=generator(1)),
            {"name": "gaussian", "features": 2, "context": context},
        ],
        generator=generator(2),
    )
    return perturbed(mixture, scale=0.3)


@pytest.mark.parametrize("context", [0, 3])
def test_mixture_of_flows_is_the_weighted_sum(context: int) -> None:
    mixture, x = _flow_mixture(context), randn(5, 2)
    c = randn(5, context, seed=2) if context else None
    w = torch.softmax(mixture.logits, 0)
    parts = [flow(c).log_prob(x).exp() for flow in mixture.flows]
    assert_close(mixture(c).log_prob(x).exp(), w[0] * parts[0] + w[1] * parts[1], 1e-12)
    assert mixture(c).sample((4,)).shape == ((4, 5, 2) if context else (4, 2))
    assert mixture(c).expand((6, 5)).sample((4,)).shape == (4, 6, 5, 2)


def test_mixture_of_flows_samples_each_as_often_as_it_weighs() -> None:
    parts = [Flow(Elementwise(1)), Flow(Elementwise(1))]
    mixture = FlowMixture(parts)
    with torch.no_grad():
        for part, shift in zip(parts, (-50.0, 50.0), strict=True):
            part.transform.given.bias[0] = shift
        mixture.logits.copy_(torch.tensor([0.2, 0.8]).log())
    x = mixture().sample((20_000,), generator=generator(1))
    assert abs(float((x > 0).double().mean()) - 0.8) < 0.012
    assert not mixture().has_rsample


def test_mixture_of_flows_is_saved(tmp_path: Path) -> None:
    mixture = _flow_mixture(3)
    mixture.save_pretrained(tmp_path)
    twin = FlowMixture.from_pretrained(tmp_path)
    x, c = randn(5, 2), randn(5, 3, seed=2)
    assert torch.equal(twin(c).log_prob(x), mixture(c).log_prob(x))
    assert twin.config == mixture.config


def test_build_by_name() -> None:
    flow = build("gaussian", features=3, kind="diagonal")
    assert isinstance(flow, Gaussian)
    assert flow.config == build(**flow.described()).config


def test_gaussian_is_torchs() -> None:
    """A full Gaussian against MultivariateNormal with the covariance of its own linear map."""
    flow = perturbed(Gaussian(3, 2))
    c, x = randn(5, 2), randn(5, 3, seed=1)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda z, c: flow.transform(z, c)[0]))
    zero = torch.zeros(5, 3, dtype=torch.float64)
    mean, linear = flow.transform(zero, c)[0], jacobian(zero, c)
    reference = distributions.MultivariateNormal(mean, scale_tril=linear)
    assert_close(flow(c).log_prob(x), reference.log_prob(x), 1e-10)
    assert linear[0].tril(-1).abs().sum() > 0.1
    assert (linear.triu(1) == 0).all()


def test_a_base_object_without_a_name_can_be_used_but_not_saved(tmp_path: Path) -> None:
    class Own(StandardNormal):
        pass

    flow = IAF(2, base=Own(2))
    flow().sample()
    with pytest.raises(ValueError, match="base: only a flow whose base was given by name"):
        flow.save_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: as_base("cauchy", 2), ValueError, "base must be one of .*got 'cauchy'"),
        (lambda: as_base({"df": 2.0}, 2), ValueError, "base must be one of .*got None"),
        (lambda: as_base(3, 2), TypeError, "base must be a name, a mapping or a Base, got int"),
        (lambda: as_base(StandardNormal(3), 2), ValueError, "base must have 2 features, got 3"),
        (lambda: as_base({"name": "student-t", "df": 0}, 2), ValueError, "df must be positive"),
        (lambda: as_base({"name": "student-t", "df": "x"}, 2), TypeError, "df must be a number"),
        (lambda: MultivariateStudentT(2, 0.0), ValueError, "df must be positive"),
        (
            lambda: Product(2, [[0], [0]], 2 * ["normal"]),
            ValueError,
            "groups must hold each feature",
        ),
        (lambda: Product(2, [[0]], ["normal"]), ValueError, "feature from 0 to 1 once, got"),
        (lambda: Product(2, [[0], [2]], 2 * ["normal"]), ValueError, r"groups\[1\] must be one or"),
        (
            lambda: Product(2, [[0, 1]], 2 * ["normal"]),
            ValueError,
            "bases must have one for each of the 1 groups, got 2",
        ),
        (
            lambda: Product(2, [[0, 1]], "normal"),
            TypeError,
            "bases must be a sequence, got 'normal'",
        ),
        (lambda: as_base({"name": "uniform", "low": 1.0}, 2), ValueError, "low must be below"),
        (lambda: Mixture(2, ["normal"]), ValueError, "components must be at least two, got 1"),
        (lambda: Mixture(2, 2), TypeError, "components must be a sequence of bases, .*, got int"),  # type: ignore[arg-type]
        (lambda: Mixture(2, "normal"), TypeError, "components must be a sequence of .*, got str"),
        (lambda: FlowBase(2, IAF(2, 1)), ValueError, "flow must have 2 features and no context"),
        (lambda: FlowBase(2, IAF(3)), ValueError, "2 features and no context, got 3"),
        (lambda: FlowBase(2, 5), TypeError, "flow must be a Flow or a mapping, got int"),
        (lambda: FlowMixture([IAF(2)]), ValueError, "flows must be at least two, got 1"),
        (lambda: FlowMixture([IAF(2), IAF(3)]), ValueError, r"got 3 and 0 in flows\[1\]"),
        (lambda: FlowMixture([IAF(2), 5]), TypeError, r"flows\[1\] must be a Flow, got int"),
        (lambda: build("glow"), ValueError, "name must be one of .*'iaf'.*got 'glow'"),
        (lambda: build("iaf", features=2, colour=1), TypeError, "colour"),
        (lambda: Gaussian(2, kind="round"), ValueError, "kind must be one of 'diagonal', 'full'"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_mixture_of_flows_on_different_supports() -> None:
    inside = Flow(Compose([Elementwise(2), Sigmoid(2)])).double()
    everywhere = IAF(2, generator=generator(1)).double()
    mixture = FlowMixture([inside, everywhere]).double()
    x = torch.tensor([[0.3, 0.6], [3.0, 3.0]]).double().requires_grad_()
    log_prob = mixture().log_prob(x)
    alone = everywhere().log_prob(x) - math.log(2)
    both = torch.logaddexp(alone[0], inside().log_prob(x[:1])[0] - math.log(2))
    assert_close(log_prob, torch.stack([both, alone[1]]), 1e-12)
    log_prob.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    bounded = FlowMixture([inside, Flow(Compose([Elementwise(2), Sigmoid(2, 5.0, 6.0)])).double()])
    with pytest.raises(ValueError, match=r"must lie in the support, .* or .*, got 1 of"):
        bounded.double()().log_prob(x)


def test_no_reparameterised_samples_is_said() -> None:
    mixture = FlowMixture([IAF(2), IAF(2)])
    message = "a mixture has no reparameterised samples; use sample"
    with pytest.raises(NotImplementedError, match=message):
        mixture().rsample((2,))
    message = "the base, FlowBase, has no reparameterised samples; use sample"
    with pytest.raises(NotImplementedError, match=message):
        IAF(2, base={"name": "flow", "flow": mixture})().rsample((2,))


def test_a_flow_as_base_starts_from_the_generator() -> None:
    base = {"name": "flow", "flow": {"name": "maf", "features": 2}}
    mixed = {"name": "mixture", "components": ["normal", base]}
    for each in (base, mixed):
        pair = [IAF(2, base=each, generator=generator(1)) for _ in range(2)]
        states = [flow.state_dict() for flow in pair]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
