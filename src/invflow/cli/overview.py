"""What `invflow` shows alone: each job with a command to begin with."""

from __future__ import annotations

import invflow
from invflow.cli import streams, terminal

#: What each command is for, and one that runs (of `table.csv` and the like, on a file of yours).
JOBS = {
    "the posterior of a model, from Python or Stan": "posterior model.py --data data.json",
    "VAEs of images: a name, a folder or an .npz file": "vae digits --steps 500",
    "the density of a table, or of images": "density table.csv --auto",
    "a simulator's parameters, from simulations": (
        "infer simulations.csv --parameters a,b --observed observed.csv"
    ),
    "a fast sampler for a density that was learned": "distill runs/table",
}
USES = {
    "sample runs/digits": "draw from what was learned",
    "score runs/table table.csv": "log densities of images or rows",
    "classify runs/table new.csv kind": "probabilities of each value",
    "compare runs/digits runs/both": "results of runs side by side",
    "doctor": "versions, kernels and extras",
}


def show() -> None:
    """Show the jobs of the command line, on less than a screen of 24 lines."""
    terminal.say(f"invflow {invflow.__version__} learns")
    for job, line in JOBS.items():
        terminal.say(f"  {job}\n    $ invflow {line}")
    terminal.say("and then")
    width = max(map(len, USES))
    for line, use in USES.items():
        terminal.say(f"    $ invflow {line:<{width}}  {use}")
    terminal.say("Each run is a directory in runs/, with a report.html.")
    terminal.say("`invflow COMMAND --help` has the options of a command.")
    terminal.say("Documentation: https://invflow.github.io/invflow/")
    streams.check_shown()
