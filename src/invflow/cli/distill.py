"""`invflow distill`; its runs are sampled and scored as those of `invflow density`."""

from invflow.cli.density import classify, sample, score

__all__ = ["EXAMPLES", "HELP", "classify", "sample", "score"]

HELP = """Teach a learned density to a flow that is fast to sample, and report how close it comes.

Writes RUNS/NAME/ with the student, checkpoints, metrics and report.html. `invflow sample` and
`invflow score` treat the student like its teacher. The same command resumes a run that was stopped.
"""
EXAMPLES = (
    "distill runs/table --steps 500",
    "distill runs/table --name small --flow realnvp --transforms 2 --steps 500",
)
