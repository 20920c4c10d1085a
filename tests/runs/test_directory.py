"""Directories of runs: only a run of the same kind is overwritten, and nothing else is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from invflow import _saving
from invflow.density import run as density
from invflow.distillation import run as student
from invflow.runs import directory as runs_directory
from invflow.runs import own
from invflow.runs.directory import Begun, Input, Kind
from invflow.vae import run as vae
from invflow.vae.config import Format
from invflow.vi import run as posterior

#: Begins a run: in a directory, with a seed, overwriting or not.
Begin = Callable[[Path, int, bool], None]

#: What a kill leaves half written in a run.
HALF_WRITTEN = (
    ".metrics.csv.abcd1234.csv",
    "checkpoints/.step-00000002.safetensors.4f0a12bc.safetensors",
)
FORMAT = Format(shape=(1, 2, 2), levels=2, likelihood="bernoulli", digest="")


def _kind(kind: Kind[Any], settings: dict[str, Any], reads: str, facts: Any = None) -> Begin:
    def begin(directory: Path, seed: int, overwrite: bool) -> None:
        config = kind.config(**settings, seed=seed)
        inputs = {reads: Input(Path(settings[reads]) if reads in settings else None, "0")}
        kind.prepare(directory, Begun(config, inputs, facts or {}), overwrite=overwrite)

    return begin


#: What begins a run, by kind.
KINDS: dict[str, Begin] = {
    "VAE run": _kind(vae.KIND, {}, "data", {"images": FORMAT.model_dump(mode="json")}),
    "density run": _kind(density.KIND, {"data": "t.csv"}, "data"),
    "distillation run": _kind(student.KIND, {"teacher": "t"}, "teacher"),
    "posterior run": _kind(posterior.KIND, {"model": "m.py"}, "model"),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def _contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def _seed(directory: Path) -> int:
    return json.loads((directory / "config.json").read_text())["config"]["settings"]["seed"]


def _without_half_written(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {name: text for name, text in contents.items() if name not in HALF_WRITTEN}


@pytest.fixture
def run(kind: str, tmp_path: Path) -> Path:
    """Return the directory of a run with the usual files."""
    directory = tmp_path / "runs" / "run"
    KINDS[kind](directory, 0, False)
    for name in (
        "checkpoints/step-00000001.safetensors",
        "checkpoints/mode-0/step-00000001.safetensors",
        "model/config.json",
        "events.out.tfevents.1.host.2.0",
        *HALF_WRITTEN,
        ".samples.npz.abcd1234.npz",
        "report.html",
        "samples.npz",
        "scores.csv",
        ".DS_Store",
    ):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("old")
    return directory


def test_the_same_run_goes_on(kind: str, run: Path) -> None:
    before = _contents(run)
    KINDS[kind](run, 0, False)
    assert _contents(run) == _without_half_written(before)


def test_what_others_left_hidden_stays(kind: str, run: Path) -> None:
    """An editor's files have names like temporary ones, without the random part."""
    other = run / ".config.json.swp"
    other.write_text("mine")
    KINDS[kind](run, 0, False)
    assert other.read_text() == "mine"
    with pytest.raises(FileExistsError, match=r"not part of the run, \.config\.json\.swp"):
        KINDS[kind](run, 0, True)


def test_another_run_is_refused_unless_it_is_overwritten(kind: str, run: Path) -> None:
    before = _contents(run)
    with pytest.raises(FileExistsError, match="or replace it with --overwrite"):
        KINDS[kind](run, 1, False)
    assert _contents(run) == before
    KINDS[kind](run, 1, True)
    assert list(_contents(run)) == ["config.json"]
    assert _seed(run) == 1
    assert [path.name for path in run.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("other", KINDS)
def test_runs_of_other_kinds_are_left_alone(kind: str, other: str, run: Path) -> None:
    before = _contents(run)
    if other != kind:
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match=f"exists and is not a {other}; choose"):
                KINDS[other](run, 0, overwrite)
    assert _contents(run) == before


FOREIGN: dict[str, Callable[[Path], object]] = {
    "another program's": lambda path: (path / "config.json").write_text('{"font": "Times"}'),
    "a model": lambda path: (path / "config.json").write_text(
        '{"format": 1, "model": "iaf", "config": {"features": 2}}'
    ),
    "an earlier posterior": lambda path: (path / "config.json").write_text(
        '{"invflow": "0.1", "posterior": {}}'
    ),
    "empty": lambda path: (path / "config.json").write_text(""),
    "a directory": lambda path: (path / "config.json").mkdir(),
    "none": lambda path: (path / "thesis.tex").write_text("years of work"),
}


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_directories_are_left_alone(
    kind: str, foreign: str, overwrite: bool, tmp_path: Path
) -> None:
    FOREIGN[foreign](tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"never seen again")
    before = _contents(tmp_path)
    with pytest.raises(FileExistsError, match=f"exists and is not a {kind}"):
        KINDS[kind](tmp_path, 0, overwrite)
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_empty_directories_are_used(kind: str, overwrite: bool, tmp_path: Path) -> None:
    KINDS[kind](tmp_path, 0, overwrite)
    assert list(_contents(tmp_path)) == ["config.json"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_are_left_alone(kind: str, overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(FileExistsError, match="exists and is not a"):
        KINDS[kind](tmp_path / "run", 0, overwrite)
    assert (tmp_path / "run").read_text() == "a file"


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "model/notes.txt", "checkpoints/notes/step-1.safetensors", ".git/HEAD", "a.png"],
)
def test_files_beside_a_run_are_not_lost(kind: str, name: str, run: Path) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_text("years of work")
    before = _contents(run)
    with pytest.raises(FileExistsError, match=f"not part of the run, {name};"):
        KINDS[kind](run, 1, True)
    assert _contents(run) == before
    KINDS[kind](run, 0, False)


