"""A posterior: a target, and a flow that approximates it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from invflow import _checks, _saving
from invflow._log_density import BadTarget
from invflow._modes import evaluating
from invflow._version import __version__
from invflow.flows.named import Named
from invflow.vi import tables
from invflow.vi.record import Record
from invflow.vi.targets.density import VECTORS_AT_ONCE, Density
from invflow.vi.targets.guarded import Guarded
from invflow.vi.targets.target import Target
from invflow.vi.targets.vectors import vectors
from invflow.vi.trust import probe
from invflow.vi.trust.importance import importance, resampled
from invflow.vi.trust.inference import inference
from invflow.vi.trust.lighter import Lighter, lighter
from invflow.vi.trust.pool import Draws, Pool, drawn, evaluated
from invflow.vi.trust.refine import Refined, refine
from invflow.vi.trust.verdict import Verdict, judge, outside_fraction

if TYPE_CHECKING:
    from pandas import DataFrame

FILE = "posterior.json"
FORMAT = 1
#: Most draws to choose from for each one that resampling keeps, and fewest in all.
MOST_CANDIDATES, FEWEST_CANDIDATES = 4.0, 4000
#: Draws at which the gradient is looked at.
GRADIENT_DRAWS = 500


class Posterior:
    """An approximate posterior: draws, densities, and whether to trust them.

    The same call returns the same result, by the seed. Results share one pool of draws, kept in
    memory, at which the log density, which must not change, is evaluated once; if the flow's
    parameters change, new draws are made. The flow is in evaluation mode for every result.

    Args:
        target: the target of the posterior.
        flow: a `Flow` or a `FlowMixture` over vectors of the target's size, without context.
        seed: random seed of all draws.
        record: what the fit recorded.

    Raises:
        TypeError: if the target or the flow has the wrong type.
        ValueError: if the flow's size is not the target's, or it has a context.

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
        self._drawn: Pool | None = None

    def sample(self, n: int) -> Tensor:
        """Return draws of the flow, unconstrained and unweighted, shape (n, dim)."""
        n = _checks.positive_integer("n", n)
        with evaluating(self.flow):
            draws = drawn(self.flow(validate_args=False), n, self._generator("sample"))
            return torch.cat([z for z, _ in draws])

    def log_prob(self, z: Any) -> Tensor:
        """Return the flow's log density of unconstrained vectors, in nats.

        Args:
            z: shape (*batch, dim): a tensor, an array or nested lists, converted to the flow's
                dtype and device.

        Returns:
            Shape `batch`.

        Raises:
            TypeError: if `z` does not hold real numbers.
            ValueError: if it has another shape.

        Example:
            >>> from invflow.flows import Gaussian
            >>> from invflow.vi import Flat
            >>> posterior = Posterior(Flat(lambda z: -z.square().sum(-1), dim=2), Gaussian(2))
            >>> posterior.log_prob([[0, 1], [2, 3], [4, 5]]).shape
            torch.Size([3])
        """
        z = vectors("z", z, self.target.dim, probe.parts(self.flow)[0][0].like)
        with torch.no_grad(), evaluating(self.flow):
            q = self.flow()
            rows = z.reshape(-1, self.target.dim).split(VECTORS_AT_ONCE)
            return torch.cat([q.log_prob(part) for part in rows]).reshape(z.shape[:-1])

    def resample(self, n: int) -> Tensor:
        r"""Return draws by importance resampling, unconstrained, shape (n, dim).

        Systematic resampling of draws of the flow with Pareto smoothed weights: no draw appears
        twice unless its weight asks for it. There are 4000 draws to choose from, or n times the
        largest of their weights relative to the mean, at most 4 n, if that is more.

        Raises:
            ValueError: if the log density is finite at none of them.
        """
        return self._resampled(n).z

    def draws(self, n: int, *, resampled: bool = True) -> dict[str, Tensor]:
        """Return named, constrained draws, (n, *shape) each.

        Args:
            n: number of draws.
            resampled: draw as `resample` does; otherwise as `sample` does.
        """
        return self._named(self.resample(n) if resampled else self.sample(n))

    def to_pandas(self, n: int = 4000, *, resampled: bool = True) -> DataFrame:
        """Return named, constrained draws as a data frame: a row per draw, a column per number.

        Args:
            n: number of draws.
            resampled: draw as `resample` does; otherwise as `sample` does.

        Raises:
            ImportError: if pandas is not installed.
        """
        return tables.frame(self.draws(n, resampled=resampled))

    def to_arviz(
        self, n: int = 4000, *, resampled: bool = True, log_likelihood: bool = True
    ) -> Any:
        """Return ArviZ's InferenceData, or DataTree since ArviZ 1.0, with one chain of `n` draws.

        The group `posterior` holds the constrained parameters; `sample_stats` holds the log density
        "lp" of the target at each draw, "log_q" of the flow, and their difference "log_weight".
        Where the target gives it, `log_likelihood` holds the log likelihood of each observation,
        for `arviz.loo` and `arviz.compare`; `observed_data` and `constant_data` hold the data of a
        model, and axes have the model's names.

        Args:
            n: number of draws.
            resampled: draw as `resample` does; otherwise as `sample` does, to be weighted by
                "log_weight", and without `log_likelihood`: ArviZ takes draws as equally likely.
            log_likelihood: include that group, which takes memory for `n` numbers per observation.

        Raises:
            TypeError, ValueError: if the target's log likelihood is not what it must be.
            ImportError: if ArviZ is not installed.
        """
        n = _checks.positive_integer("n", n)
        if resampled:
            z, log_p, log_q = self._resampled(n)
        else:
            z, log_p, log_q = evaluated(self.flow, self._density(), n, self._generator("sample"))
        stats = {"lp": log_p, "log_q": log_q, "log_weight": log_p - log_q}
        return inference(
            self.target,
            z[None],
            {name: value[None] for name, value in stats.items()},
            {"seed": self.seed, "resampled": int(resampled)},
            log_likelihood=resampled and log_likelihood,
        )

    def summary(self, n: int = 16_000, *, var_names: Sequence[str] | None = None) -> DataFrame:
        """Return a table of the parameters: mean, sd, 3% and 97% quantiles, and error of the mean.

        Computed from `n` draws with Pareto smoothed weights, without the noise of resampling. The
        mean of an angle is its mean direction; its quantiles are counted from there and can exceed
        pi.

        Args:
            n: number of draws.
            var_names: names of the parameters to summarise; None for all.

        Raises:
            TypeError: if `var_names` is one string.
            ValueError: if a name is unknown, or the log density is finite at none of the draws.
            ImportError: if pandas is not installed.
        """
        n = _checks.positive_integer("n", n, minimum=2)
        draws, log_weights = self._weighted(n)
        weights = log_weights.exp()
        some = weights > 0
        named = self._named(draws.z[some.to(draws.z.device)])
        kept = tables.chosen(named, var_names)
        return tables.summary(kept, tables.array(weights[some]), self.target.angular)

    def diagnose(self, n: int = 10_000) -> Verdict:
        """Return whether to trust the posterior: what is fine, what is not, and what to do.

        Args:
            n: number of draws to judge by; another `n` evaluations of the log density look for mass
                that the flow misses.
        """
        n = _checks.positive_integer("n", n, minimum=100)
        pool = self._pool()
        z, log_p, log_q = pool.first(n)
        found = importance(log_p, log_q)
        if found.non_finite == 1:
            return judge(found, self.record)
        finite = torch.isfinite(log_p)
        z, log_p, log_q = z[finite], log_p[finite], log_q[finite]
        largest = float((log_p - log_q).max())
        density = pool.density
        density.generator = self._generator("density")
        with evaluating(self.flow):
            outside = probe.log_mass_outside(
                self.flow, density, largest, n, self._generator("probe")
            )
            with torch.no_grad():
                called = probe.names(self.target, z[log_p.argmax()])
            tails = self._lighter(density, z, called)
        value, score = density.scores(z[:GRADIENT_DRAWS])
        score = score[torch.isfinite(value)]
        return judge(
            found,
            self.record,
            outside=outside_fraction(outside, found.log_evidence),
            # An angle may be uniform.
            ignored=[called[i] for i in probe.ignored(score) if i not in self.target.angles],
            improper=[called[i] for i in probe.improper(density, z, log_p, score)],
            lighter=tails,
            caveat=self.target.caveat,
        )

    def _lighter(self, density: Density, z: Tensor, called: list[str]) -> Lighter | None:
        q = self.flow(validate_args=False)
        try:
            return lighter(density.exact, q.log_prob, z, called, self.target.angles)
        except BadTarget:
            raise
        except Exception:  # a model may fail in any way this far out, and need not work there
            return None

    def refine(
        self, draws: int = 4000, *, chains: int = 8, warmup: int = 300, seed: int | None = None
    ) -> Refined:
        """Return draws of Markov chains in the flow's own space, exact in the limit.

        Args:
            draws: number of draws, over all chains.
            chains: number of chains run side by side; R-hat asks for few and long ones.
            warmup: steps that adapt the step size and the metric, from which no draw is kept.
            seed: random seed of the chains; by default the posterior's.

        Raises:
            ValueError: if a size is out of range, or the log density is finite at hardly any draw.
            ImportError: if ArviZ is not installed.
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

    def _resampled(self, n: int) -> Draws:
        n = _checks.positive_integer("n", n)
        _, log_weights = self._weighted(FEWEST_CANDIDATES)
        largest = float(log_weights.max().exp()) * FEWEST_CANDIDATES
        count = math.ceil(n * min(largest, MOST_CANDIDATES))
        draws, log_weights = self._weighted(max(count, FEWEST_CANDIDATES))
        chosen = resampled(log_weights, n, self._generator("resample", device="cpu"))
        chosen = chosen.to(draws.z.device)
        return Draws(*(values[chosen] for values in draws))

    def _weighted(self, n: int) -> tuple[Draws, Tensor]:
        """Return the first `n` draws of the pool and their smoothed log weights, (n,)."""
        draws = self._pool().first(n)
        found = importance(draws.log_p, draws.log_q)
        if found.non_finite == 1:
            raise ValueError(
                f"log_density is NaN or infinite at all of {n} draws of the flow: none has a weight"
            )
        return draws, found.log_weights

    @torch.no_grad()
    def _named(self, z: Tensor) -> dict[str, Tensor]:
        return self.target.constrain(z)

    def _pool(self) -> Pool:
        """Return the draws that results share, new ones if the flow has changed."""
        generator = self._generator("pool")
        if self._drawn is None or not self._drawn.is_of(self.flow, self.target, generator):
            self._drawn = Pool(self.flow, self._density(), generator)
        return self._drawn

    def _density(self) -> Guarded:
        return Guarded(self.target, self._generator("density"))

    def _generator(
        self, purpose: str, seed: int | None = None, *, device: str | torch.device | None = None
    ) -> torch.Generator:
        """Return random numbers for one purpose, independent of those for others."""
        words = np.random.SeedSequence(
            [self.seed if seed is None else seed, *purpose.encode()]
        ).generate_state(2, np.uint32)
        if device is None:
            tensors = chain(self.flow.parameters(), self.flow.buffers())
            device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        return torch.Generator(device).manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
