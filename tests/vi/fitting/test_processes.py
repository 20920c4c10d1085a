"""Three processes fit what one fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from invflow.vi import Posterior, Settings, fit
from invflow.vi.fitting import processes
from tests.helpers import assert_close
from tests.vi import known

PROCESSES = 3
#: 64 draws, which three processes cannot share evenly.
SETTINGS = Settings(
    batch_size=64, steps_per_round=10, evaluation_draws=256, learning_rate_drops=1, max_steps=20
)
#: Seven groups of draws, which they cannot either.
GROUPS = Settings(
    batch_size=28,
    train_samples=4,
    steps_per_round=10,
    evaluation_draws=256,
    learning_rate_drops=1,
    max_steps=20,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _joined(rank: int, directory: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{directory}/meet", rank=rank, world_size=PROCESSES
    )
    try:
        _work(rank, Path(directory))
        dist.barrier()  # a process that leaves while others still talk to it may end in an abort
    finally:
        dist.destroy_process_group()


def _fit(settings: Settings, seed: int = 3, directory: Path | None = None) -> Posterior:
    starts = torch.tensor([[0.5, 0.5], [-1.0, 1.0]])
    return fit(
        known.banana(), settings=settings, starting_points=starts, seed=seed, directory=directory
    )


def _work(rank: int, directory: Path) -> None:
    torch.save(_fit(GROUPS).sample(50), directory / f"groups-{rank}.pt")
    with pytest.raises(
        ValueError,
        match="batch_size must be at least train_samples times the number of processes, 64 x 3",
    ):
        _fit(Settings(batch_size=64, train_samples=64))
    kept = directory / "run"
    _fit(SETTINGS, directory=kept)
    with pytest.raises(ValueError, match="holds checkpoints of another fit"):
        _fit(SETTINGS, seed=4, directory=kept)
    torch.save(_fit(SETTINGS, directory=kept).sample(50), directory / f"kept-{rank}.pt")
    if rank == 0:
        kept.rename(directory / "run-0")
    with pytest.raises(ValueError, match="directory must be the same for all processes"):
        _fit(SETTINGS, directory=directory / f"run-{rank}")


def test_they_fit_the_posterior_of_one_and_share_a_directory(tmp_path: Path) -> None:
    """The first alone writes checkpoints, and all go on from them."""
    mp.spawn(_joined, (str(tmp_path),), nprocs=PROCESSES)
    for name, settings in {"groups": GROUPS, "kept": SETTINGS}.items():
        alone = _fit(settings).sample(50)
        for rank in range(PROCESSES):
            assert_close(torch.load(tmp_path / f"{name}-{rank}.pt"), alone, 1e-8)
    assert [path.name for path in sorted((tmp_path / "run-0" / "mode-0").iterdir())] == [
        "step-00000010.safetensors",
        "step-00000020.safetensors",
    ]


def test_parts_make_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "count", lambda: 3)
    for whole in (3, 7, 64):
        parts = []
        for rank in range(3):
            monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
            parts.append(processes.part(whole))
        covered = [i for first, size in parts for i in range(first, first + size)]
        assert covered == list(range(whole))


def test_processes_that_do_not_know_of_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="directory cannot be shared by 3 processes"):
        fit(known.banana(), directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()
