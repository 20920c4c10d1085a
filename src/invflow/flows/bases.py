"""Bases with a closed form, and the registry of bases."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow._registry import Registry
from invflow.flows.base import Base
from invflow.univariate import Univariate


class StandardNormal(Base):
    r"""Independent normals: $\log p(z) = -\tfrac12 \sum_i z_i^2 - \tfrac{D}{2} \log 2\pi$.

    Args:
        features: size of the vectors, D.

    Raises:
        TypeError: if `features` is not an integer.
        ValueError: if `features` is below 1.

    Example:
        >>> import torch
        >>> StandardNormal(2).log_prob(torch.zeros(2))
        tensor(-1.8379)
    """

    @property
    def centre(self) -> float:
        return 0.0

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return torch.randn(*shape, self.features, dtype=dtype, device=device, generator=generator)

    def log_prob(self, z: Tensor) -> Tensor:
        constant = 0.5 * self.features * math.log(2 * math.pi)
        return -0.5 * z.square().sum(-1) - constant

    def cdf(self, z: Tensor) -> Tensor:
        return torch.special.ndtr(z)

    def icdf(self, p: Tensor) -> Tensor:
        return torch.special.ndtri(p)


class DiagonalNormal(Base):
    r"""Independent normals with a learned mean and scale for each feature.

    $$z_i = \mu_i + e^{s_i} \epsilon_i, \qquad \epsilon \sim N(0, I)$$

    Starts as the standard normal.

    Args:
        features: size of the vectors, D.

    Raises:
        TypeError: if `features` is not an integer.
        ValueError: if `features` is below 1.

    Example:
        >>> import torch
        >>> DiagonalNormal(2).log_prob(torch.zeros(2)).item()
        -1.8378770351409912
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.noise = StandardNormal(features)

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        noise = self.noise.rsample(shape, dtype=dtype, device=device, generator=generator)
        return torch.addcmul(self.mean, self.log_scale.exp(), noise)

    def log_prob(self, z: Tensor) -> Tensor:
        noise = (z - self.mean) * torch.exp(-self.log_scale)
        return self.noise.log_prob(noise) - self.log_scale.sum()

    @property
    def centre(self) -> Tensor:
        return self.mean

    def cdf(self, z: Tensor) -> Tensor:
        return self.noise.cdf((z - self.mean) * torch.exp(-self.log_scale))

    def icdf(self, p: Tensor) -> Tensor:
        return self.mean + self.log_scale.exp() * self.noise.icdf(p)


