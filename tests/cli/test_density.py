"""`invflow density`, `sample` and `score` as a user meets them."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from invflow.cli import terminal
from invflow.cli.app import app
from invflow.density import run as runs
from invflow.density.config import Config
from tests.cli.conftest import Invflow
from tests.density.runs import mixed, written

SMALL = ("--flow", "gaussian", "--steps", 60, "--batch-size", 64, "--learning-rate", 0.02)
COLUMNS = ("--conditional-on", "colour", "--kinds", "share=0:1")


def _trained(directory: Path, frame: pd.DataFrame, *arguments: object) -> Path:
    frame.to_parquet(directory / "table.parquet", index=False)
    command = ["density", directory / "table.parquet", "--runs", directory, *SMALL, *arguments]
    app([str(each) for each in command], standalone_mode=False)
    return directory / "table"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained(tmp_path_factory.mktemp("runs"), mixed(), *COLUMNS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two columns, one with gaps."""
    frame = mixed(200)[["size", "count"]]
    frame.loc[::9, "size"] = np.nan
    return _trained(tmp_path_factory.mktemp("runs"), frame, "--missing", "marginalise")


def test_options_become_settings(finished: Path) -> None:
    found = runs.load(finished).config
    assert found == Config(
        data=str(finished.with_suffix(".parquet")),
        flow="gaussian",
        kinds={"share": (0, 1)},
        conditional_on=("colour",),
        steps=60,
        batch_size=64,
        learning_rate=0.02,
    )
    assert (finished / "report.html").is_file()


def test_results_are_shown(invflow: Invflow, finished: Path) -> None:
    file = finished.with_suffix(".parquet")
    code, out, err = invflow("density", file, "--runs", finished.parent, *SMALL, *COLUMNS)
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    assert "already finished" in words
    assert "Results on 30 test rows" in words
    assert "report.html" in words


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_samples_have_the_columns_and_types_of_the_table(
    invflow: Invflow, finished: Path, tmp_path: Path, suffix: str
) -> None:
    given = written(mixed(9, seed=1)[["colour"]], tmp_path / "given.csv")
    out = tmp_path / f"samples{suffix}"
    code, said, _ = invflow("sample", finished, "--given", given, "--out", out)
    assert code == 0
    assert said.startswith("9 rows")
    frame = mixed()
    if suffix == ".parquet":
        drawn = pd.read_parquet(out)
        types = pd.read_parquet(finished.with_suffix(".parquet")).dtypes
        assert drawn.dtypes.to_dict() == types.to_dict()
    else:
        drawn = pd.read_csv(out, sep="\t" if suffix == ".tsv" else ",")
        assert drawn.dtypes.astype(str).to_dict() == {
            "size": "float64",
            "colour": str(pd.read_csv(given)["colour"].dtype),
            "count": "int64",
            "share": "float64",
            "new": "bool",
        }
    assert list(drawn.columns) == list(frame.columns)
    assert list(drawn["colour"]) == list(mixed(9, seed=1)["colour"])
    assert drawn["share"].between(0, 1, inclusive="neither").all()
    # What is drawn can be scored.
    assert invflow("score", finished, out, "--out", tmp_path / "scores.csv")[0] == 0


def test_one_context_serves_many_draws(invflow: Invflow, finished: Path, tmp_path: Path) -> None:
    given = written(pd.DataFrame({"colour": ["red"]}), tmp_path / "given.csv")
    out = tmp_path / "samples.csv"
    for arguments, count in (((), 1000), (("-n", 7), 7)):
        assert invflow("sample", finished, "--given", given, *arguments, "--out", out)[0] == 0
        assert list(pd.read_csv(out)["colour"]) == ["red"] * count
    first = out.read_bytes()
    invflow("sample", finished, "--given", given, "-n", 7, "--out", out)
    assert out.read_bytes() == first
    invflow("sample", finished, "--given", given, "-n", 7, "--out", out, "--seed", 2**31)
    assert out.read_bytes() != first


