"""A posterior: a target, and a flow that approximates it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from invflow import _checks, _saving
from invflow._modes import evaluating
from invflow._version import __version__
from invflow.flows.named import Named
from invflow.vi.record import Record
from invflow.vi.targets.guarded import Guarded
from invflow.vi.targets.target import Target
from invflow.vi.trust import probe
from invflow.vi.trust._arviz import inference_data
from invflow.vi.trust.importance import CHUNK, drawn, importance, pool, resampled
from invflow.vi.trust.refine import Refined, refine
from invflow.vi.trust.verdict import Verdict, judge, outside_share

if TYPE_CHECKING:
    from pandas import DataFrame

FILE = "posterior.json"
FORMAT = 1
#: How many draws there are to choose from for each one that resampling keeps, and at least.
POOL, SMALLEST_POOL = 4, 4000
#: At how many draws the gradient is looked at.
SCORES = 500


class Posterior:
    """An approximate posterior: draws, densities, and whether to trust them.

    Everything random follows from the seed: the same call gives the same answer. The flow is in
    evaluation mode whenever it is looked at.

    Args:
        target: what it is the posterior of.
        flow: over vectors of the target's size, without context: a `Flow` or a `FlowMixture`.
        seed: of all draws.
        record: what the fit has noted.

    Raises:
        TypeError: a target or a flow of another kind.
        ValueError: a flow of another size than the target, or with a context.

    Example:
        >>> from invflow.flows import Gaussian
        >>> from invflow.vi import Flat
        >>> target = Flat(lambda z: -0.5 * z.square().sum(-1), dim=2)
        >>> posterior = Posterior(target, Gaussian(2).double())
        >>> posterior.sample(1000).shape
        torch.Size([1000, 2])
        >>> posterior.diagnose().level
        'good'
    """

    def __init__(
        self, target: Target, flow: Named, *, seed: int = 0, record: Record | None = None
    ) -> None:
        if not isinstance(target, Target):
            raise TypeError(f"target must be a Target, got {type(target).__name__}")
        flows, _ = probe.parts(flow)
        if flows[0].features != target.dim or flows[0].context:
            raise ValueError(
                f"flow must have {target.dim} features, the target's size, and no context, got "
                f"{flows[0].features} features and a context of {flows[0].context}"
            )
        self.target = target
        self.flow = flow
        self.seed = _checks.positive_integer("seed", seed, minimum=0)
        self.record = record

    def sample(self, n: int) -> Tensor:
        """Return draws of the flow, unconstrained and unweighted, shape (n, dim)."""
        n = _checks.positive_integer("n", n)
        with evaluating(self.flow):
            draws = drawn(self.flow(validate_args=False), n, self._generator("sample"))
            return torch.cat([z for z, _ in draws])

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the flow's log density, (batch,), of unconstrained vectors, (batch, dim)."""
        z = torch.as_tensor(z)
        if z.ndim < 1 or z.shape[-1] != self.target.dim:
            raise ValueError(f"z must have shape (*batch, {self.target.dim}), got {tuple(z.shape)}")
        with torch.no_grad(), evaluating(self.flow):
            q = self.flow()
            rows = z.reshape(-1, self.target.dim).split(CHUNK)
            return torch.cat([q.log_prob(part) for part in rows]).reshape(z.shape[:-1])

    def resample(self, n: int) -> Tensor:
        r"""Return draws by importance, unconstrained, shape (n, dim).

        Drawn from a pool of 4 n draws of the flow or more, with Pareto smoothed weights, by
        systematic resampling: no draw comes twice unless its weight asks for more than one.
        """
        return self._resampled(n)[0]

    def draws(self, n: int, *, resampled: bool = True) -> dict[str, Tensor]:
        """Return named, constrained draws, (n, *shape) each.

        Args:
            n: how many.
            resampled: as `resample` draws them; otherwise as `sample` does.
        """
        z = self.resample(n) if resampled else self.sample(n)
        with torch.no_grad():
            return self.target.constrain(z)

    def to_arviz(self, n: int = 4000, *, resampled: bool = True) -> Any:
        """Return ArviZ's InferenceData, or DataTree since ArviZ 1.0, with one chain of `n` draws.

        The group `posterior` has the constrained parameters; `sample_stats` has the log density
        "lp" of the target at each draw, "log_q" of the flow, and "log_weight", their difference.

        Args:
            n: how many draws.
            resampled: as `resample` draws them; otherwise as `sample` does, to be weighed by
                "log_weight".

        Raises:
            ImportError: ArviZ is not installed.
        """
        n = _checks.positive_integer("n", n)
        z, log_p, log_q = self._resampled(n) if resampled else self._pool(n, "sample")
        with torch.no_grad():
            named = self.target.constrain(z)
        stats = {"lp": log_p, "log_q": log_q, "log_weight": log_p - log_q}
        attributes: dict[str, Any] = {
            "inference_library": "invflow",
            "inference_library_version": __version__,
            "seed": self.seed,
            "resampled": int(resampled),
        }
        groups = {
            "posterior": {name: _array(value)[None] for name, value in named.items()},
            "sample_stats": {name: _array(value)[None] for name, value in stats.items()},
        }
        return inference_data(groups, attributes)

    def summary(self, n: int = 16_000) -> DataFrame:
        """Return a table of the parameters: mean, sd, 3% and 97% quantiles, error of the mean.

        By Pareto smoothed weights of `n` draws, without the noise of resampling. The mean of an
        angle is its mean direction, and the rest is counted from there, beyond pi if need be.

        Raises:
            ImportError: ArviZ is not installed.
        """
        n = _checks.positive_integer("n", n, minimum=2)
        z, log_p, log_q = self._pool(n, "pool")
        weights = importance(log_p, log_q).log_weights.exp().numpy()
        with torch.no_grad():
            named = self.target.constrain(z[torch.from_numpy(weights > 0)])
        weights = weights[weights > 0]
        rows = dict[str, dict[str, float]]()
        for name, value in named.items():
            for place in np.ndindex(*value.shape[1:]):
                entry = _array(value)[(slice(None), *place)]
                if name in self.target.angular:
                    entry = unrolled(entry, weights)
                rows[f"{name}{_index(place)}"] = _row(entry, weights)
        from pandas import DataFrame

        return DataFrame.from_dict(rows, orient="index")

    def diagnose(self, n: int = 10_000) -> Verdict:
        """Return whether to trust the posterior, with what is fine, what is not, what to do.

        Args:
            n: how many draws to look at; as many more evaluations of the log density look for
                what the flow misses.

        Raises:
            ImportError: ArviZ is not installed.
        """
        n = _checks.positive_integer("n", n, minimum=100)
        density = self._density()
        with evaluating(self.flow):
            z, log_p, log_q = pool(self.flow, density, n, self._generator("pool"))
        found = importance(log_p, log_q)
        if found.non_finite == 1:
            return judge(found, self.record)
        finite = torch.isfinite(log_p)
        z, log_p, log_q = z[finite], log_p[finite], log_q[finite]
        largest = float((log_p - log_q).max())
        with evaluating(self.flow):
            outside = probe.log_mass_outside(
                self.flow, density, largest, n, self._generator("probe")
            )
        value, score = density.scores(z[:SCORES])
        score = score[torch.isfinite(value)]
        with torch.no_grad():
            called = probe.names(self.target, z[log_p.argmax()])
        return judge(
            found,
            self.record,
            outside=outside_share(outside, found.log_evidence),
            # An angle may be uniform.
            ignored=[called[i] for i in probe.ignored(score) if i not in self.target.angles],
            improper=[called[i] for i in probe.improper(density, z, log_p, score)],
            caveat=self.target.caveat,
        )

    def refine(
        self, draws: int = 4000, *, chains: int = 8, warmup: int = 300, seed: int | None = None
    ) -> Refined:
        """Return draws by Markov chains in the flow's own space, exact in the limit.

        Args:
            draws: how many, over all chains.
            chains: how many run side by side; R-hat asks for few and long ones.
            warmup: steps in which step size and metric are found, and no draw is kept.
            seed: of the chains; the posterior's by default.

        Raises:
            ValueError: sizes out of range, or a log density that is finite at hardly any draw.
            ImportError: ArviZ is not installed.
        """
        generator = self._generator("refine", seed)
        with evaluating(self.flow):
            return refine(self.target, self.flow, draws, chains, warmup, generator)

    def save(self, directory: str | Path) -> None:
        """Write the flow, the seed and the record into a directory; load them with `load`.

        Raises:
            OSError: if the disk is full, or a file cannot be written.
            ValueError: if the flow was put together by hand and cannot be saved.
        """
        content: dict[str, Any] = {"format": FORMAT, "invflow": __version__, "seed": self.seed}
        content["record"] = None if self.record is None else self.record.to_dict()
        _saving.write(Path(directory), *self.flow.saved(), {FILE: content})

    @classmethod
    def load(cls, directory: str | Path, target: Target) -> Posterior:
        """Return the posterior that `save` has written. No code from the files is run.

        Args:
            directory: where it was saved.
            target: the one it was fitted to, which is code, and is not saved.

        Raises:
            FileNotFoundError: if a file is missing.
            OSError: if a file cannot be read, or does not fit into memory.
            ValueError: if a file is damaged or of another kind, if the files were not saved
                together, or if the target has another size.
        """
        path = Path(directory) / FILE
        content = _saving.read_json(path, ("format", "seed", "record"), FORMAT)
        record, seed = content["record"], content["seed"]
        try:
            seed = _checks.positive_integer("seed", seed, minimum=0)
            record = None if record is None else Record.from_dict(record)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} was not written by invflow: {error}") from error
        _saving.check_beside(path, content)
        flow = Named.from_pretrained(directory)
        return cls(target, flow, seed=seed, record=record)

    def _resampled(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        n = _checks.positive_integer("n", n)
        count = max(POOL * n, SMALLEST_POOL)
        z, log_p, log_q = self._pool(count, "pool")
        found = importance(log_p, log_q)
        if found.non_finite == 1:
            raise ValueError(
                f"log_density is NaN or infinite at all of {count} draws of the flow: none can be "
                "resampled"
            )
        chosen = resampled(found.log_weights, n, self._generator("resample", device="cpu"))
        chosen = chosen.to(z.device)
        return z[chosen], log_p[chosen], log_q[chosen]

    def _pool(self, count: int, purpose: str) -> tuple[Tensor, Tensor, Tensor]:
        with evaluating(self.flow):
            return pool(self.flow, self._density(), count, self._generator(purpose))

    def _density(self) -> Guarded:
        return Guarded(self.target, self._generator("density"))

    def _generator(
        self, purpose: str, seed: int | None = None, *, device: str | torch.device | None = None
    ) -> torch.Generator:
        """Return random numbers for a purpose, unlike those for another."""
        words = np.random.SeedSequence(
            [self.seed if seed is None else seed, *purpose.encode()]
        ).generate_state(2, np.uint32)
        if device is None:
            tensors = chain(self.flow.parameters(), self.flow.buffers())
            device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        return torch.Generator(device).manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


def _array(value: Tensor) -> np.ndarray[Any, Any]:
    return value.detach().cpu().numpy()


def _index(place: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, place))}]" if place else ""


def unrolled(angles: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> Any:
    """Return angles, (draws,), as numbers within half a turn of their mean direction."""
    direction = float(np.angle(weights @ np.exp(1j * angles.astype(np.float64))))
    return direction + np.remainder(angles - direction + np.pi, 2 * np.pi) - np.pi


def _row(values: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> dict[str, float]:
    values = values.astype(np.float64)
    mean = float(weights @ values)
    squares = (values - mean) ** 2
    order = np.argsort(values)
    # Midpoints of the steps of the weighted distribution function.
    shares = np.cumsum(weights[order]) - 0.5 * weights[order]
    low, high = np.interp([0.03, 0.97], shares, values[order])
    return {
        "mean": mean,
        "sd": float(np.sqrt(weights @ squares)),
        "3%": float(low),
        "97%": float(high),
        "mcse": float(np.sqrt(weights**2 @ squares)),
    }
