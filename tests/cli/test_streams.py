"""Whatever becomes of the standard streams, a command does its work and leaves its report."""

from __future__ import annotations

import io
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
import pytest

from invflow import cli
from invflow.cli import doctor
from invflow.cli.streams import Tolerant, tolerant
from invflow.density import experiment
from invflow.report import page
from tests.cli.conftest import Invflow
from tests.density.runs import config


class Failing(io.StringIO):
    """A stream that fails from the second line on."""

    error: Exception = BrokenPipeError("gone")

    def write(self, text: str) -> int:
        if self.getvalue():
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "full"), ValueError("closed")])
def test_once_a_stream_fails_nothing_more_is_shown(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = Failing()
    failing.error = error
    stream = Tolerant(failing)
    for line in ("first\n", "second\n", "third\n"):
        assert stream.write(line) == len(line)
        stream.flush()
    assert failing.getvalue() == "first\n"
    said = capsys.readouterr().err
    assert said == (f"invflow: no more can be shown: {error}\n" if error.args[0:1] == (28,) else "")


def test_characters_that_cannot_be_shown_are_replaced() -> None:
    for encoding, shown in {"ascii": b"gr?n ? ?", "cp1252": b"gr\xfcn ? ?", "utf-8": None}.items():
        inner = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
        stream = Tolerant(inner)
        assert (stream.encoding, stream.isatty()) == (encoding, False)
        stream.write("grün ━ \udcff")
        assert inner.buffer.getvalue() == (shown or "grün ━ ?".encode())


def test_no_stream_and_a_closed_one() -> None:
    closed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    closed.close()
    for stream in (Tolerant(None), Tolerant(closed)):
        assert not stream.isatty()
        assert stream.write("text") == 4
        stream.flush()
    with pytest.raises(OSError, match="fileno"):
        Tolerant(None).fileno()


def test_the_streams_are_given_back() -> None:
    before = sys.stdout, sys.stderr
    with tolerant():
        assert isinstance(sys.stdout, Tolerant)
    with pytest.raises(KeyError), tolerant():
        raise KeyError
    assert (sys.stdout, sys.stderr) == before


# A trained run, reported again by commands whose streams are broken.


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("streams")
    rows = np.random.default_rng(0).normal(size=(60, 2))
    pd.DataFrame(rows, columns=["größe $x$", "$b"]).to_csv(directory / "x.csv", index=False)
    experiment.train(config(directory / "x.csv", steps=5), directory / "runs" / "x")
    return directory


def _closed() -> TextIO | None:
    os.close(1)
    return None


def _broken() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    return open(1, "w", encoding="utf-8", closefd=False)


def _ascii() -> TextIO:
    return open(1, "w", encoding="ascii", closefd=False)


def _full() -> TextIO:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    return open(1, "w", encoding="utf-8", closefd=False)


def _nothing_at_all() -> TextIO | None:
    os.close(0)
    os.close(2)
    sys.stderr = None  # type: ignore[assignment]
    return _closed()


def _invflow(arguments: list[str], stdout: Callable[[], TextIO | None]) -> None:
    sys.argv = ["invflow", *arguments]
    sys.stdout = stdout()  # type: ignore[assignment]
    cli.main()


def _exit_status(arguments: list[Any], stdout: Callable[[], TextIO | None]) -> int | None:
    """Return that of a process of its own. Forked, so that nothing is imported anew."""
    process = multiprocessing.get_context("fork").Process(
        target=_invflow, args=(list(map(str, arguments)), stdout)
    )
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("stdout", [_closed, _broken, _ascii, _full, _nothing_at_all])
def test_commands_whatever_their_streams(
    finished: Path, stdout: Callable[[], TextIO | None], tmp_path: Path
) -> None:
    run = finished / "runs" / "x"
    (run / "report.html").unlink(missing_ok=True)
    again = ["density", finished / "x.csv", "--runs", finished / "runs", "--flow", "gaussian"]
    again += ["--steps", 5, "--batch-size", 64, "--learning-rate", 0.02]
    assert _exit_status(again, stdout) == 0
    assert "größe $x$" in (run / "report.html").read_text(encoding="utf-8")
    assert (
        _exit_status(["score", run, finished / "x.csv", "--out", tmp_path / "s.csv"], stdout) == 0
    )
    assert len(pd.read_csv(tmp_path / "s.csv")) == 60
    assert _exit_status(["sample", run, "-n", 7, "--out", tmp_path / "d.csv"], stdout) == 0
    assert len(pd.read_csv(tmp_path / "d.csv")) == 7
    # What goes wrong is still told by the exit status.
    assert _exit_status(["sample", finished / "nothing"], stdout) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [[], ["doctor"], ["--version"]])
def test_commands_that_only_show_fail_where_nothing_can_be_shown(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LINES", {"python": lambda: "3"})
    assert _exit_status(arguments, _full) == 1
    assert _exit_status(arguments, _ascii) == 0
    assert _exit_status(arguments, _broken) == 0  # as `invflow | head` leaves it


def test_a_pipe_that_is_closed_early(finished: Path) -> None:
    """As `invflow ... | head -1` leaves it, with all that Python does at its end."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "invflow", "sample", finished / "runs" / "x", "-n", "3"]
    found = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (found.returncode, found.stderr) == (0, "")
    assert len(pd.read_csv(finished / "runs" / "x" / "samples.csv")) == 3


def test_bytes_in_names_that_are_no_text(tmp_path: Path, invflow: Invflow) -> None:
    code, _, err = invflow("density", tmp_path / "gr\udcf6.csv", "--runs", tmp_path / "runs")
    assert (code, err.count("\n")) == (1, 0)
    assert "gr\\udcf6.csv' is not valid text: rename it" in err
    assert not (tmp_path / "runs").exists()
    page.write(tmp_path / "page.html", "gr\udcf6", "", [])
    assert "<h1>gr?</h1>" in (tmp_path / "page.html").read_text(encoding="utf-8")
