"""From a log density to a posterior: first where and how wide, then what shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invflow import _checks
from invflow.flows import Flow, FlowMixture, Preconditioned
from invflow.training.fabric import started
from invflow.training.progress import progress as bar
from invflow.vi.fitting import processes
from invflow.vi.fitting.angles import fit_charted
from invflow.vi.fitting.modes import find_modes
from invflow.vi.fitting.training import Settings, train
from invflow.vi.fitting.trial import try_out
from invflow.vi.fitting.weigh import weigh
from invflow.vi.posterior import Posterior
from invflow.vi.record import Record
from invflow.vi.targets.guarded import Guarded
from invflow.vi.targets.target import Flat, Target

#: Told how a fit goes: a stage, how far it is, and a line.
Report = Callable[[str, int, str], None]
#: The share of a mode in the posterior below which it stays a Gaussian, and is left out.
SMALL, NEGLIGIBLE = 0.05, 1e-3


def fit(
    log_density: Callable[[Tensor], Tensor] | Target,
    dim: int | None = None,
    *,
    flow: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    starting_points: Tensor | None = None,
    seed: int = 0,
    progress: bool = False,
    directory: str | Path | None = None,
    ready: Callable[[], object] = lambda: None,
) -> Posterior:
    """Return an approximation of the posterior with a log density, by variational inference.

    1. *Where*: a quasi-Newton optimiser sets out from several points, and the Gaussians along its
       paths are improved until they fit (`gaussian`); different modes are kept apart (`modes`).
    2. *What shape*: in the coordinates of each mode's Gaussian, in which every target has its bulk
       around zero and scales of one, a flow is trained until its bound has stopped moving
       (`training`, `objectives`).
    3. Several modes become a mixture, weighed by their evidence (`weigh`).

    Angles of the target are on a circle all along (`angles`).

    Ctrl-C ends the training, and gives the best so far.

    Args:
        log_density: a function of vectors, (batch, dim) to (batch,), differentiable, up to a
            constant; or a `Target`, for parameters with names, shapes and constraints.
        dim: size of the vectors, for a function.
        flow: the flow of each mode, as `invflow.flows.build` takes it, without `features`; by
            default an IAF without `input_bound`, whose size goes with `dim`.
        settings: how to train.
        starting_points: where the optimiser sets out, (count, dim); by default random points,
            as many as it takes until no mode is met only once.
        seed: of everything random; the same gives the same posterior.
        progress: whether to show a progress bar.
        directory: where to keep checkpoints; a fit that was killed goes on from them.
        ready: called once, when the log density has been tried and the modes are found, and before
            anything is on disk.

    Raises:
        TypeError: arguments of the wrong type, or a log density that gives no tensor.
        ValueError: a size out of range, or a batch too small for the processes; a log density that
            gives the wrong shape or no gradient, is random, mixes the vectors of a batch, is
            finite nowhere, does not depend on one of its arguments, or does not fall off in some
            direction; a directory with the checkpoints of another fit.
        ImportError: SciPy or tqdm is not installed.

    Example:
        >>> posterior = fit(lambda z: -0.5 * (z / torch.tensor([1.0, 100.0])).square().sum(-1), 2)
        >>> posterior.sample(1000).shape
        torch.Size([1000, 2])
    """
    started = time.perf_counter()
    target = _target(log_density, dim)
    seed = _checks.positive_integer("seed", seed, minimum=0)
    settings = Settings() if settings is None else settings
    if not isinstance(settings, Settings):
        raise TypeError(f"settings must be Settings, got {type(settings).__name__}")
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
                directory=directory,
                ready=ready,
            )

        return fit_charted(target, without, points, seed)
    generator, subsampling = (torch.Generator().manual_seed(seed) for _ in range(2))
    density = Guarded(target, subsampling)
    try_out(density)
    with _reporter(progress) as report:
        try:
            modes = find_modes(
                density, points, generator, lambda done, line: report("starting points", done, line)
            )
        except ValueError as error:
            if density.refusal is None:
                raise
            raise ValueError(f"{error}; the first error it raised: {density.refusal}") from error
        ready()
        parts: list[Preconditioned] = []
        steps, bounds = 0, list[tuple[int, int, float]]()
        reasons = ["interrupted"] if modes.interrupted else list[str]()
        for k, normal in enumerate(modes.normals):
            part = _build(target.dim, flow, torch.Generator().manual_seed(seed + k))
            part.set(normal.location, normal.scale)
            parts.append(part)
            # What the flows so far cover already, or what is small, its Gaussian may cover alone.
            if "interrupted" in reasons or (k and weigh(density, parts, seed)[0][-1] < SMALL):
                continue

            def told(done: int, bound: float, k: int = k) -> None:
                bounds.append((k, done, bound))
                report(f"mode {k + 1} of {len(modes.normals)}", done, f"bound {bound:.3f}")

            taken, reason = train(
                part,
                density,
                settings,
                seed,
                told,
                None if directory is None else Path(directory) / f"mode-{k}",
            )
            steps, reasons = steps + taken, [*reasons, reason]
    shares, evidence = weigh(density, parts, seed)
    kept = [k for k, share in enumerate(shares.tolist()) if share > NEGLIGIBLE]
    record = Record(
        evaluations=density.evaluations,
        non_finite=density.rejected,
        seconds=time.perf_counter() - started,
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
    """See that the processes can share the work, and are not in each other's way."""
    groups = settings.batch // settings.draws
    if groups < processes.count():
        raise ValueError(
            f"settings must have a group of draws for each of {processes.count()} processes, "
            f"got a batch of {settings.batch} in groups of {settings.draws}: take a larger batch"
        )
    if directory is not None and started() > processes.count():
        raise ValueError(
            f"directory must not be written by {started()} processes that do not know of each "
            "other: after torchrun, call torch.distributed.init_process_group() first"
        )