def test_links_are_followed_to_runs_and_to_nothing_else(
    kind: str, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(run)
    (run / "data").symlink_to(tmp_path)
    with pytest.raises(FileExistsError, match="not part of the run, data;"):
        KINDS[kind](tmp_path / "link", 1, True)
    (run / "data").unlink()
    KINDS[kind](tmp_path / "link", 1, True)
    assert (tmp_path / "link").is_symlink()
    assert _seed(run) == 1
    (tmp_path / "dangling").symlink_to(tmp_path / "unmounted" / "run")
    with pytest.raises(FileExistsError, match="is a broken link"):
        KINDS[kind](tmp_path / "dangling", 0, False)
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.parametrize("path", [".", "..", "../run", "../../runs"])
def test_the_current_directory_is_not_overwritten(
    kind: str, path: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run / "checkpoints" if path == ".." else run)
    before = _contents(run.parent)
    with pytest.raises(FileExistsError, match=r"current directory|is not a"):
        KINDS[kind](Path(path), 1, True)
    assert _contents(run.parent) == before


def test_the_root_is_left_alone(kind: str) -> None:
    with pytest.raises(FileExistsError, match=f"^/ exists and is not a {kind}"):
        KINDS[kind](Path("/"), 0, True)


def test_runs_whose_settings_cannot_be_read_are_overwritten_only_if_asked(
    kind: str, run: Path
) -> None:
    content = json.loads((run / "config.json").read_text())
    for damaged in ({}, [], {"settings": {"hidden": 3}}, {"settings": 3, "inputs": [], "facts": 1}):
        (run / "config.json").write_text(json.dumps({**content, "config": damaged}))
        with pytest.raises(FileExistsError, match=r"cannot read|was not written by invflow|is not"):
            KINDS[kind](run, 0, False)
    (run / "config.json").write_text(json.dumps({**content, "config": {}}))
    KINDS[kind](run, 1, True)
    assert _seed(run) == 1


@pytest.mark.parametrize("inputs", [{}, {"x": {"path": None, "sha256": "0"}}])
def test_what_a_run_reads_is_not_believed(kind: str, inputs: Any, run: Path) -> None:
    content = json.loads((run / "config.json").read_text())
    content["config"]["inputs"] = inputs
    (run / "config.json").write_text(json.dumps(content))
    with pytest.raises(FileExistsError, match=r"cannot read \(inputs: \[.*\], expected \['"):
        KINDS[kind](run, 0, False)


def test_data_that_are_left_out_are_a_difference(tmp_path: Path) -> None:
    models = {name: Input(Path("m.py"), "0") for name in ("model", "data")}
    config = posterior.KIND.config(model="m.py", data="d.json")
    posterior.KIND.prepare(tmp_path, Begun(config, models), overwrite=False)
    for data, inputs in ((None, {"model": models["model"]}), ("d.json", {**models})):
        asked = Begun(posterior.KIND.config(model="m.py", data=data), inputs)
        different = posterior.KIND.begun(tmp_path).difference(asked)
        assert different == ("different data" if data is None else "")


def test_what_the_new_run_reads_is_not_overwritten(tmp_path: Path) -> None:
    run = tmp_path / "run"
    KINDS["distillation run"](run, 0, False)
    (run / "scores.csv").write_text("a table")
    with pytest.raises(FileExistsError, match="which the new run reads"):
        _kind(student.KIND, {"teacher": str(run)}, "teacher")(run, 0, True)
    KINDS["density run"](tmp_path / "b", 0, False)
    (tmp_path / "b" / "scores.csv").symlink_to(run / "scores.csv")
    _kind(density.KIND, {"data": str(run / "scores.csv")}, "data")(tmp_path / "b", 0, True)
    assert (run / "scores.csv").read_text() == "a table"


@pytest.mark.parametrize("learned", [vae.KIND, density.KIND, student.KIND, posterior.KIND])
def test_what_a_run_learns_is_a_part_of_it(learned: Kind[Any], tmp_path: Path) -> None:
    _saving.write_config(tmp_path, learned.name, {})
    assert all(own.is_part(tmp_path / name) for name in learned.files)


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("at", range(8))
def test_a_kill_leaves_one_of_the_two_runs(
    at: int, kind: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any of the eight steps from the old run to the new one, which is there after the sixth."""
    before = _contents(run)
    left = iter(range(at))

    def killed(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if next(left, None) is None:
                raise KilledError
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed(Path.rename))
        patched.setattr(runs_directory.shutil, "rmtree", killed(runs_directory.shutil.rmtree))
        patched.setattr(
            runs_directory._saving, "write_config", killed(runs_directory._saving.write_config)
        )
        with pytest.raises(KilledError):
            KINDS[kind](run, 1, True)
    try:
        KINDS[kind](run, 0, False)
    except FileExistsError:
        KINDS[kind](run, 1, False)
        assert list(_contents(run)) == ["config.json"]
        assert at > 5
    else:
        assert _contents(run) == _without_half_written(before)
        assert at <= 5
    KINDS[kind](run, 2, True)
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_an_overwritten_directory_keeps_its_permissions(kind: str, run: Path) -> None:
    run.chmod(0o750)
    KINDS[kind](run, 1, True)
    assert _seed(run) == 1
    assert run.stat().st_mode & 0o777 == 0o750