def test_scores_are_those_of_the_estimator(
    invflow: Invflow, finished: Path, tmp_path: Path
) -> None:
    test = mixed(40, seed=3)
    file = written(test, tmp_path / "test.csv")
    assert invflow("score", finished, file)[0] == 0
    found = pd.read_csv(finished / "scores.csv")
    density = runs.load(finished).density
    assert list(found.columns) == [*test.columns, "log_density", "p_value"]
    pd.testing.assert_frame_equal(found[list(test.columns)], pd.read_csv(file))
    np.testing.assert_allclose(found["log_density"], density.score_samples(test), rtol=1e-6)
    np.testing.assert_allclose(found["p_value"], density.anomaly_scores(test))
    test.loc[3, "share"] = 1.5
    code, out, _ = invflow("score", finished, written(test, file), "--out", tmp_path / "s.parquet")
    assert code == 0
    assert "rows of density zero" in out
    assert pd.read_parquet(tmp_path / "s.parquet")["log_density"][3] == -np.inf


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet"])
@pytest.mark.parametrize("streamed", [False, True])
def test_scores_are_beside_the_rows_in_their_types(
    invflow: Invflow,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    streamed: bool,
) -> None:
    table = mixed(40, seed=3).astype({"size": np.float32, "count": np.int16})[
        ["new", "count", "share", "size", "colour"]
    ]
    table.to_parquet(tmp_path / "t.parquet", row_group_size=7)
    if streamed:
        monkeypatch.setattr(import_module("invflow.density.table.files.read"), "STREAMED_BYTES", 0)
    out = tmp_path / f"scores{suffix}"
    assert invflow("score", finished, tmp_path / "t.parquet", "--out", out)[0] == 0
    rows = pd.read_parquet(tmp_path / "t.parquet")
    if suffix == ".parquet":
        found = pd.read_parquet(out)
        assert found.dtypes.to_dict() == {**rows.dtypes, "log_density": float, "p_value": float}
        assert parquet.ParquetFile(out).num_row_groups == (6 if streamed else 1)
    else:
        found = pd.read_csv(out, sep="\t" if suffix == ".tsv" else ",")
        found = found.astype(
            {"size": np.float32, "count": np.int16, "colour": rows["colour"].dtype}
        )
    pd.testing.assert_frame_equal(found[list(rows.columns)], rows)
    assert list(found.columns) == [*rows.columns, "log_density", "p_value"]
    expected = runs.load(finished).density.score_samples(table[list(mixed(2))])
    np.testing.assert_allclose(found["log_density"], expected, rtol=1e-5)


@pytest.mark.parametrize("streamed", [False, True])
def test_columns_that_the_density_does_not_know_are_kept(
    invflow: Invflow,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    streamed: bool,
) -> None:
    test = mixed(20, seed=3)
    ids = pd.Series([f"row {i}" for i in range(20)])
    more = pd.concat([ids.rename("id"), test.assign(score=np.arange(20.0))], axis=1)
    more.to_parquet(tmp_path / "t.parquet", row_group_size=7, index=False)
    if streamed:
        monkeypatch.setattr(import_module("invflow.density.table.files.read"), "STREAMED_BYTES", 0)
    out = tmp_path / "s.parquet"
    assert invflow("score", finished, tmp_path / "t.parquet", "--out", out)[0] == 0
    found = pd.read_parquet(out)
    pd.testing.assert_frame_equal(found[list(more)], pd.read_parquet(tmp_path / "t.parquet"))
    expected = runs.load(finished).density.score_samples(test)
    np.testing.assert_allclose(found["log_density"], expected, rtol=1e-5)


