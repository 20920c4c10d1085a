"""Pictures on axes."""

from __future__ import annotations

import numpy as np
import torch

from invflow.report import pictures
from tests.report.pages import grey
from tests.report.runs import GREY


def test_pictures_in_colour() -> None:
    """A picture on the axes is what the levels say, transparent between the images."""
    images = torch.tensor([[[[255.0]], [[0.0]], [[51.0]]], [[[300.0]], [[-5.0]], [[255.0]]]])
    _, axes = pictures.figure(1, 1, (1, 1))
    pictures.show(axes[0, 0], pictures.grid(images, columns=2), 256)
    (shown,) = axes[0, 0].get_images()
    pixels = np.asarray(shown.get_array())
    assert pixels.shape == (2, 4, 4)
    np.testing.assert_array_equal(pixels[0, 0], [255, 0, 51, 255])
    np.testing.assert_array_equal(pixels[0, 2], [255, 0, 255, 255])
    assert (pixels[1, :, 3] == 0).all()
    assert (pixels[:, 1, 3] == 0).all()


def test_grey_pictures_are_light_where_levels_are_high() -> None:
    pixels = pictures.coloured(pictures.grid(GREY[:1], 1), 17)
    for channel in range(3):
        np.testing.assert_array_equal(pixels[:4, :5, channel], grey(GREY[0, 0]))


def test_grid_keeps_every_image_and_leaves_gaps() -> None:
    picture = pictures.grid(GREY, columns=4)
    assert picture.shape == (2 * 5, 4 * 6, 1)
    for k, image in enumerate(GREY):
        row, column = divmod(k, 4)
        part = picture[row * 5 : row * 5 + 4, column * 6 : column * 6 + 5]
        assert (part[..., 0] == image[0].numpy()).all()
    assert np.isnan(picture[4]).all()
    assert np.isnan(picture[5:, 12:]).all()


def test_a_strip_fills_its_figure() -> None:
    picture = pictures.grid(GREY, 3)
    panel = pictures.strip("first", picture, 17, "Images.")
    assert (panel.title, panel.alt) == ("first", "Images.")
    (axis,) = panel.figure.axes
    (shown,) = axis.get_images()
    np.testing.assert_array_equal(shown.get_array(), pictures.coloured(picture, 17))
    panel.figure.draw_without_rendering()
    np.testing.assert_allclose(axis.get_position().bounds, [0, 0, 1, 1], atol=0.01)
