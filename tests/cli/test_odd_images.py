"""`invflow vae FOLDER` with images as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Invflow
from tests.odd_images import BAD, GOOD, write


@pytest.mark.slow
def test_a_folder_of_odd_images_is_learned(invflow: Invflow, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos)
    code, out, err = invflow(
        *("vae", photos, "--size", 32, "--steps", 2, "--network", "mlp"),
        *("--posteriors", "diagonal", "--latents", 2, "--hidden-features", 4, "--context", 4),
        *("--importance-samples", 2, "--runs", tmp_path / "runs", "--name", "odd"),
    )
    assert code == 0, err
    assert (tmp_path / "runs" / "odd" / "report.html").exists()
    lines = [line for line in err.splitlines() if line.startswith("invflow: image left out: ")]
    assert len(lines) == len(BAD)
    for name, (_, reason) in BAD.items():
        assert sum(f"{photos / name} " in line and reason in line for line in lines) == 1
    assert not any(name in line for line in lines for name in GOOD)
    assert "Report" in out
