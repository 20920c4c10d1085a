"""From a log density to a posterior: first location and scale, then shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from invflow import _checks
from invflow._log_density import BadTarget
from invflow.flows import Flow, FlowMixture, Preconditioned
from invflow.flows.named import FLOWS
from invflow.training.fabric import started
from invflow.training.progress import progress as bar
from invflow.training.progress import visible
from invflow.vi.fitting import processes
from invflow.vi.fitting.accuracy import confirmed, reached, standing
from invflow.vi.fitting.angles import fit_charted
from invflow.vi.fitting.heavy import Start, start
from invflow.vi.fitting.modes import find_modes
from invflow.vi.fitting.normal import Normal
from invflow.vi.fitting.training import Settings, train
from invflow.vi.fitting.trial import try_out
from invflow.vi.fitting.weigh import weigh
from invflow.vi.posterior import Posterior
from invflow.vi.record import Record
from invflow.vi.targets.density import Density
from invflow.vi.targets.guarded import Guarded
from invflow.vi.targets.target import Flat, Target
from invflow.vi.targets.vectors import tensor

#: Called with the progress of a fit: the stage, the count so far, and a line of text.
Report = Callable[[str, int, str], None]
#: Fractions of the posterior that a mode must hold to get a trained flow, and to be kept at all.
TRAINED_FRACTION, KEPT_FRACTION = 0.05, 1e-3
#: Bound on what conditioners read of noise with heavy tails.
HEAVY_INPUT_BOUND = 10.0


def fit(
    log_density: Callable[[Tensor], Tensor] | Target,
    dim: int | None = None,
    *,
    flow: str | Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    starting_points: Any = None,
    seed: int = 0,
    progress: bool | None = None,
    report: Callable[[int, str], None] | None = None,
    directory: str | Path | None = None,
    ready: Callable[[], object] = lambda: None,
) -> Posterior:
    """Return an approximation of the posterior with a log density, by variational inference.

    1. *Location and scale*: quasi-Newton optimisers start from many points (`modes`), and the best
       Gaussians along their paths (`pathfinder`) are improved (`matching`). Where the target's
       tails are heavy, a Student's t takes the place of the Gaussian (`heavy`).
    2. *Shape*: if these are accurate, they are the result (`accuracy`). If not, a flow is trained
       in the coordinates of each mode, in which every target is centred with unit scales, until it
       is accurate or its bound stops rising (`training`, `objectives`).
    3. *Weights*: several modes become a mixture, weighted by their evidence (`weigh`).

    Angles of the target stay on their circles throughout (`angles`).

    Ctrl-C stops training and returns the best flow so far.

    Args:
        log_density: a differentiable function of vectors, (batch, dim) to (batch,), up to a
            constant; or a `Target`, for parameters with names, shapes and constraints.
        dim: size of the vectors; required for a function.
        flow: the flow of each mode: a name, or a mapping with a "name" and the arguments of
            `invflow.flows.build`, without `features`; by default an IAF without `input_bound`,
            sized by `dim`, or with a bound and a base of Student's t where the tails of the target
            are heavy.
        settings: how to train.
        starting_points: where the optimiser starts, (count, dim): a tensor, an array or lists. By
            default random points, until no mode was found only once.
        seed: random seed; the same seed gives the same posterior on the same machine.
        progress: show a bar, with the stage, the bound and the fraction of effective draws; by
            default where it would be seen, in a terminal or a notebook.
        report: called with the number of steps of a stage and a line of text, instead of a bar.
        directory: where checkpoints are kept; a fit that was killed resumes from them.
        ready: called once, after the log density was checked and the modes were found, before
            anything is written to disk.

    Raises:
        TypeError: if an argument or what the log density returns has the wrong type.
        ValueError: if a size is out of range or the batch too small for the processes; if the log
            density returns the wrong shape, has no gradient, is random, mixes the vectors of a
            batch, is finite nowhere, ignores one of its arguments, or does not fall off in some
            direction; if the flow's base has parameters but no reparameterised samples; if the
            directory holds the checkpoints of another fit.
        ImportError: if tqdm is not installed, where progress is shown.

    Example:
        >>> posterior = fit(lambda z: -0.5 * (z / torch.tensor([1.0, 100.0])).square().sum(-1), 2)
        >>> posterior.sample(1000).shape
        torch.Size([1000, 2])
    """
    begun = time.perf_counter()
    target = _target(log_density, dim)
    seed = _checks.positive_integer("seed", seed, minimum=0)
    settings = Settings() if settings is None else settings
    if not isinstance(settings, Settings):
        raise TypeError(f"settings must be Settings, got {type(settings).__name__}")
    flow = _described(flow)
    _check_processes(settings, directory)
    points = _starting_points(starting_points, target.dim)
    if target.angles:

        def without(charted: Target, points: Tensor | None) -> Posterior:
            return fit(
                charted,
                flow=flow,
                settings=settings,
                starting_points=points,
                seed=seed,
                progress=progress,
                report=report,
                directory=directory,
                ready=ready,
            )

        return fit_charted(target, without, points, seed)
    generator, subsampling = (torch.Generator().manual_seed(seed) for _ in range(2))
    density = Guarded(target, subsampling)
    try_out(density)
    with _reporter(progress, report) as tell:
        try:
            modes = find_modes(
                density,
                points,
                generator,
                lambda done, line: tell("search from starting points", done, line),
            )
        except ValueError as error:
            if density.refusal is None:
                raise
            raise ValueError(f"{error}; the first error raised was: {density.refusal}") from error
        ready()
        initial = [
            _start(density, normal, flow, torch.Generator().manual_seed(seed + k))
            if not modes.interrupted
            else Start(normal.location, normal.scale)
            for k, normal in enumerate(modes.normals)
        ]
        parts = [_untrained(each) for each in initial]
        steps, bounds, reasons = 0, list[tuple[int, int, float]](), list[str]()
        if modes.interrupted:
            reasons = ["interrupted"]
        elif flow is None and _accurate(parts, density, settings, seed):
            reasons = ["converged"]
        for k, each in enumerate(initial if not reasons else ()):
            # The start is enough for a mode that is small, or that earlier flows already cover.
            if k and weigh(density, parts[: k + 1], seed)[0][-1] < TRAINED_FRACTION:
                continue
            parts[k] = _build(each, flow, torch.Generator().manual_seed(seed + k))

            def after_round(done: int, bound: float, effective: float, k: int = k) -> None:
                bounds.append((k, done, bound))
                line = f"bound {bound:.3f}, {standing(settings.accuracy, effective)}"
                tell(f"flow of mode {k + 1} of {len(modes.normals)}", done, line)

            taken, reason = train(
                parts[k],
                density,
                settings,
                seed,
                after_round,
                None if directory is None else Path(directory) / f"mode-{k}",
            )
            steps, reasons = steps + taken, [*reasons, reason]
            if reason == "interrupted":
                break
    shares, evidence = weigh(density, parts, seed)
    kept = [k for k, share in enumerate(shares.tolist()) if share > KEPT_FRACTION]
    record = Record(
        evaluations=density.evaluations,
        non_finite=density.rejected,
        seconds=time.perf_counter() - begun,
        steps=steps,
        stopped=", ".join(dict.fromkeys(reasons)),
        modes=[
            {
                "weight": float(shares[k]),
                "log_evidence": evidence[k],
                "location": modes.normals[k].location.tolist(),
                "starts": modes.hits[k],
            }
            for k in kept
        ],
        starts=modes.starts,
        bounds=bounds,
    )
    whole = _mixed([parts[k] for k in kept], shares[kept])
    return Posterior(target, whole, seed=seed, record=record)


def _check_processes(settings: Settings, directory: str | Path | None) -> None:
    """Check that the processes can share the work, and know of each other."""
    if settings.batch_size // settings.train_samples < processes.count():
        raise ValueError(
            "batch_size must be at least train_samples times the number of processes, "
            f"{settings.train_samples} x {processes.count()}, got {settings.batch_size}"
        )
    if directory is not None and started() > processes.count():
        raise ValueError(
            f"directory cannot be shared by {started()} processes that are not in one process "
            "group: call torch.distributed.init_process_group() first"
        )


def _target(what: Callable[[Tensor], Tensor] | Target, dim: int | None) -> Target:
    if isinstance(what, Target):
        if dim is not None and dim != what.dim:
            raise ValueError(
                f"dim must be {what.dim}, the size of the target, or be left out, got {dim}"
            )
        return what
    if not callable(what):
        raise TypeError(
            f"log_density must be a function or a target, got {type(what).__name__}; models become "
            "targets by vi.from_pymc, vi.from_pyro or vi.from_stan"
        )
    if dim is None:
        raise TypeError(
            "dim, the size of the vectors, is required with a function; if it is a Pyro model, "
            "pass vi.from_pyro(model) instead"
        )
    return Flat(what, dim)


def _starting_points(given: Any, dim: int) -> Tensor | None:
    if given is None:
        return None
    points = tensor("starting_points", given).detach().double()
    if points.ndim != 2 or points.shape[1] != dim or not len(points):
        raise ValueError(
            f"starting_points must have shape (count, {dim}), got {tuple(points.shape)}"
        )
    if not bool(points.isfinite().all()):
        raise ValueError("starting_points must be finite, got NaN or infinity")
    return points


def _described(flow: Any) -> Mapping[str, Any] | None:
    """Return the mapping that describes a flow, before a search for modes that it would waste."""
    if flow is None:
        return None
    found = {"name": flow} if isinstance(flow, str) else flow
    if not isinstance(found, Mapping) or "name" not in found:
        raise TypeError(
            f'flow must be a name, such as "iaf", or a mapping with a "name", got {flow!r}'
        )
    _checks.choice("flow", found["name"], FLOWS)
    return cast(Mapping[str, Any], found)


def _start(
    density: Density,
    normal: Normal,
    flow: Mapping[str, Any] | None,
    generator: torch.Generator,
) -> Start:
    """Return where a flow starts; one that the user describes keeps the user's noise."""
    light, rejected = Start(normal.location, normal.scale), density.rejected
    if flow is not None:
        return light
    try:
        return start(density, normal, generator)
    except BadTarget:
        raise
    except Exception:  # a model may fail in any way this far out, and need not work there
        return light
    finally:
        density.rejected = rejected  # not of the fit's own points


