"""The `invflow` command."""

from __future__ import annotations

import sys

from invflow._undecided import UndecidedError
from invflow.cli.streams import tolerant


def main() -> None:
    """Run the command line; what goes wrong is one line on stderr and a non-zero exit status.

    What is shown on the way may get lost, as where a pipe is closed; the work continues.
    """
    with tolerant():
        _run()


def _run() -> None:
    if sys.argv[1:] == ["doctor"]:  # which runs without extras, and where one of them is broken
        from invflow.cli import doctor

        sys.exit(doctor.command())
    try:
        from invflow.cli.app import app
    except ImportError as error:
        sys.exit(
            f'invflow: the command line needs its extras: pip install "invflow[all]" ({error}); '
            "`invflow doctor` shows what is missing"
        )
    except Exception as error:
        sys.exit(
            f"invflow: the command line cannot start ({type(error).__name__}: {error}); "
            "`invflow doctor` shows what is broken"
        )
    try:
        app()
    except UndecidedError as error:
        sys.exit(f"invflow: {error}")
    except Exception as error:  # whatever it is, the user gets a line
        lines = str(error).splitlines() or [""]
        # Of errors that are meant for users the words are enough.
        ours = isinstance(error, ValueError | TypeError | OSError | ImportError) and lines[0]
        sys.exit(f"invflow: {lines[0] if ours else f'{type(error).__name__}: {lines[0]}'}")