def test_whole_numbers_beside_gaps_stay_so(invflow: Invflow, plain: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size,count\n0.5,2\n0.25,\n1.5,3\n")
    for command in (("score", plain, tmp_path / "t.csv"), ("sample", plain, "--fill", "t.csv")):
        rest = [tmp_path / "t.csv" if each == "t.csv" else each for each in command]
        assert invflow(*rest, "--out", tmp_path / "out.csv")[0] == 0
        lines = (tmp_path / "out.csv").read_text().splitlines()
        assert [line.split(",")[1] for line in (lines[1], lines[3])] == ["2", "3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score", "RUN", "FILE", "--out", "FILE"), "the table itself"),
        (("score", "RUN", "FILE", "--out", "SAME"), "the table itself"),
        (("score", "RUN", "FILE", "--out", "TABLE"), "the table of the run"),
        (("sample", "RUN", "--given", "FILE", "--out", "FILE"), "--given"),
        (("sample", "RUN", "--fill", "FILE", "--out", "SAME"), "--fill"),
        (("sample", "RUN", "--given", "FILE", "--out", "TABLE"), "the table of the run"),
        (("sample", "RUN", "--fill", "SAMPLES"), "--fill"),
    ],
)
def test_what_a_command_reads_is_not_written_over(
    invflow: Invflow, finished: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "other").mkdir()
    places = {
        "RUN": finished,
        "TABLE": finished.with_suffix(".parquet"),
        "FILE": written(mixed(20, seed=3), tmp_path / "t.csv"),
        "SAME": tmp_path / "other" / ".." / "t.csv",
        "SAMPLES": finished / "samples.csv",
    }
    before = {name: path.read_bytes() for name, path in places.items() if path.is_file()}
    code, out, err = invflow(*(places.get(each, each) for each in arguments))
    assert code != 0
    assert f"--out must not overwrite {message}, " in err
    assert not out
    assert err.count("\n") == 0
    assert {name: places[name].read_bytes() for name in before} == before


def test_columns_without_names_are_all_known(invflow: Invflow, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    np.save(tmp_path / "rows.npy", rows)
    assert invflow("density", tmp_path / "rows.npy", "--runs", tmp_path, *SMALL)[0] == 0
    np.save(tmp_path / "wide.npy", np.c_[rows, rows[:, 0]])
    code, _, err = invflow("score", tmp_path / "rows", tmp_path / "wide.npy")
    assert code != 0
    assert "has 3 columns without names; the density has 2" in err
    np.save(tmp_path / "same.npy", rows[:5])
    assert invflow("score", tmp_path / "rows", tmp_path / "same.npy")[0] == 0


def test_a_column_named_as_scores_are(invflow: Invflow, tmp_path: Path) -> None:
    frame = mixed(60)[["size", "share"]].rename(columns={"size": "log_density"})
    run = _trained(tmp_path, frame)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, _, err = invflow("score", run, tmp_path / "table.parquet")
    assert code != 0
    assert "already has a column 'log_density', the name of a score" in err
    # Nothing is scored for nothing: that it lacks a column is not found out.
    written(frame[["log_density"]], tmp_path / "part.csv")
    assert "the name of a score" in invflow("score", run, tmp_path / "part.csv")[2]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_gaps_of_a_file_are_filled(invflow: Invflow, plain: Path, tmp_path: Path) -> None:
    frame = mixed(12, seed=2)[["size", "count"]]
    frame.loc[3:5, "size"] = np.nan
    file = written(frame, tmp_path / "gaps.csv")
    assert invflow("sample", plain, "--fill", file, "-n", 2)[0] == 0
    filled = pd.read_csv(plain / "samples.csv")
    assert len(filled) == 24
    assert not filled.isna().any().any()
    there = frame.notna().all(axis=1)
    for half in (filled[:12], filled[12:].reset_index(drop=True)):
        np.testing.assert_allclose(half[there], frame[there])
    assert (filled["size"][3:6].to_numpy() != filled["size"][15:18].to_numpy()).all()
    guesses: list[pd.DataFrame] = []
    for seed in (0, 1):
        code, _, err = invflow("sample", plain, "--fill", file, "--expected", "--seed", seed)
        assert code == 0, err
        guesses.append(pd.read_csv(plain / "samples.csv"))
    np.testing.assert_allclose(guesses[0][there], frame[there])
    assert not guesses[0].isna().any().any()
    # Both are the mean, but for the noise of few candidates.
    np.testing.assert_allclose(guesses[0]["size"], guesses[1]["size"], atol=0.6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample",), "given must have the columns 'colour', got None"),
        (
            ("sample", "--posterior", "iaf"),
            "--posterior does not apply to a run of",
        ),
        (
            ("sample", "--out", "a.npz"),
            "--out must end in .csv, .csv.gz, .tsv or .parquet, got a.npz",
        ),
        (("sample", "--fill", "TABLE"), "trained with missing set to marginalise"),
        (
            ("sample", "--fill", "TABLE", "--given", "TABLE"),
            "--given cannot be combined with --fill",
        ),
        (("sample", "--expected"), "--expected needs --fill, and cannot be combined with --count"),
        (
            ("sample", "--given", "OTHER"),
            "given names the column 'z', which the table",
        ),
        (("sample", "--given", "TABLE", "-n", 7), "given must have one row or 7, got 300"),
        (
            ("score", "TABLE", "--posterior", "iaf"),
            "--posterior does not apply to a run of",
        ),
        (
            ("score", "TABLE", "--samples", 5),
            "--samples does not apply to a run of",
        ),
        (("score", "TABLE", "--seed", 0), "--seed does not apply to a run of"),
        (("score", "TABLE", "--out", "a.npz"), "--out must end in"),
        (("score", "OTHER"), "the table does not have the column 'colour'"),
        (("score", "FEWER"), "the table does not have the column 'count'"),
        (("score", "MAUVE"), "column 'colour' has the category 'mauve'"),
        (("score", "nowhere.csv"), "nowhere.csv does not exist"),
    ],
)
def test_what_does_not_suit_the_run_is_one_line(
    invflow: Invflow, finished: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    frame = mixed(20)
    files = {
        "TABLE": finished.with_suffix(".parquet"),
        "OTHER": written(frame.rename(columns={"colour": "z"}), tmp_path / "other.csv"),
        "FEWER": written(frame.drop(columns="count"), tmp_path / "fewer.csv"),
        "MAUVE": written(frame.assign(colour="mauve"), tmp_path / "mauve.csv"),
    }
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    command, *rest = (files.get(str(each), each) for each in arguments)
    code, out, err = invflow(command, finished, *rest)
    assert code != 0
    assert message in err
    assert not out
    assert err.count("\n") == 0
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_options_of_densities_are_none_of_other_runs(invflow: Invflow, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"format": 1, "invflow": "0", "model": "posterior-run", "config": {}}'
    )
    code, _, err = invflow("sample", tmp_path, "--given", "a.csv")
    assert code != 0
    assert "--given does not apply to a run of `invflow posterior`" in err


