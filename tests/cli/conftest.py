from __future__ import annotations

import sys
from collections.abc import Callable, Generator

import pytest

from invflow import cli
from invflow.report.vae import posteriors

#: The exit status, what is printed, and what is said of errors.
Outcome = tuple[int, str, str]
Invflow = Callable[..., Outcome]


@pytest.fixture(autouse=True, scope="module")
def _few_draws() -> Generator[None]:
    """Draw less from the posteriors of images than reports show."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(posteriors, "DRAWS", {})
        patch.setattr(posteriors, "DRAWS_OF_SLOW_NETWORKS", 400)
        yield


@pytest.fixture
def invflow(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invflow:
    """Return what runs the command line as it is typed."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["invflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        code = exit.value.code
        out, err = capsys.readouterr()
        if isinstance(code, str):
            return 1, out, err + code
        return int(code or 0), out, err

    return run
