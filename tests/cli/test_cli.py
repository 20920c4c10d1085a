"""The command line, as a user meets it: results, help, and one clear line for what goes wrong."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invflow.cli.app import app
from invflow.vae import run as saved
from tests.cli.conftest import Invflow

SMALL = ["--steps", "40", "--importance-samples", "20", "--flow-transforms", "2"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    app(["vae", "digits", "--runs", str(runs), *SMALL], standalone_mode=False)
    return runs / "digits"


def test_a_run_holds_what_the_design_says(finished: Path) -> None:
    names = {path.name for path in finished.iterdir() if "tfevents" not in path.name}
    assert names == {
        "checkpoints",
        "config.json",
        "metrics.csv",
        "model.safetensors",
        "report.html",
        "results.json",
        "scores.safetensors",
    }
    page = (finished / "report.html").read_text()
    assert page.count("<svg") > 6
    assert page.count("data:image/png;base64,") > 6
    assert not any(f'{name}="http' in page for name in ("src", "href"))
    results = json.loads((finished / "results.json").read_text())["results"]["posteriors"]
    assert list(results) == ["diagonal", "full", "iaf"]


def test_sample(invflow: Invflow, finished: Path, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz", "c.png"):
        code, out, _ = invflow("sample", finished, "-n", 5, "--out", tmp_path / name)
        assert code == 0
        assert name in out.replace("\n", "")
    first, second = (np.load(tmp_path / name)["images"] for name in ("a.npz", "b.npz"))
    assert first.shape == (5, 8, 8)
    assert first.dtype == np.uint8
    assert (first == second).all()
    assert first.max() <= 16
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_score(invflow: Invflow, finished: Path, tmp_path: Path) -> None:
    arguments = ("--samples", 20, "--posterior", "diagonal", "--out", tmp_path / "scores.csv")
    code, out, _ = invflow("score", finished, "digits", *arguments)
    assert code == 0
    assert "log_likelihood" in out
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert len(rows) == 179
    assert all(float(r["log_likelihood"]) > float(r["bound"]) - 30 for r in rows)


def test_scores_of_samples(invflow: Invflow, finished: Path, tmp_path: Path) -> None:
    assert invflow("sample", finished, "--out", tmp_path / "s.npz")[0] == 0
    assert invflow("score", finished, tmp_path / "s.npz", "--samples", 5)[0] == 0
    assert (finished / "scores.csv").read_text().count("\n") == 65


def test_same_seed_same_run(invflow: Invflow, finished: Path, tmp_path: Path) -> None:
    assert invflow("vae", "digits", "--runs", tmp_path, *SMALL)[0] == 0
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "digits" / name).read_bytes() == (finished / name).read_bytes()


def _one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_finished_run_is_reported_again(invflow: Invflow, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "digits")
    (tmp_path / "digits" / "report.html").unlink()
    before = _contents(tmp_path / "digits")
    code, out, _ = invflow("vae", "digits", "--runs", tmp_path, *SMALL)
    assert code == 0
    assert "already finished" in out
    assert "diagonal" in out
    after = _contents(tmp_path / "digits")
    assert after.pop("report.html")
    assert after == before


def _contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.glob("*.*")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--accelerator", "warp-drive"), "accelerator 'warp-drive' cannot be used"),
        (("--posteriors", "fancy"), "posterior must be one of"),
        (("--seed", 2**32), "--seed must be less than"),
        (("--learning-rate", "nan"), "--learning-rate must be"),
    ],
)
def test_bad_settings_do_not_overwrite(
    invflow: Invflow, finished: Path, arguments: tuple[object, ...], message: str
) -> None:
    before = _contents(finished)
    code, _, err = invflow(
        "vae", "digits", "--runs", finished.parent, "--overwrite", *SMALL, *arguments
    )
    assert code != 0
    assert message in err
    assert "Traceback" not in err
    assert _contents(finished) == before


def test_the_likelihood_asked_for_is_taken(invflow: Invflow, tmp_path: Path) -> None:
    arguments = ("--runs", tmp_path, *SMALL, "--likelihood", "bernoulli", "--posteriors", "iaf")
    assert invflow("vae", "digits", *arguments)[0] == 0
    config = json.loads((tmp_path / "digits" / "config.json").read_text())["config"]
    assert config["facts"]["images"]["likelihood"] == "bernoulli"


@pytest.mark.parametrize("command", [[], ["vae"], ["sample"], ["score"]])
def test_help_reads_well(
    invflow: Invflow, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = invflow(*command, "--help")
    assert code == 0
    assert "…" not in out  # names of options are whole
    assert "Usage" in out
    assert not err
    words = " ".join(out.replace("│", " ").split())
    for default in {
        "vae": [
            "default: (from DATA)",
            "default: (diagonal, full, iaf; for resnet-vae diagonal, iaf)",
            "default: 6000",
        ],
        "sample": ["default: (the last)"],
    }.get("".join(command), []):
        assert default in words


def test_other_images_under_the_same_name(invflow: Invflow, tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    command = ("vae", file, "--runs", tmp_path, *SMALL, "--posteriors", "diagonal")
    np.savez(file, images=GREY)
    assert invflow(*command)[0] == 0
    np.savez(file, images=GREY[::-1])
    code, _, err = invflow(*command)
    assert code != 0
    assert "holds a run with different data" in err


@pytest.mark.parametrize("name", [".", "..", "a/b", "../a"])
def test_names_are_no_paths(invflow: Invflow, tmp_path: Path, name: str) -> None:
    code, _, err = invflow("vae", "digits", "--runs", tmp_path, "--name", name)
    assert code != 0
    assert "--name must be the name of a directory" in err
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_files_are_left_alone(
    invflow: Invflow, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.npz").mkdir()
    code, _, err = invflow("sample", finished, "--out", tmp_path / "folder.npz")
    assert code != 0
    assert "not a regular file" in err
    (tmp_path / "link.npz").symlink_to(tmp_path / "target.npz")
    assert invflow("sample", finished, "--out", tmp_path / "link.npz")[0] == 0
    assert (tmp_path / "link.npz").is_symlink()
    assert (tmp_path / "target.npz").is_file()


GREY = np.random.default_rng(0).integers(0, 9, (40, 8, 8), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (24, 4, 5, 3), dtype=np.uint8)


def _save(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:02}.png")
    return folder


@pytest.mark.parametrize("likelihood", ["auto", "gaussian"])
def test_colours_from_a_folder_to_samples_and_back(
    invflow: Invflow, tmp_path: Path, likelihood: str
) -> None:
    """What is drawn from a model can be scored, and learned from."""
    folder, samples = _save(tmp_path / "flowers", COLOUR), tmp_path / "samples.npz"
    short = ("--runs", tmp_path / "runs", *SMALL, "--posteriors", "iaf", "--latents", 2)
    assert invflow("vae", folder, *short, "--likelihood", likelihood)[0] == 0
    run = tmp_path / "runs" / "flowers"
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["facts"]["images"]["shape"] == [3, 4, 5]
    assert config["facts"]["images"]["levels"] == 256
    assert f"VAE on {folder.name}" in (run / "report.html").read_text()
    assert invflow("sample", run, "-n", 12, "--out", tmp_path / "samples.png")[0] == 0
    assert invflow("sample", run, "-n", 12, "--out", samples)[0] == 0
    drawn = np.load(samples)["images"]
    assert drawn.shape == (12, 4, 5, 3)
    assert drawn.dtype == np.uint8
    for given in (samples, folder):
        assert invflow("score", run, given, "--samples", 5)[0] == 0
    assert (run / "scores.csv").read_text().count("\n") == 25
    assert invflow("vae", samples, *short)[0] == 0
    assert (tmp_path / "runs" / "samples" / "report.html").is_file()


def test_constant_images_train(invflow: Invflow, tmp_path: Path) -> None:
    np.savez(tmp_path / "constant.npz", images=np.full((30, 4, 4), 200, np.uint8))
    short = ("--runs", tmp_path, *SMALL, "--posteriors", "iaf", "--latents", 2)
    assert invflow("vae", tmp_path / "constant.npz", *short)[0] == 0
    results = json.loads((tmp_path / "constant" / "results.json").read_text())["results"][
        "posteriors"
    ]
    assert np.isfinite(results["iaf"]["log_likelihood"])


def _mixed(folder: Path) -> None:
    Image.fromarray(COLOUR[0, :2]).save(_save(folder, COLOUR) / "07.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "pictures does not exist; images are one of digits, "),
        (lambda folder: folder.mkdir(), "pictures has no image files"),
        (_mixed, "00.png is 5 x 4, 07.png 5 x 2; set size"),
        (lambda folder: _save(folder, COLOUR[:1]), "pictures must hold at least 10 images, got 1"),
    ],
)
def test_bad_folders(
    invflow: Invflow, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "pictures")
    code, out, err = invflow("vae", tmp_path / "pictures", "--runs", tmp_path / "runs", *SMALL)
    assert code != 0
    assert message in err
    assert not out
    assert err.count("\n") <= 1
    assert not (tmp_path / "runs").exists()


def test_images_of_another_shape_are_not_scored(
    invflow: Invflow, finished: Path, tmp_path: Path
) -> None:
    code, _, err = invflow("score", finished, _save(tmp_path / "pictures", COLOUR))
    assert code != 0
    assert "must hold images of (1, 8, 8) (channels, height, width), got (3, 4, 5)" in err


def _nan(path: Path) -> None:
    images = GREY / 8
    images[:, :, 2] = np.nan
    np.savez(path, images=images)


def _unreadable(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 not really")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (_unreadable, "cannot be read: the .npz file is truncated"),
        (_nan, "must hold finite numbers, got 320 that are NaN or infinite"),
        (lambda path: np.savez(path, images=GREY[:3]), "at least 10 images"),
    ],
)
def test_bad_files_leave_an_existing_run_alone(
    invflow: Invflow,
    finished: Path,
    tmp_path: Path,
    make: Callable[[Path], None],
    message: str,
) -> None:
    before = _contents(finished)
    file = tmp_path / "images.npz"
    make(file)
    for arguments in (
        ("vae", file, "--name", "digits", "--runs", finished.parent, "--overwrite"),
        ("score", finished, file, "--out", tmp_path / "scores.csv"),
    ):
        if message.startswith("at least") and arguments[0] == "score":
            continue
        code, out, err = invflow(*arguments)
        assert code != 0
        assert message in err
        assert not out
        assert err.count("\n") <= 1
        assert "Traceback" not in err
    assert _contents(finished) == before
    assert not (tmp_path / "scores.csv").exists()


def test_nothing_is_written_over_images_and_runs(
    invflow: Invflow, finished: Path, tmp_path: Path
) -> None:
    before = _contents(finished)
    file = tmp_path / "images.csv"
    np.savez(tmp_path / "images.npz", images=GREY[:4] % 17)
    (tmp_path / "images.npz").rename(file)
    (tmp_path / "link.csv").hardlink_to(file)
    content = file.read_bytes()
    for out in (file, tmp_path / "link.csv"):
        code, _, err = invflow("score", finished, file, "--samples", 2, "--out", out)
        assert code != 0
        assert "--out must not overwrite the images to score, " in err
    for out in ("metrics.csv", "results.json"):
        code, _, err = invflow("score", finished, file, "--samples", 2, "--out", finished / out)
        assert code != 0
        assert "--out must" in err
    assert file.read_bytes() == content
    assert _contents(finished) == before


def test_images_are_found_from_another_directory(
    invflow: Invflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 5, (40, 4, 4))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    np.savez("images.npz", pixels)
    assert invflow("vae", "images.npz", "--steps", 1, "--importance-samples", 1)[0] == 0
    run = tmp_path / "runs" / "images"
    place = saved.load(run).data.path
    assert place is not None
    assert place.resolve() == tmp_path / "images.npz"
    monkeypatch.chdir("elsewhere")
    code, _, err = invflow("sample", "../runs/images", "--out", "../images.npz")
    assert (code, "--out must not overwrite the images of the run" in err) == (1, True)
    assert (np.load("../images.npz")["arr_0"] == pixels).all()
    assert saved.load(run).images.digest == saved.load(run).data.sha256
    np.savez("../images.npz", pixels[::-1])
    with pytest.raises(ValueError, match=r"images .* have changed since it was trained"):
        _ = saved.load(run).images


def test_finished_and_foreign_directories_are_left_alone(
    invflow: Invflow, finished: Path, tmp_path: Path
) -> None:
    before = _contents(finished)
    code, _, err = invflow("vae", "digits", "--runs", finished.parent, *SMALL, "--seed", 1)
    assert code != 0
    assert "holds a run with different settings (seed is 0, not 1)" in err
    assert _contents(finished) == before
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "thesis.tex").write_text("years of work")
    code, _, err = invflow("vae", "digits", "--runs", tmp_path, "--overwrite", *SMALL)
    assert code != 0
    assert "is not a VAE run" in err
    assert (tmp_path / "digits" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "results.json").unlink(), "unfinished run"),
        (lambda run: (run / "model.safetensors").unlink(), "does not exist"),
        (lambda run: (run / "config.json").unlink(), "does not exist"),
        (lambda run: os.truncate(run / "model.safetensors", 5000), "has changed since the run"),
        (lambda run: os.truncate(run / "config.json", 50), "not a valid JSON file"),
        (lambda run: (run / "config.json").write_text("[]"), "was not written by invflow"),
        (
            lambda run: (run / "config.json").write_text(
                (run / "config.json").read_text().replace('"format": 1', '"format": 99')
            ),
            "has format 99",
        ),
        (
            lambda run: (run / "config.json").write_text(
                (run / "config.json").read_text().replace('"shape"', '"form"')
            ),
            "does not say what its images are",
        ),
        (lambda run: (run / "config.json").write_text("[" * 100_000), "not a valid JSON file"),
        (
            lambda run: (run / "results.json").write_text(
                (run / "results.json").read_text().replace('"bound": -', '"bound": "x", "kl": -')
            ),
            "does not hold the results",
        ),
        (lambda run: (run / "results.json").write_text("{}"), "does not hold the results"),
        (lambda run: os.truncate(run / "results.json", 50), "does not hold the results"),
    ],
)
def test_half_written_runs(
    invflow: Invflow,
    finished: Path,
    tmp_path: Path,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.json", "model.safetensors", "results.json"):
        (run / name).write_bytes((finished / name).read_bytes())
    damage(run)
    for arguments in (("sample", run), ("score", run, "digits")):
        code, out, err = invflow(*arguments)
        assert code != 0
        assert message in err
        assert not out
        assert err.count("\n") <= 1
    assert not (run / "samples.npz").exists()
    assert not (run / "scores.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vae", "digits", "--latents", 0), "--latents must be greater than 0, got 0"),
        (("vae", "digits", "--posteriors", "fancy"), "posterior must be one of"),
        (("vae", "cifar"), "cifar"),
        (("sample", "no-such-run", "--seed", 2**63), "--seed"),
        (("sample", "no-such-run"), "no-such-run does not exist"),
        (("score", "no-such-run", "digits"), "no-such-run does not exist"),
    ],
)
def test_bad_arguments(
    invflow: Invflow, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    runs = ("--runs", tmp_path) if arguments[0] == "vae" else ()
    code, _, err = invflow(*arguments, *runs)
    assert code != 0
    assert message in err
    assert not list(tmp_path.iterdir())


def test_samples_cannot_go_to_another_kind_of_file(
    invflow: Invflow, finished: Path, tmp_path: Path
) -> None:
    code, _, err = invflow("sample", finished, "--out", tmp_path / "a.txt")
    assert code != 0
    assert "--out must end in .npz or .png" in err


def test_unknown_posterior_of_a_run(invflow: Invflow, finished: Path) -> None:
    code, _, err = invflow("sample", finished, "--posterior", "fancy")
    assert code != 0
    assert "posterior must be one of 'diagonal', 'full', 'iaf', got 'fancy'" in err


TINY = (
    *("--network", "resnet-vae", "--depths", 1, "--feature-maps", 4, "--latent-maps", 2),
    *("--steps", 60, "--batch-size", 8, "--evaluate-every", 20, "--importance-samples", 4),
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--posteriors", "planar"), "posterior must be one of 'bottom-up-diagonal'"),
        (("--network", "mlp"), "depths does not apply to network 'mlp'"),
        (("--prior", "vamp"), "prior does not apply to network 'resnet-vae'"),
        (("--latents", 5), "latents does not apply to network 'resnet-vae'"),
        (("--posteriors", "iaf,iaf"), "posteriors must differ, got iaf, iaf"),
        (("--optimizer", "adamax", "--weight-decay", 0.1), "weight_decay must be 0 with"),
        (("--train-samples", 4, "--free-bits", 0.1), "train_samples must be 1 with beta"),
        (("--averaging-decay", 1), "--averaging-decay must be less than 1"),
        (("--preset", "huge"), "--preset must be one of small, paper-mnist, paper-cifar"),
        (("--depths", 0), "--depths must be greater than 0"),
    ],
)
def test_bad_settings_write_nothing(
    invflow: Invflow, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    np.savez(tmp_path / "grey.npz", images=GREY)
    runs = tmp_path / "runs"
    code, out, err = invflow("vae", tmp_path / "grey.npz", "--runs", runs, *TINY, *arguments)
    assert code != 0
    assert message in err
    assert err.count("\n") <= 1
    assert not out
    assert not runs.exists()


def test_divergence_is_one_line(invflow: Invflow, tmp_path: Path) -> None:
    np.savez(tmp_path / "grey.npz", images=GREY)
    command = ("vae", tmp_path / "grey.npz", "--runs", tmp_path / "runs", *TINY)
    code, _, err = invflow(*command, "--learning-rate", 1e6)
    assert code != 0
    assert re.search(r"of (diagonal|iaf) .*at step \d+", err.splitlines()[-1])
    assert "Traceback" not in err
    # The same command finds what there is, and fails the same way.
    code, _, again = invflow(*command, "--learning-rate", 1e6)
    assert code != 0
    assert again.splitlines()[-1] == err.splitlines()[-1]


def _environment() -> dict[str, str]:
    return {k: v for k, v in _one_thread().items() if k != "LOCAL_RANK"}


@pytest.mark.slow
def test_two_devices(tmp_path: Path) -> None:
    """Two processes make one run; killed, it goes on; what they cannot share writes nothing."""
    np.savez(tmp_path / "grey.npz", images=GREY)
    command = [sys.executable, "-m", "invflow", "vae", str(tmp_path / "grey.npz")]
    command += ["--runs", str(tmp_path / "runs"), "--devices", "2", *map(str, TINY)]
    run = tmp_path / "runs" / "grey"

    def finish(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more], capture_output=True, text=True, env=_environment(), timeout=120
        )

    uneven = finish("--batch-size", "7")
    assert uneven.returncode != 0
    assert "batch_size must be a multiple of the number of devices, 2" in uneven.stderr
    assert not run.exists()
    process = subprocess.Popen(
        [*command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,
    )
    try:
        while not list(run.glob("checkpoints/step-*")):
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finished = finish()
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("Test images, nats per image") == 1
    assert finished.stdout.count("report.html") == 1
    assert (run / "report.html").is_file()
    results = json.loads((run / "results.json").read_text())["results"]["posteriors"]
    assert all(np.isfinite(result["log_likelihood"]) for result in results.values())
