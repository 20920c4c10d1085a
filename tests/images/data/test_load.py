"""What a name, a file and a folder are taken for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invflow.images import data

GREY = np.random.default_rng(0).integers(0, 9, (60, 4, 5), dtype=np.uint8)


def _file(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path / "images.npz", **arrays)
    return str(path / "images.npz")


def test_digits() -> None:
    images = data.load("digits")
    assert images.name == "digits"
    assert images.levels == 17
    assert not images.binary
    assert sum(map(len, (images.train, images.validation, images.test))) == 1797
    assert int(images.train.max()) == 16


def test_names_come_before_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(_file(tmp_path, images=GREY)).rename("digits")
    assert data.load("digits").shape == (1, 8, 8)
    assert data.load("./digits").shape == (1, 4, 5)
    assert data.load(str(tmp_path / "digits")).shape == (1, 4, 5)


def test_names_of_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "v1.2"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert data.name_of("fashion-mnist") == "fashion-mnist"
    assert data.name_of("a/b/faces.npz") == "faces"
    assert data.name_of(str(folder)) == data.name_of(".") == data.name_of("../v1.2/") == "v1.2"


@pytest.mark.parametrize("what", ["cifar", "none.npz", "no/such/folder"])
def test_what_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.chdir(tmp_path)
    message = (
        f"{what} does not exist; images are one of digits, .*, or the path of an .npz or .npy file"
    )
    with pytest.raises(FileNotFoundError, match=message):
        data.load(what)
    with pytest.raises(FileNotFoundError, match=message):
        data.scorable(what, 9, (1, 4, 5))


def test_images_to_score_must_fit_the_model(tmp_path: Path) -> None:
    path = _file(tmp_path, images=GREY)
    assert len(data.scorable(path, 9, (1, 4, 5))) == 60
    with pytest.raises(ValueError, match=r"must hold images of \(1, 5, 4\)"):
        data.scorable(path, 9, (1, 5, 4))
    with pytest.raises(ValueError, match=r"must hold images of \(3, 4, 5\)"):
        data.scorable(path, 9, (3, 4, 5))
    with pytest.raises(ValueError, match=r"grey levels 0 \.\. 7, got up to 8"):
        data.scorable(path, 8, (1, 4, 5))
    with pytest.raises(ValueError, match=r"grey levels 0 \.\. 8.* got only 0 and 1"):
        data.scorable(_file(tmp_path, images=GREY > 4), 9, (1, 4, 5))
    assert len(data.scorable(_file(tmp_path, images=GREY > 4), 2, (1, 4, 5))) == 60
    with pytest.raises(ValueError, match=r"must hold images of \(1, 4, 5\)"):
        data.scorable("digits", 17, (1, 4, 5))


def test_images_to_score_are_those_for_the_test(tmp_path: Path) -> None:
    assert data.scorable("digits", 17, (1, 8, 8)).equal(data.load("digits").test)
    path = _file(tmp_path, x_train=GREY, x_test=GREY[:7] // 2)
    assert data.scorable(path, 9, (1, 4, 5))[:, 0].tolist() == (GREY[:7] // 2).tolist()
    for part, images in (("train", GREY), ("test", GREY[:3] * 2)):
        (tmp_path / "folder" / part).mkdir(parents=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / "folder" / part / f"{i:02}.png")
    scored = data.scorable(str(tmp_path / "folder"), 256, (1, 4, 5))
    assert scored[:, 0].tolist() == (GREY[:3] * 2).tolist()


def test_binarised_once_and_for_all(tmp_path: Path) -> None:
    images = data.load("digits")
    black, again = images.binarised(), images.binarised()
    assert black.levels == 2
    assert black.digest == again.digest != images.digest
    for part in ("train", "validation", "test"):
        grey, drawn = getattr(images, part), getattr(black, part)
        assert set(drawn.unique().tolist()) == {0, 1}
        assert (drawn[grey == 0] == 0).all()
        assert (drawn[grey == 16] == 1).all()
        # Of pixels in between, as many are white as their levels say.
        middle = (grey > 0) & (grey < 16)
        chance = grey[middle].double() / 16
        error = (chance * (1 - chance)).sum().sqrt()
        assert (drawn[middle].double().sum() - chance.sum()).abs() < 4 * error
    assert data.scorable("digits", 2, (1, 8, 8)).equal(black.test)