def test_what_is_no_run_is_not_sampled(invflow: Invflow, finished: Path) -> None:
    for arguments in (("sample", finished / "model"), ("score", finished / "model", "a.csv")):
        code, _, err = invflow(*arguments)
        assert code != 0
        assert "holds a 'table-density', not a run" in err


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["size", "share"]].copy()


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.csv", lambda path: None, "a.csv does not exist"),
        ("a.csv", lambda path: path.touch(), "a.csv is empty"),
        ("a.csv", lambda path: path.write_text("a,b\n"), "a.csv has no rows"),
        ("a.csv", lambda path: _whole(mixed(1)).to_csv(path, index=False), "has 1 row(s)"),
        ("a.csv", lambda path: path.mkdir(), "a.csv has no image files"),
        ("a.txt", lambda path: path.touch(), "a.txt must end in .csv"),
        ("a.parquet", lambda path: path.write_bytes(b"PAR1"), "is not a complete Parquet file"),
        (
            "a.npz",
            lambda path: path.write_bytes(b"PK\x03\x04"),
            "a.npz cannot be read: the .npz file is truncated",
        ),
        ("a.csv", lambda path: path.write_text("a,a\n1,2\n"), "two columns of the table are"),
        ("a.csv", lambda path: path.write_text("1.5,2.5\n3,4\n"), "has 2 row(s)"),
    ],
)
def test_bad_tables_are_one_line_and_harm_nothing(
    invflow: Invflow,
    finished: Path,
    tmp_path: Path,
    name: str,
    make: Callable[[Path], None],
    message: str,
) -> None:
    make(tmp_path / name)
    before = (finished / "results.json").read_bytes()
    for where in (("--runs", tmp_path / "runs"), ("--runs", finished.parent, "--name", "table")):
        code, out, err = invflow("density", tmp_path / name, *SMALL, *where, "--overwrite")
        assert code != 0
        assert message in err
        assert not out
        assert err.count("\n") == 0
    assert not (tmp_path / "runs").exists()
    assert (finished / "results.json").read_bytes() == before


