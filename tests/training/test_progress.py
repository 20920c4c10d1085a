"""Progress: a bar in a terminal, plain lines in a log, nothing where nothing can be shown."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from invflow.training import progress as module
from invflow.training.progress import progress
from tests.helpers import fast

SCRIPT = textwrap.dedent(
    """
    import warnings
    from invflow.training.progress import progress

    warnings.simplefilter("error")
    with progress("untouched", 9):
        pass
    with progress("training", 9) as move:
        for done in (3, 6, 9):
            move(done, f"loss {done / 10} ±")
    """
)


def test_lines_in_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL", 1e-9)
    with progress("training", 9) as move:
        for done in (3, 6, 9):  # a resumed run starts late
            move(done, f"loss {done}")
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert shown.out == ""
    assert [line.partition(" [")[0] for line in lines] == [
        "training:  67% 6/9",
        "training: 100% 9/9",
    ]
    assert "loss 9" in lines[-1]
    assert "\r" not in shown.err


def test_what_is_soon_done_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training", 9) as move:
        for done in range(10):
            move(done, "loss")
    assert capsys.readouterr().err == ""


def test_stages_of_unknown_length(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of steps starts over at each stage."""
    monkeypatch.setattr(module, "INTERVAL", 1e-9)
    with progress("fitting", None) as move:
        for stage in ("first", "second"):
            for done in (1, 7):
                move(done, stage)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" [")[0] for line in lines] == [
        "fitting: 7 steps",
        "fitting: 7 steps",
    ]
    assert ["first" in line for line in lines] == [True, False]


@pytest.mark.parametrize("closed", fast(["2>&-"], ["2>&-", "2>/dev/full"]))
def test_a_stream_that_cannot_be_written_to_is_ignored(tmp_path: Path, closed: str) -> None:
    path = tmp_path / "script.py"
    path.write_text(f"from invflow.training import progress as m\nm.INTERVAL = 1e-9\n{SCRIPT}")
    command = f'"{sys.executable}" "{path}" {closed}'
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE)
    assert done.returncode in (0, 120)  # 120: Python cannot flush a full stream at its end
    assert done.stdout == b""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
@pytest.mark.parametrize("size", [(40, 90), (0, 0)])
def test_a_bar_in_a_terminal_of_known_size(tmp_path: Path, size: tuple[int, int]) -> None:
    import fcntl
    import struct
    import termios

    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, str(path)], stderr=theirs, env=environment)
    os.close(theirs)
    assert done.returncode == 0
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert b"untouched" not in shown
    assert (b"9/9" in shown) == all(size)
    if all(size):
        assert b"\r" in shown
        assert b"loss 0.9 \\xb1" in shown


@pytest.mark.parametrize(("widgets", "wanted"), [(True, "tqdm.auto"), (False, "tqdm")])
def test_a_notebook_without_widgets_has_a_bar_of_text(
    widgets: bool, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first import of tqdm.auto there warns, and names a folder of the machine."""
    asked: list[str] = []
    monkeypatch.setattr(module, "find_spec", lambda name: widgets if name == "ipywidgets" else None)
    monkeypatch.setattr(module, "required", lambda name, extra: asked.append(name) or _Nothing)
    with progress("training", 9):
        pass
    assert asked == [wanted]


class _Nothing:
    tqdm = None
