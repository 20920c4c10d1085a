"""Densities of images on the command line: trained, sampled, scored and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.cli.conftest import Invflow

SHORT = ("--steps", 3, "--transforms", 1, "--hidden-features", 8, "--draws", 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of images, in a folder for each class."""
    levels = np.random.default_rng(0).integers(0, 256, (60, 4, 6, 3), dtype=np.uint8)
    for i, image in enumerate(levels):
        place = tmp_path / "pictures" / ("test" if i % 5 == 0 else "train") / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    return tmp_path / "pictures"


def test_from_a_folder_to_samples_and_scores(
    invflow: Invflow, folder: Path, tmp_path: Path
) -> None:
    runs = ("--runs", tmp_path / "runs", *SHORT)
    code, out, err = invflow("density", folder, *runs, "--conditional")
    assert code == 0, err
    assert "bits per dimension" in out
    run = tmp_path / "runs" / "pictures-density"
    page = (run / "report.html").read_text()
    assert "Each row was given the class beside it" in page
    assert "invflow density" in page
    assert "12 test images" in page

    assert invflow("sample", run, "--guidance", 1, "-n", 3)[0] == 0
    drawn = np.load(run / "samples.npz")
    assert drawn["images"].shape == (3, 4, 6, 3)
    assert drawn["labels"].tolist() == ["a", "b", "a"]
    assert invflow("sample", run, "--given", "b", "--out", tmp_path / "b.png", "-n", 4)[0] == 0
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size[0] > 100
    code, _, err = invflow("sample", run, "--given", "c")
    assert (code, "--given must be a class of" in err) == (1, True)

    code, out, _ = invflow("score", run, folder, "--out", tmp_path / "scores.csv")
    assert code == 0
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert len(scores) == 12
    assert np.allclose(scores["bits_per_dim"], -scores["bound"] / (72 * np.log(2)))
    assert f"{scores['bits_per_dim'].mean():.3f}" in out

    assert invflow("density", folder, *runs, "--name", "plain", "--flow", "maf")[0] == 0
    plain = tmp_path / "runs" / "plain"
    code, out, err = invflow("compare", plain, plain, "--out", tmp_path / "c.html")
    assert (code, "twice" in err) == (1, True)
    assert invflow("sample", plain)[0] == 0
    code, _, err = invflow("sample", plain, "--given", "b")
    assert (code, "train with --conditional" in err) == (1, True)
    code, _, err = invflow("sample", plain, "--guidance", 2)
    assert (code, "train a --flow tarflow with --conditional" in err) == (1, True)


def test_two_densities_of_the_same_images_are_compared(
    invflow: Invflow, folder: Path, tmp_path: Path
) -> None:
    for name, options in (("one", ("--noise", 0.1)), ("two", ("--alpha", 0.05))):
        arguments = ("--runs", tmp_path, "--name", name, *SHORT, *options)
        assert invflow("density", folder, *arguments)[0] == 0
    page = tmp_path / "compared.html"
    code, out, err = invflow("compare", tmp_path / "one", tmp_path / "two", "--out", page)
    assert code == 0, err
    assert "log probability" in out
    text = page.read_text()
    assert "Settings that differ" in text
    assert "alpha" in text
    assert "by the score" in (tmp_path / "one" / "report.html").read_text()


def test_data_decide_which_options_apply(invflow: Invflow, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    for data, option, message in (
        ("digits", ("--missing", "refuse"), "--missing does not apply to digits: it is for tables"),
        (tmp_path / "table.csv", ("--patch", 2), "it is for images, and these are tables"),
    ):
        code, _, err = invflow("density", data, *option)
        assert code == 1
        assert message in err
    assert "tarflow for images" in " ".join(invflow("density", "--help")[1].split())
