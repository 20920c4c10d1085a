"""Figures as parts of a page."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.image import imread

from invflow.report import figures, svg


def _drawn(name: str = "a") -> str:
    drawn, axes = figures.figure(1, 1, (3, 2))
    axis = axes[0, 0]
    axis.plot([0, 1], [4.77314, 4.77315], color=figures.BLUE, label="#000000 & 1.23456 <i>")
    axis.ticklabel_format(useOffset=False)
    axis.legend(frameon=False)
    return svg.drawn(drawn, name)


def test_text_stays_as_it_is() -> None:
    """Numbers and colours in labels are not those of the drawing."""
    texts = re.findall(r"<text[^>]*>(.*?)</text>", _drawn())
    assert "#000000 &amp; 1.23456 &lt;i&gt;" in texts
    assert {"4.773140", "4.773150"} <= set(texts)


def test_colours_are_those_of_the_page() -> None:
    text = _drawn()
    tags = "".join(re.findall(r"<[^>]+>", text))
    assert "stroke: var(--c0)" in tags
    assert "stroke: currentColor" in tags
    assert not {"#000000", figures.BLUE, "#ffffff"} & set(re.findall(r"#[0-9a-f]{6}", tags))
    assert "DejaVu" not in tags
    assert "http" not in tags


def test_every_colour_is_in_the_style_for_light_pages_and_for_dark_ones() -> None:
    from invflow.report.page import _look  # pyright: ignore[reportPrivateUsage]

    style = _look("style.css")
    for i, colour in enumerate(svg.COLOURS):
        light, dark = re.findall(rf"--c{i}: (#[0-9a-f]{{6}})", style)
        assert light == colour
        assert _contrast(light, "#ffffff") > 3
        assert _contrast(dark, "#14171c") > 3


def _contrast(first: str, second: str) -> float:
    """Return the contrast ratio of the Web Content Accessibility Guidelines."""
    levels = []
    for colour in (first, second):
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        levels.append(float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(levels) / min(levels)


def test_contrast_of_black_on_white() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)


def test_figures_of_a_page_share_no_id() -> None:
    first, second = (set(re.findall(r' id="([^"]+)"', _drawn(name))) for name in ("a", "b"))
    assert first
    assert not first & second
    text = _drawn("a")
    referred = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    assert referred == first


def test_the_same_figure_is_the_same_text() -> None:
    assert _drawn() == _drawn()


def test_pixels_of_pictures_are_kept() -> None:
    """A picture is a bitmap with a pixel for each of its own, enlarged by the browser."""
    drawn, axes = figures.figure(1, 1, (3, 3))
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    axes[0, 0].imshow(pixels, interpolation="none")
    text = svg.drawn(drawn, "a")
    (found,) = re.findall(r"data:image/png;base64,\s*([^\"]+)", text)
    picture = imread(io.BytesIO(base64.b64decode(found)))
    assert "image-rendering:pixelated" in text.replace(" ", "")
    found = (picture * 255).round().astype(np.uint8)
    assert found.shape == pixels.shape
    assert np.array_equal(found, pixels) or np.array_equal(found[::-1], pixels)


def test_points_are_a_bitmap() -> None:
    drawn, axes = figures.figure(1, 1, (3, 2))
    assert not svg.has_points(drawn)
    axes[0, 0].plot([0, 1], [0, 1], ".", rasterized=True)
    assert svg.has_points(drawn)
    assert svg.drawn(drawn, "a").count("data:image/png") == 1