def _build(
    start: Start, config: Mapping[str, Any] | None, generator: torch.Generator
) -> Preconditioned:
    """Return a flow in double precision, near the start."""
    dim = len(start.location)
    if config is None:
        width = min(max(64, 2 * dim), 512)
        config = {
            "name": "iaf",
            "transforms": 3,
            "hidden_features": (width, width),
            # Conditioners read the flow's own noise; a funnel needs all of it. Heavy tails last
            # only where what conditioners read is bounded.
            "input_bound": None if start.base == "normal" else HEAVY_INPUT_BOUND,
            "base": start.base,
        }
        if dim == 1:  # affine maps of one feature only give their base
            config = {**config, "univariate": "spline"}
    return _placed(config, start, generator)


def _untrained(start: Start) -> Preconditioned:
    """Return a normal or a Student's t distribution as a flow."""
    return _placed({"name": "gaussian", "kind": "diagonal", "base": start.base}, start, None)


def _placed(
    config: Mapping[str, Any], start: Start, generator: torch.Generator | None
) -> Preconditioned:
    config = {**config, "features": len(start.location)}
    found = Preconditioned(config, generator=generator).double()
    found.set(start.location, start.scale)
    return found


@torch.no_grad()
def _accurate(parts: list[Preconditioned], density: Density, settings: Settings, seed: int) -> bool:
    """Return whether a mixture of flows, weighted by their evidence, is accurate enough."""
    whole = _mixed(parts, weigh(density, parts, seed)[0])
    q, generator = whole(validate_args=False), torch.Generator().manual_seed(seed + 1)
    x = q.sample((settings.evaluation_draws,), generator=generator)
    accurate = reached(settings.accuracy, density.exact(x) - q.log_prob(x))
    accurate = accurate and confirmed(whole, density, settings.accuracy, seed + 2)
    return processes.decided_by_first(accurate)


def _mixed(parts: list[Preconditioned], shares: Tensor) -> Flow | FlowMixture:
    if len(parts) == 1:
        return parts[0]
    mixture = FlowMixture(parts).double()
    with torch.no_grad():
        mixture.logits.copy_(shares.clamp(min=1e-300).log())
    return mixture


@contextmanager
def _reporter(
    progress: bool | None, report: Callable[[int, str], None] | None
) -> Generator[Report]:
    """Yield a function that shows the progress of the fit."""
    wanted = visible() if progress is None else _checks.boolean("progress", progress)
    with bar("fitting", None) if wanted and report is None else nullcontext(report) as move:
        if move is None:
            yield lambda stage, done, line: None
        else:
            yield lambda stage, done, line: move(done, f"{stage}, {line}")
