"""Whether runs can be compared, and what they are called beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from invflow.vae.run import Run


def labelled(runs: Sequence[Run]) -> dict[str, Run]:
    """Return runs of the same images by name: of their directories, or where that is one, by path.

    Raises:
        ValueError: no runs, a run given twice, or runs of different images.
    """
    if not runs:
        raise ValueError("runs must be one or more, got none")
    first, *others = runs
    for other in others:
        if _images(other) != _images(first):
            raise ValueError(
                f"{first.directory} and {other.directory} are runs on different images, "
                "and cannot be compared"
            )
    paths = [run.directory.resolve() for run in runs]
    for i, path in enumerate(paths):
        if path in paths[:i]:
            raise ValueError(f"runs must differ, got {runs[i].directory} twice")
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(run.directory) for run in runs]
    return dict(zip(names, runs, strict=True))


def _images(run: Run) -> tuple[object, ...]:
    return run.format.digest, run.format.shape, run.format.levels