def _target(what: Callable[[Tensor], Tensor] | Target, dim: int | None) -> Target:
    if isinstance(what, Target):
        if dim is not None and dim != what.dim:
            raise ValueError(f"dim must be left out for a Target, or be its {what.dim}, got {dim}")
        return what
    if dim is None:
        raise TypeError("dim must be given with a function: the size of the vectors it takes")
    return Flat(what, dim)


def _starting_points(given: Tensor | None, dim: int) -> Tensor | None:
    if given is None:
        return None
    if not isinstance(given, Tensor):
        raise TypeError(f"starting_points must be a tensor, got {type(given).__name__}")
    if given.ndim != 2 or given.shape[1] != dim or not len(given):
        raise ValueError(
            f"starting_points must have shape (count, {dim}), got {tuple(given.shape)}"
        )
    return given.double()


def _build(
    dim: int, config: Mapping[str, Any] | None, generator: torch.Generator
) -> Preconditioned:
    """Return a flow in double precision, near the identity."""
    if config is None:
        width = min(max(64, 2 * dim), 512)
        config = {
            "name": "iaf",
            "transforms": 3,
            "hidden_features": (width, width),
            "input_bound": None,  # what is read is the flow's own draws; a funnel needs them whole
        }
        if dim == 1:  # where affine maps alone leave a normal a normal
            config = {**config, "univariate": "spline"}
    return Preconditioned({**config, "features": dim}, generator=generator).double()


def _mixed(parts: list[Preconditioned], shares: Tensor) -> Flow | FlowMixture:
    if len(parts) == 1:
        return parts[0]
    mixture = FlowMixture(parts).double()
    with torch.no_grad():
        mixture.logits.copy_(shares.clamp(min=1e-300).log())
    return mixture


@contextmanager
def _reporter(progress: bool) -> Generator[Report]:
    """Give a function that shows how the fit goes."""
    if progress:
        with bar("fitting", None) as move:
            yield lambda stage, done, line: move(done, f"{stage}, {line}")
    else:
        yield lambda stage, done, line: None
