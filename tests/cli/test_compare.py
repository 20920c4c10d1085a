"""`invflow compare`, as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Invflow
from tests.report import runs
from tests.report.pages import headings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seeds of one run, a run with layers, and one on other images."""
    for name, settings in {
        "a": {},
        "b": {"seed": 1},
        "layers": {"network": "resnet-vae"},
        "other": {"digest": "b"},
    }.items():
        runs.write(runs.run(tmp_path / name, **settings))  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_and_two_tables(folder: Path, invflow: Invflow) -> None:
    code, out, err = invflow("compare", "a", "b", "layers")
    assert (code, err) == (0, "")
    assert "iaf: a, b" in out
    assert "compare.html" in out
    assert "unclear: Nothing is clearly ahead." in out
    text = (folder / "compare.html").read_text()
    assert '<section class="verdict unclear"' in text
    assert "layers, iaf" in text
    assert headings(text) == [
        "Results",
        "Averages over seeds",
        "Settings that differ",
        "Training",
        "Samples",
    ]
    assert text.count("<svg") == 2 + 6


def test_one_run_is_fine(folder: Path, invflow: Invflow) -> None:
    code, out, _ = invflow("compare", "a", "--out", "pages/one.html")
    assert code == 0
    assert "over seeds" not in out
    text = (folder / "pages" / "one.html").read_text()
    assert headings(text) == ["Results", "Training", "Samples"]
    assert not (folder / "compare.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a", "nowhere"), "nowhere does not exist"),
        (("a", "half"), "half holds an unfinished run"),
        (("a", "other"), "a and other are runs on different images and cannot be compared"),
        (("a", "b", "./a"), "runs must differ, got a twice"),
        (("a", "--out", "a.txt"), "--out must end in .html, got a.txt"),
        (
            ("a", "--out", "b/report.html"),
            "--out must not overwrite a part of a run, b/report.html",
        ),
    ],
)
def test_errors_are_one_line(
    folder: Path, invflow: Invflow, arguments: tuple[str, ...], message: str
) -> None:
    runs.write(runs.run(folder / "half"))
    (folder / "half" / "results.json").unlink()
    code, out, err = invflow("compare", *arguments)
    assert code != 0
    assert message in err
    assert not out
    assert err.count("\n") <= 1
    assert not list(folder.glob("*.html"))


def test_help_reads_well(invflow: Invflow) -> None:
    code, out, err = invflow("compare", "--help")
    assert (code, err) == (0, "")
    assert "Directories of finished runs" in out
    assert "compare.html" in out
