"""`invflow infer`, and how its runs are sampled."""

from __future__ import annotations

from pathlib import Path

from invflow.cli import terminal
from invflow.cli.files import output

HELP = """Infer the parameters of a simulator from observed data, by simulations in a table.

No likelihood is needed. Each row of the table has parameters, drawn from their prior, and the data
that the simulator gave for them. Writes RUNS/NAME/ with draws.parquet, summary.csv, the trained
flow, checkpoints and report.html, which says first whether to trust the posterior. The same command
resumes a run that was stopped.
"""
EXAMPLES = (
    "infer simulations.csv --parameters a,b --observed observed.csv",
    "infer simulations.csv --parameters a,b --observed observed.csv --name likelihood "
    "--method nle --prior a=uniform:0:1 --prior b=normal:0:2",
)
#: Number of draws by default.
DRAWS = 1000


def sample(run: Path, count: int | None, out: Path | None, seed: int) -> None:
    """Write draws of a posterior into a table."""
    from invflow.density.table import write
    from invflow.density.table.files.write import WRITABLE
    from invflow.simulation import run as runs

    finished = runs.load(run)
    kept = {f"the {name}": each.path for name, each in finished.inputs.items()}
    path = output(out or run / "samples.csv", WRITABLE, kept)
    with terminal.warnings():
        posterior = finished.posterior()
    posterior.seed = seed
    rows = posterior.to_pandas(DRAWS if count is None else count)
    write(rows, path)
    terminal.say(f"{len(rows)} draws: {path}")
