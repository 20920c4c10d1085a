"""`invflow posterior`, and how its runs are sampled."""

from __future__ import annotations

from pathlib import Path

from invflow.cli import terminal
from invflow.cli.files import output

HELP = """Fit the posterior of a model, and say whether to trust it.

The model is a Python file or a Stan program. Writes RUNS/NAME/ with draws (ArviZ NetCDF and
Parquet), summary.csv, verdict.txt, the fitted flow, checkpoints and report.html. The same command
resumes a run that was stopped.
"""
EXAMPLES = (
    "posterior model.py",
    "posterior model.py --data data.json --name short --draws 1000 --max-steps 400",
)
#: Number of draws by default.
DRAWS = 1000


def sample(run: Path, count: int | None, out: Path | None, seed: int, model: Path | None) -> None:
    """Write importance-resampled draws of a posterior into a table."""
    from invflow._tensors import digest
    from invflow.density.table import write
    from invflow.density.table.files.write import WRITABLE
    from invflow.vi import Posterior
    from invflow.vi import run as runs
    from invflow.vi.targets import model_file

    finished = runs.load(run)
    recorded, data = finished.inputs["model"], finished.inputs.get("data")
    if model is None:
        raise ValueError(
            "sampling a posterior runs the code of its model: name its file, as in --model "
            f"{recorded.path and recorded.path.resolve()}"
        )
    for path, known in [(model, recorded)] + ([(data.path, data)] if data else []):
        if path is None or digest(path) != known.sha256:
            raise ValueError(f"{path} is not the file that {run} was fitted with")
    kept = {"the model": model, "the data": data and data.path}
    path = output(out or run / "samples.csv", WRITABLE, kept)
    target = model_file.load(model, data and data.path)
    posterior = Posterior.load(run / "model", target)
    posterior.seed = seed
    rows = posterior.to_pandas(DRAWS if count is None else count)
    write(rows, path)
    terminal.say(f"{len(rows)} draws: {path}")
