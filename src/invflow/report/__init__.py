"""The pages of runs: a part for each kind, all with the same `write`, `brief` and `compare`.

`write(run)` writes the run's `report.html`; `brief(run)` returns what a terminal shows, a title, a
head, rows and notes; `compare(runs)` returns the `Comparison` of several runs.
"""

from typing import TYPE_CHECKING

from invflow import _lazy
from invflow.report.page import require

if TYPE_CHECKING:
    from invflow.report import density as density
    from invflow.report import images as images
    from invflow.report import inference as inference
    from invflow.report import posterior as posterior
    from invflow.report import student as student
    from invflow.report import vae as vae

__all__ = ["require"]

if not TYPE_CHECKING:  # or no misspelt name would be found
    _KINDS = {
        "vae": "vae",
        "density": "density",
        "images": "images",
        "student": "density",
        "posterior": "vi",
        "inference": "simulation",
    }
    __getattr__, __dir__ = _lazy.attached(__name__, _KINDS)
