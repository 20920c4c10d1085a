"""The `invflow` command: settings that must precede the import of PyTorch, then `invflow.cli`.

It is outside of the package, because importing anything from the package imports PyTorch.
"""

from __future__ import annotations

import os

__all__ = ["main"]

#: How OpenMP's threads wait (GNU's library reads this when it is loaded): awake for some
#: microseconds, then asleep. The default of 300,000 turns starves other threads if programs share
# : the processors; sleeping at once makes a training alone take twice as long
# (benchmarks/company.py).
SPINS = {"GOMP_SPINCOUNT": "1000"}
#: If any of these is set, the user has decided.
DECIDED = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"


def main() -> None:
    """Run the command line, with threads that soon sleep unless the user decided otherwise."""
    if not any(name in os.environ for name in DECIDED):
        os.environ.update(SPINS)
    from invflow.cli import main as run

    run()
