"""Conditional VAEs on the command line: from folders of classes to samples of a class."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from invflow._averages import mean_and_error
from invflow.images import data
from invflow.vae import evaluation
from invflow.vae import run as saved
from tests.cli.conftest import Invflow

SHORT = ("--steps", 5, "--importance-samples", 5, "--latents", 2, "--posteriors", "iaf")
NAMES = ("$a_1$", "<b>&", "a cat")


@pytest.fixture
def conditional(invflow: Invflow, tmp_path: Path) -> Path:
    """A run of images in folders that are classes of odd names."""
    levels = np.random.default_rng(0).integers(0, 256, (60, 4, 5), dtype=np.uint8)
    for i, image in enumerate(levels):
        folder = tmp_path / "pictures" / ("test" if i % 5 == 0 else "train") / NAMES[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    arguments = (tmp_path / "pictures", "--runs", tmp_path / "runs", *SHORT, "--conditional")
    assert invflow("vae", *arguments)[0] == 0
    return tmp_path / "runs" / "pictures"


def test_folders_of_classes_from_images_to_samples_and_scores(
    invflow: Invflow, conditional: Path, tmp_path: Path
) -> None:
    run = saved.load(conditional)
    assert run.format.classes == NAMES
    assert run.model().given == 3
    assert "Each row was given the class beside it" in (conditional / "report.html").read_text()
    assert invflow("sample", conditional)[0] == 0
    drawn = np.load(conditional / "samples.npz")
    assert drawn["labels"].tolist() == list(NAMES) * 22  # as many of each, at least 64
    assert drawn["images"].shape == (66, 4, 5)
    for count, given, labels in (
        (4, "a cat", ["a cat"] * 4),
        (4, None, [*NAMES, NAMES[0]]),
        (2, "$a_1$", ["$a_1$"] * 2),
    ):
        options = ("-n", count, "--out", tmp_path / "some.npz")
        chosen = () if given is None else ("--given", given)
        assert invflow("sample", conditional, *options, *chosen)[0] == 0
        some = np.load(tmp_path / "some.npz")
        assert some["labels"].tolist() == labels
        model, noise = run.model(), torch.Generator().manual_seed(0)
        numbers = torch.tensor([NAMES.index(name) for name in labels])
        expected = model.sample(count, noise, model.one_hot(numbers))
        assert some["images"].reshape(count, 20).tolist() == expected.tolist()
    alone = ("--given", "a cat", "--out", tmp_path / "some.npz")
    assert invflow("sample", conditional, *alone)[1].startswith("64 images")
    for picture in (("--given", "<b>&"), ("-n", 3), ()):
        assert invflow("sample", conditional, *picture, "--out", tmp_path / "a.png")[0] == 0
    # Samples and folders are scored given their labels.
    score = ("--samples", 5, "--out", tmp_path / "a.csv")
    assert invflow("score", conditional, tmp_path / "pictures", *score)[0] == 0
    images, labels = data.scorable_labelled(
        str(tmp_path / "pictures"), 256, (1, 4, 5), run.format.classes
    )
    one_hot = run.model().one_hot(labels)
    scores = evaluation.score(run.model(), images, samples=5, given=one_hot)
    rows = (tmp_path / "a.csv").read_text().splitlines()[1:]
    assert len(rows) == 12
    found = [float(row.split(",")[2]) for row in rows]
    assert found == pytest.approx(scores.log_likelihood.tolist(), rel=1e-6)
    assert invflow("score", conditional, conditional / "samples.npz", *score)[0] == 0
    short = (*SHORT, "--runs", tmp_path / "runs", "--conditional")
    assert invflow("vae", conditional / "samples.npz", *short)[0] == 0
    assert saved.load(tmp_path / "runs" / "samples").format.classes == NAMES
    # The same command resumes the run, and another setting makes another.
    again = ("vae", tmp_path / "pictures", "--runs", tmp_path / "runs", *SHORT)
    assert "is already finished" in invflow(*again, "--conditional")[1].replace("\n", " ")
    code, _, err = invflow(*again)
    assert code != 0
    assert "different settings (conditional is True, not False)" in err.replace("\n", " ")
    assert invflow(*again, "--name", "plain")[0] == 0
    code, _, _ = invflow(
        "compare", conditional, tmp_path / "runs" / "plain", "--out", tmp_path / "compare.html"
    )
    assert code == 0
    text = (tmp_path / "compare.html").read_text()
    assert "Conditional runs are given the class of each image" in text
    assert "conditional" in text


def test_classes_that_are_missing(invflow: Invflow, conditional: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", images=np.arange(240).reshape(12, 4, 5).astype(np.uint8))
    np.savez(tmp_path / "other.npz", images=np.full((2, 4, 5), 99), labels=["a cat", "x"])
    runs = ("--runs", tmp_path / "runs", *SHORT)
    assert invflow("vae", tmp_path / "plain.npz", *runs)[0] == 0
    for arguments, message in (
        (
            ("sample", conditional, "--given", "a dog"),
            "--given must be a class of .* \\(\\$a_1\\$, <b>&, a cat\\), got 'a dog'",
        ),
        (
            ("sample", tmp_path / "runs" / "plain", "--given", "a cat"),
            "--given does not apply to .*plain, whose models are not given classes; train with",
        ),
        (
            ("score", conditional, tmp_path / "plain.npz"),
            "plain.npz does not say the class of each image; put the images of each class into",
        ),
        (
            ("score", conditional, tmp_path / "other.npz"),
            "other.npz must hold only images of the classes of the model .*, got 'x'",
        ),
        (
            ("vae", tmp_path / "plain.npz", *runs, "--conditional", "--name", "a"),
            "plain.npz does not say the class of each image",
        ),
    ):
        code, _, err = invflow(*arguments)
        assert code != 0
        assert re.search(message, err.replace("\n", " "))
        assert err.count("\n") <= 1


def test_errors_of_scores_are_over_clusters(
    invflow: Invflow, conditional: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters = torch.arange(12) // 4
    monkeypatch.setattr(data, "clusters", lambda what: clusters)  # pyright: ignore
    code, shown, _ = invflow("score", conditional, tmp_path / "pictures", "--samples", 2)
    assert code == 0
    bound = pd.read_csv(conditional / "scores.csv")["bound"].to_numpy()
    mean, error = mean_and_error(torch.tensor(bound), clusters)
    assert f"{error:.2f}" != f"{mean_and_error(torch.tensor(bound))[1]:.2f}"
    assert re.search(rf"bound +│ +{mean:.2f} │ +{error:.2f} ", shown)