class FullNormal(Base):
    r"""A normal with a learned mean and covariance: $z = \mu + L \epsilon$, L lower triangular.

    The diagonal of L is the exponential of a parameter. Starts as the standard normal.

    Args:
        features: size of the vectors, D.

    Raises:
        TypeError: if `features` is not an integer.
        ValueError: if `features` is below 1.

    Example:
        >>> import torch
        >>> FullNormal(2).log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.lower = nn.Parameter(torch.zeros(features, features))
        self.noise = StandardNormal(features)

    def _factor(self) -> Tensor:
        return self.lower.tril(-1) + torch.diag(self.log_scale.exp())

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        noise = self.noise.rsample(shape, dtype=dtype, device=device, generator=generator)
        return self.mean + noise @ self._factor().mT

    def log_prob(self, z: Tensor) -> Tensor:
        rows = (z - self.mean).reshape(-1, self.features)
        noise = torch.linalg.solve_triangular(self._factor(), rows.mT, upper=False).mT
        return self.noise.log_prob(noise.reshape(z.shape)) - self.log_scale.sum()

    @property
    def centre(self) -> Tensor:
        return self.mean

    def cdf(self, z: Tensor) -> Tensor:
        return self.noise.cdf((z - self.mean) / self._deviations())

    def icdf(self, p: Tensor) -> Tensor:
        return self.mean + self._deviations() * self.noise.icdf(p)

    def _deviations(self) -> Tensor:
        return self._factor().square().sum(-1).sqrt()


class StudentT(Base):
    r"""Independent Student's t variables, with tails as heavy as you choose.

    $$p(z_i) = \frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac{\nu}{2}) \sqrt{\nu \pi}}
    \Big(1 + \frac{z_i^2}{\nu}\Big)^{-(\nu + 1) / 2}$$

    Args:
        features: size of the vectors, D.
        df: nu, degrees of freedom, positive.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if `features` is below 1, or `df` is not positive and finite.

    References:
        Sampling: Bailey 1994, Mathematics of Computation 62, 779. As a base: Jaini et al. 2020,
        arXiv 1907.04481.

    Example:
        >>> import torch
        >>> StudentT(2, df=3.0).log_prob(torch.zeros(2))
        tensor(-2.0018)
    """

    @property
    def centre(self) -> float:
        return 0.0

    def __init__(self, features: int, df: float = 4.0) -> None:
        super().__init__(features)
        self.df = _checks.positive("df", df)

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        df = torch.full((self.features,), self.df, dtype=dtype, device=device)
        return student_t(df, shape, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        constant = (
            math.lgamma((self.df + 1) / 2)
            - math.lgamma(self.df / 2)
            - 0.5 * math.log(self.df * math.pi)
        )
        logs = torch.log1p(z.square() / self.df)
        return constant * self.features - (self.df + 1) / 2 * logs.sum(-1)

    def config(self) -> dict[str, Any]:
        return {"df": self.df}


def student_t(df: Tensor, shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
    """Return independent Student's t variables, (*shape, features), by Bailey's polar method.

    Args:
        df: degrees of freedom of each feature, (features,).
        shape: of the batch.
        generator: random numbers; torch's own by default.
    """
    radius, angle = torch.rand(
        2, *shape, len(df), dtype=df.dtype, device=df.device, generator=generator
    )
    # 1 - u lies in (0, 1], where the power is finite.
    square = df * torch.expm1(-2 / df * torch.log1p(-radius))
    return square.sqrt() * torch.cos(2 * math.pi * angle)


class Logistic(Base):
    r"""Independent logistic variables: $p(z_i) = \sigma(z_i) \sigma(-z_i)$.

    Args:
        features: size of the vectors, D.

    Raises:
        TypeError: if `features` is not an integer.
        ValueError: if `features` is below 1.

    Example:
        >>> import torch
        >>> Logistic(1).log_prob(torch.zeros(1)).exp()
        tensor(0.2500)
    """

    @property
    def centre(self) -> float:
        return 0.0

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        uniform = torch.rand(
            *shape, self.features, dtype=dtype, device=device, generator=generator
        ).clamp(min=torch.finfo(dtype).tiny)
        return torch.log(uniform) - torch.log1p(-uniform)

    def log_prob(self, z: Tensor) -> Tensor:
        return (nn.functional.logsigmoid(z) + nn.functional.logsigmoid(-z)).sum(-1)

    def cdf(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)

    def icdf(self, p: Tensor) -> Tensor:
        return torch.logit(p)


class Uniform(Base):
    r"""Uniform on a box: $p(z) = (b - a)^{-D}$ for $a \le z_i \le b$, zero outside.

    Args:
        features: size of the vectors, D.
        low: a.
        high: b.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if `features` is below 1, or the bounds are not finite and in order.

    Example:
        >>> import torch
        >>> Uniform(2, 0.0, 2.0).log_prob(torch.tensor([[1.0, 1.0], [1.0, 3.0]]))
        tensor([-1.3863,    -inf])
    """

    def __init__(self, features: int, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__(features)
        self.low, self.high = _checks.number("low", low), _checks.number("high", high)
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"low must be below high, and both finite, got {low!r} and {high!r}")

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        uniform = torch.rand(*shape, self.features, dtype=dtype, device=device, generator=generator)
        return self.low + (self.high - self.low) * uniform

    def log_prob(self, z: Tensor) -> Tensor:
        inside = ((z >= self.low) & (z <= self.high)).all(-1)
        density = z.new_full(inside.shape, -self.features * math.log(self.high - self.low))
        return density.masked_fill(~inside, -math.inf)

    def cdf(self, z: Tensor) -> Tensor:
        return ((z - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, p: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * p

    def config(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}


class Mixture(Base):
    r"""A mixture of bases with learned weights: $p(z) = \sum_k w_k p_k(z)$.

    Its samples have no gradient: choosing a component is not differentiable.

    Args:
        features: size of the vectors, D.
        components: two or more bases, as names, mappings or objects.
        generator: random numbers for the initial weights of the components, if they have any.

    Raises:
        TypeError: if a component does not describe a base.
        ValueError: if `features` is below 1, a name is unknown, there are fewer than two
            components, or one has another number of features.

    Example:
        >>> import torch
        >>> mixture = Mixture(2, ["diagonal", {"name": "student-t", "df": 2.0}])
        >>> mixture.log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    has_rsample = False
    takes_generator = True

    def __init__(
        self,
        features: int,
        components: Sequence[str | Mapping[str, Any] | Base],
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(features)
        if isinstance(components, str | Mapping) or not isinstance(components, Iterable):
            raise TypeError(
                "components must be a sequence of bases, names or mappings, "
                f"got {type(components).__name__}"
            )
        components = list(components)
        if len(components) < 2:
            raise ValueError(f"components must be at least two, got {len(components)}")
        self.components = nn.ModuleList(as_base(each, features, generator) for each in components)
        self.logits = nn.Parameter(torch.zeros(len(components)))

    def _parts(self) -> list[Base]:
        return [part for part in self.components if isinstance(part, Base)]

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        raise NotImplementedError("a mixture has no reparameterised samples; use sample")

    @torch.no_grad()
    def sample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        draws = [
            part.sample(shape, dtype=dtype, device=device, generator=generator)
            for part in self._parts()
        ]
        return chosen(torch.stack(draws), self.logits, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        parts = torch.stack([part.log_prob(z) for part in self._parts()], -1)
        return torch.logsumexp(parts + torch.log_softmax(self.logits, -1), -1)

    def cdf(self, z: Tensor) -> Tensor:
        parts = torch.stack([part.cdf(z) for part in self._parts()], -1)
        return (parts * torch.softmax(self.logits, -1)).sum(-1)

    def config(self) -> dict[str, Any]:
        return {"components": [described(part) for part in self._parts()]}


def chosen(draws: Tensor, logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return one of the `draws`, (components, *shape, features), for each vector at random."""
    count = math.prod(draws.shape[1:-1])
    weights = torch.softmax(logits, -1)
    which = torch.multinomial(weights, max(count, 1), replacement=True, generator=generator)
    which = which[:count].reshape(1, *draws.shape[1:-1], 1)
    return draws.take_along_dim(which, 0).squeeze(0)


#: Every base that has a name; register your own here to be able to save it.
BASES = Registry[Callable[..., Base]]("base", "invflow.flows.BASES", Base)
BASES.update(
    {
        "normal": StandardNormal,
        "diagonal": DiagonalNormal,
        "full": FullNormal,
        "student-t": StudentT,
        "logistic": Logistic,
        "uniform": Uniform,
        "mixture": Mixture,
    }
)


def as_base(
    what: str | Mapping[str, Any] | Base,
    features: int,
    generator: torch.Generator | None = None,
) -> Base:
    """Return the base that `what` describes.

    Args:
        what: a name in `BASES`, a mapping with a "name" and the base's arguments, or a base.
        features: number of features, D.
        generator: random numbers for the initial weights of the base, if it has any.

    Raises:
        TypeError: if `what` is none of these, or the base does not have an argument.
        ValueError: if the name is unknown, or the base has another number of features.

    Example:
        >>> as_base({"name": "uniform", "low": 0.0, "high": 1.0}, features=3).features
        3
    """
    if isinstance(what, str):
        what = {"name": what}
    if isinstance(what, Mapping):
        fields = dict(what)
        kind = BASES.choose(fields.pop("name", None))
        if getattr(kind, "takes_generator", False):
            fields["generator"] = generator
        return kind(features, **fields)
    if not isinstance(what, Base):
        raise TypeError(f"base must be a name, a mapping or a Base, got {type(what).__name__}")
    if what.features != features:
        raise ValueError(f"base must have {features} features, got {what.features}")
    return what


def described(base: Base) -> dict[str, Any] | Base:
    """Return the mapping from which `as_base` rebuilds a base, or a nameless base itself."""
    name = BASES.name_of(type(base))
    return base if name is None else {"name": name, **base.config()}


def check_suits(base: Base, each: Univariate) -> None:
    """Raise a `ValueError` if a base is not the one that a univariate map requires."""
    if each.base["name"] != "normal" and described(base) != each.base:
        raise ValueError(f"base must be {each.base} for {each!r}, got {described(base)}")
