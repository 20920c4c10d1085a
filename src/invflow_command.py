"""The `invflow` command: what must be set before PyTorch is imported, then `invflow.cli`.

It stands beside the package, as importing anything of the package imports PyTorch.
"""

from __future__ import annotations

import os

__all__ = ["main"]

#: How OpenMP's threads wait, which GNU's library reads when it is loaded: awake for some
#: microseconds, then asleep. Its own 300,000 turns starve other threads where programs share the
#: processors; asleep at once, a training alone takes twice as long (benchmarks/company.py).
SPINS = {"GOMP_SPINCOUNT": "1000"}
#: By any of these, the user has decided.
DECIDED = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"


def main() -> None:
    """Run the command line, with threads that soon sleep unless the user has set how they wait."""
    if not any(name in os.environ for name in DECIDED):
        os.environ.update(SPINS)
    from invflow.cli import main as run

    run()
