"""Pictures on axes."""

from __future__ import annotations

import numpy as np
import torch

from invflow.report.vae import pictures
from tests.report.runs import GREY


def test_pictures_in_colour() -> None:
    """A picture on the axes is what the levels say, white between the images."""
    images = torch.tensor([[[[255.0]], [[0.0]], [[51.0]]], [[[300.0]], [[-5.0]], [[255.0]]]])
    _, axes = pictures.figure(1, 1, (1, 1))
    pictures.show(axes[0, 0], pictures.grid(images, columns=2), 256)
    (shown,) = axes[0, 0].get_images()
    pixels = np.asarray(shown.get_array())
    assert pixels.shape == (2, 4, 3)
    np.testing.assert_allclose(pixels[0, 0], [1, 0, 0.2])
    np.testing.assert_allclose(pixels[0, 2], [1, 0, 1])
    assert (pixels[1] == 1).all()
    assert (pixels[:, 1] == 1).all()


def test_grid_keeps_every_image_and_leaves_gaps() -> None:
    picture = pictures.grid(GREY, columns=4)
    assert picture.shape == (2 * 5, 4 * 6, 1)
    for k, image in enumerate(GREY):
        row, column = divmod(k, 4)
        part = picture[row * 5 : row * 5 + 4, column * 6 : column * 6 + 5]
        assert (part[..., 0] == image[0].numpy()).all()
    assert np.isnan(picture[4]).all()
    assert np.isnan(picture[5:, 12:]).all()


def test_stacked_pictures_have_their_titles() -> None:
    parts = [("first", pictures.grid(GREY, 3)), ("second", pictures.grid(GREY[:3], 3))]
    figure = pictures.stacked(parts, 17)
    for axis, (title, picture) in zip(figure.axes, parts, strict=True):
        assert axis.get_title(loc="left") == title
        (shown,) = axis.get_images()
        np.testing.assert_array_equal(np.asarray(shown.get_array()), picture[..., 0])