def test_everything_to_decide_is_said_at_once(invflow: Invflow, tmp_path: Path) -> None:
    frame = mixed(40)[["size", "count"]].assign(
        row=range(40), share=1.0, empty=np.nan, copy=lambda each: each["size"]
    )
    frame.loc[:2, "count"] = -999
    frame["where"] = [f"house {i}" for i in range(40)]
    frame["far"] = np.where(np.arange(40) < 2, np.inf, np.arange(40) / 4)
    frame["when"] = "01/02/2024"
    frame.loc[5:, "when"] = "02/03/2024"
    frame.to_csv(tmp_path / "a.csv", index=False)
    code, out, err = invflow("density", tmp_path / "a.csv", "--runs", tmp_path / "runs")
    assert code != 0
    assert not out
    assert err.splitlines() == [
        f"invflow: {tmp_path / 'a.csv'} needs decisions:",
        "  --na -999: '-999' looks like a missing value, in count (3)",
        "  --na inf: infinite values in far (2)",
        "  --drop row: counts the rows",
        "  --drop share: the same value in all rows",
        "  --drop empty: no values",
        "  --drop where: text whose values hardly repeat, such as 'house 0'",
        "  --drop copy: a copy of size",
        "  --missing marginalise: missing values in count (3 of 40), far (2 of 40)",
        "  --dates when=%m/%d/%Y or --dates when=%d/%m/%Y: when has dates whose day and month may "
        "be either",
    ]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--flow", "fancy"), "flow must be one of 'coupling-nsf'"),
        (("--hidden-features", 8), "the flow 'gaussian' does not take 'hidden_features'"),
        (("--transforms", 2), "the flow 'gaussian' does not take 'transforms'"),
        (("--steps", 0), "--steps must be greater than 0, got 0"),
        (
            ("--hidden-features", "8,0"),
            "--hidden-features must be greater than 0",
        ),
        (("--hidden-features", "8,x"), "--hidden-features must be a valid integer"),
        (("--seed", 2**32), "--seed must be less than"),
        (("--accelerator", "warp"), "accelerator 'warp' cannot be used"),
        (("--name", "../a"), "--name must be the name of a directory"),
        (("--conditional-on", "z"), "conditional_on names the column 'z', which the table"),
        (("--test-fraction", 0.01), "test_fraction 0.01 leaves 1 of 40 rows"),
        (("--kinds", "z=integer"), "kinds names the column 'z'"),
        (("--kinds", "size=integer"), "column 'size'"),
        (("--kinds", "size=small<large"), "column 'size' has the value"),
        (("--kinds", "size"), "--kinds must be COLUMN=KIND, got 'size'"),
        (
            ("--kinds", "size=a:b"),
            "--kinds: a kind must be integer, continuous, categorical, ordinal, date",
        ),
        (("--kinds", "size=:"), "--kinds: a kind must be"),
        (("--kinds", "size=0:1"), "column 'size' has values outside its bounds"),
        (("--kinds", "size=integer:0:1"), "column 'size' has values outside its bounds"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    invflow: Invflow, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    file = written(_whole(mixed(40)), tmp_path / "a.csv")
    code, out, err = invflow("density", file, "--runs", tmp_path / "runs", *SMALL, *arguments)
    assert code != 0
    assert message in err
    assert not out
    assert err.count("\n") == 0
    assert not (tmp_path / "runs").exists()


def test_warnings_are_lines_too(invflow: Invflow, tmp_path: Path) -> None:
    frame = _whole(mixed(200))
    frame.loc[:99, "size"] = 0.123456789012
    file = written(frame, tmp_path / "a.csv")
    code, _, err = invflow("density", file, "--runs", tmp_path, *SMALL)
    assert code == 0
    lines = err.splitlines()
    assert lines
    assert all(line.startswith("invflow: column") for line in lines)


def test_one_column(invflow: Invflow, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, a=mixed(40)["size"].to_numpy())
    nsf = ("--flow", "nsf", "--hidden-features", "4,4", "--transforms", 1, "--steps", 20)
    assert invflow("density", file, "--runs", tmp_path, *nsf)[0] == 0
    assert invflow("sample", tmp_path / "a", "-n", 3)[0] == 0
    assert pd.read_csv(tmp_path / "a" / "samples.csv").shape == (3, 1)


def test_runs_are_named_after_their_tables(invflow: Invflow, tmp_path: Path) -> None:
    names = {".hidden.csv": ".hidden", "2024.01.csv": "2024.01", "a.b.CSV.GZ": "a.b"}
    for file, run in names.items():
        _whole(mixed(40)).to_csv(tmp_path / file, index=False)
        steps = ("--flow", "gaussian", "--steps", 1)
        assert invflow("density", tmp_path / file, "--runs", tmp_path / "runs", *steps)[0] == 0
        assert (tmp_path / "runs" / run / "report.html").is_file()


def test_what_is_shown_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table("of [bold]a[/bold]", ("", "x[red]"), [("[b]y[/b]", "[/]")])
    shown = capsys.readouterr().out
    for text in ("of [bold]a[/bold]", "x[red]", "[b]y[/b]", "[/]"):
        assert text in shown


def test_a_table_as_it_lies_about(invflow: Invflow, tmp_path: Path) -> None:
    """Read, sampled, filled and scored by the same rules, and written in the same format."""
    random = np.random.default_rng(0)
    lines = [
        f"{i};{i % 28 + 1:02}/02/2024;{random.normal():.2f};{'-200' if i < 4 else i % 7};x{i}"
        for i in range(1, 61)
    ]
    text = "\n".join(['"";day;größe;n;note', *lines]).replace(".", ",") + "\n"
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
    run = tmp_path / "runs" / "t"
    code, _, err = invflow(
        "density", tmp_path / "t.csv", "--auto", *SMALL, "--runs", tmp_path / "runs"
    )
    assert code == 0
    assert err.splitlines()[:3] == [
        f"invflow: {tmp_path / 't.csv'}: {line}"
        for line in (
            "read as: semicolons, decimal commas, cp1252, index column left out, day as %d/%m/%Y",
            "--na -200: '-200' looks like a missing value, in n (3)",
            "--drop note: text whose values hardly repeat, such as 'x1'",
        )
    ]
    assert "Detected and decided: read as: semicolons" in (run / "report.html").read_text("utf-8")
    assert invflow("sample", run, "--count", "3")[0] == 0
    drawn = (run / "samples.csv").read_bytes().decode("cp1252").splitlines()
    assert drawn[0] == ";day;größe;n"
    for number, line in enumerate(drawn[1:], 1):
        assert re.fullmatch(rf"{number};\d\d/\d\d/2024;-?\d+,\d+;-?\d+", line)
    gaps = '"";day;größe;n\n1;;0,5;3\n2;05/02/2024;;-200\n'
    (tmp_path / "gaps.csv").write_bytes(gaps.encode("cp1252"))
    assert invflow("sample", run, "--fill", tmp_path / "gaps.csv")[0] == 0
    filled = (run / "samples.csv").read_bytes().decode("cp1252").splitlines()
    assert re.fullmatch(r"1;\d\d/\d\d/2024;0,50;3", filled[1])
    assert re.fullmatch(r"2;05/02/2024;-?\d+,\d+;-?\d", filled[2])
    assert invflow("score", run, tmp_path / "t.csv", "--out", tmp_path / "s.tsv")[0] == 0
    scored = (tmp_path / "s.tsv").read_bytes().decode("cp1252").splitlines()
    assert scored[0] == "\tday\tgröße\tn\tnote\tlog_density\tp_value"
    assert scored[1].startswith("1\t02/02/2024\t0,13\t-200\tx1\t-")
    assert invflow("score", run, run / "samples.csv")[0] == 0
