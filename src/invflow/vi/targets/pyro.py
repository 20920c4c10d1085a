"""A Pyro model as a target."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
from torch.utils._pytree import tree_map

from invflow._log_density import BadTarget
from invflow.vi.targets.target import Target, value_of

if TYPE_CHECKING:
    from invflow.vi.targets.sites import Site, Sites

#: Points at which a model is tried before its error is raised.
ATTEMPTS = 5


def from_pyro(model: Callable[..., Any], *args: Any, **kwargs: Any) -> PyroTarget:
    """Return the posterior of a Pyro model's latent sites, given its observed ones.

    The support of a site may depend on the values of earlier sites. All draws are run through the
    model at once by `torch.func.vmap`; a model that vmap cannot handle, such as one that branches
    on the values of its sites, is run draw by draw, with a warning.

    Args:
        model: a Pyro model with observed sites, through `obs=` or `pyro.condition`.
        *args: arguments of the model.
        **kwargs: keyword arguments of the model.

    Raises:
        TypeError: if `model` is not callable.
        ValueError: if the model has no latent site, or one that is discrete or whose support has
            no bijection.
        ImportError: if Pyro is not installed.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(y):
        ...     tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        ...     pyro.sample("y", dist.Normal(0.0, tau).expand([3]).to_event(1), obs=y)
        >>> target = from_pyro(model, torch.tensor([1.0, -2.0, 0.5]))
        >>> target.constrain(torch.zeros(2, 1))["tau"]
        tensor([1., 1.])
    """
    if not callable(model):
        raise TypeError(f"model must be a Pyro model, got {type(model).__name__}")
    return PyroTarget(model, args, kwargs)


class PyroTarget(Target):
    """The latent sites of a Pyro model; made by `from_pyro`.

    The vectors hold the unconstrained numbers of the sites in the model's order. Angles, of von
    Mises and related distributions, are not transformed.
    """

    caveat = ""  # Pyro's densities are normalised.

    def __init__(
        self, model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        try:
            import pyro

            from invflow.vi.targets import observed, sites
        except ImportError as error:
            raise ImportError('from_pyro needs Pyro: pip install "invflow[pyro]"') from error
        self._pyro, self._sites = pyro, sites
        self._model, self._args, self._kwargs = model, args, kwargs
        self.sites, trace = self._look()
        for name, site in trace.nodes.items():
            if _subsamples(site):
                raise ValueError(
                    f"model must use all of its data, got plate {name!r} with a subsample: to "
                    "subsample the data, use vi.Subsampled"
                )
        self.dim = sum(site.size for site in self.sites.values())
        if not self.dim:
            raise ValueError("model must have a latent site, got none: all sites are observed")
        which = torch.cat([site.circular for site in self.sites.values()])
        self.angles = tuple(which.nonzero().flatten().tolist())
        self.angular = frozenset(name for name, site in self.sites.items() if site.angle)
        self._named = [name for name, site in trace.nodes.items() if self._is_named(name, site)]
        self._observed = observed.observed(trace.nodes)
        self.model_data = observed.model_data(trace.nodes, self._observed, self._named)
        self._batched = self._can_be_batched()

    def log_density(self, z: Tensor) -> Tensor:
        return self._over_rows(self._one, z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Return latent, deterministic and reparametrised sites, (*batch, *shape) each."""
        values = self._over_rows(self._values, z.reshape(-1, self.dim))
        return {
            name: value.reshape(z.shape[:-1] + value.shape[1:]) for name, value in values.items()
        }

    def log_likelihood(self, z: Tensor) -> dict[str, Tensor]:
        """Return that of each observed site, under the site's name, without masked entries.

        Factors and deterministic sites have none.
        """
        return self._over_rows(self._pointwise, z) if self._observed else {}

    def unconstrain(self, values: Mapping[str, Any]) -> Tensor:
        """Return the vectors, (*batch, dim), of named values, (*batch, *shape) each.

        Args:
            values: of every latent site: tensors, arrays or lists.

        Raises:
            TypeError: if a value does not hold real numbers.
            ValueError: if a site is missing.
        """
        wanted = {
            name.removesuffix(self._sites.UNOBSERVED) if site.kept is not None else name: site
            for name, site in self.sites.items()
        }
        given = {name: value_of(name, values) for name in wanted}
        batch = next(given[name].shape[: -site.value.ndim or None] for name, site in wanted.items())
        flat = {name: given[name].reshape(-1, *site.value.shape) for name, site in wanted.items()}
        return self._over_rows(self._lifted, flat).reshape(*batch, self.dim)

    def _one(self, z: Tensor) -> Tensor:
        place = self._sites.Place(self.sites, z)
        trace = self._run(place)
        try:
            return trace.log_prob_sum() + place.done()
        except NotImplementedError as error:
            if self._batched:  # the error may be vmap's
                raise
            name, fn = _undone(trace)
            raise BadTarget(
                f"model must have a density at each of its sites, got {name!r}, whose "
                f"{type(fn).__name__} has none: use another distribution, or one of "
                "pyro.infer.reparam"
            ) from error

    def _values(self, z: Tensor) -> dict[str, Tensor]:
        nodes = self._run(self._sites.Place(self.sites, z)).nodes
        return {name: nodes[name]["value"] for name in self._named}

    def _pointwise(self, z: Tensor) -> dict[str, Tensor]:
        trace = self._run(self._sites.Place(self.sites, z))
        trace.compute_log_prob(self._is_observed)
        return {
            name: site.picked(trace.nodes[name]["log_prob"])
            for name, site in self._observed.items()
        }

    def _lifted(self, values: dict[str, Tensor]) -> Tensor:
        lift = self._sites.Lift(self.sites, values)
        self._run(lift)
        return lift.done()

    def _run(self, sites: Sites) -> Any:
        """Return the trace of the model with values for its latent sites."""
        with sites:
            try:
                return self._pyro.poutine.trace(self._model).get_trace(*self._args, **self._kwargs)
            except BadTarget as error:  # Pyro adds a table of shapes to the message
                raise error.__cause__ if isinstance(error.__cause__, BadTarget) else error from None

    def _look(self) -> tuple[dict[str, Site], Any]:
        """Return the latent sites and a trace, from the first point that the model accepts."""
        errors: list[Exception] = []
        with torch.random.fork_rng(devices=[]):  # leaves the random state alone
            for phase in range(ATTEMPTS):
                look = self._sites.Look(1.0 + phase)
                try:
                    with _explained():
                        return look.found, self._run(look)
                except BadTarget:
                    raise
                except (ValueError, RuntimeError) as error:
                    errors.append(error)
        raise errors[0]

    def _is_named(self, name: str, site: dict[str, Any]) -> bool:
        """Whether a site is one of the quantities that vectors represent."""
        if site["type"] != "sample" or type(site["fn"]).__name__ == "_Subsample":
            return False
        if name in self.sites:
            return self.sites[name].kept is None
        # An observed Delta is what Pyro makes of deterministic sites, and of reparametrised ones.
        return not site["is_observed"] or self._sites.point(site["fn"]) is not None

    def _is_observed(self, name: str, site: Any) -> bool:
        del site
        return name in self._observed

    def _over_rows(self, run: Callable[[Any], Any], rows: Any) -> Any:
        """Return the stacked results of `run` for each row: tensors, or mappings of tensors."""
        if isinstance(rows, Tensor) and not len(rows):  # distributions refuse empty batches
            return _each(_first_none, self._over_rows(run, rows.new_zeros(1, self.dim)))
        with self._pyro.validation_enabled(False):
            if self._batched:
                return torch.func.vmap(run)(rows)
            count = len(rows if isinstance(rows, Tensor) else next(iter(rows.values())))
            return _each(_stacked, *(run(_each(itemgetter(i), rows)) for i in range(count)))

    def _can_be_batched(self) -> bool:
        z = torch.sin(torch.arange(2.0 * self.dim, dtype=torch.float64)).reshape(2, self.dim)
        try:
            self._batched = True
            self.log_density(z)
        except BadTarget:
            raise
        except LinAlgError:  # not the fault of vmap
            return True
        except Exception as error:
            self._batched = False
            with _explained():
                self.log_density(z[:1])
            line = _first_line(error)
            warnings.warn(
                "the model is run draw by draw, many times slower than all draws at once, because "
                f"torch.func.vmap cannot handle it: {line}",
                stacklevel=4,
            )
            return False
        return True


#: A function over tensors, or over those of mappings.
_each: Any = tree_map


def _stacked(*rows: Tensor) -> Tensor:
    return torch.stack(rows)


def _first_none(value: Tensor) -> Tensor:
    return value[:0]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


@contextmanager
def _explained() -> Generator[None]:
    """Add the remedy to errors of a model where it is known."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if "dtype" in str(error) or "scalar type" in str(error):
            raise ValueError(
                "model must accept parameters of double precision, got the error "
                f"{_first_line(error)}: make its data and constants torch.float64"
            ) from error
        raise


def _undone(trace: Any) -> tuple[str, Any]:
    """Return the name and distribution of the site whose log density could not be computed."""
    return next(
        (name, site["fn"])
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and "log_prob_sum" not in site
    )


def _subsamples(site: dict[str, Any]) -> bool:
    fn: Any = site.get("fn")
    taken = getattr(fn, "subsample_size", None)
    return type(fn).__name__ == "_Subsample" and taken is not None and taken < fn.size
