"""Two processes fit what one fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from invflow.vi import Settings, fit
from tests.helpers import assert_close
from tests.vi import targets

SETTINGS = Settings(batch=64, round=10, check=256, drops=1, most_steps=40)
PROCESSES = 2


def _work(rank: int, directory: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{directory}/meet", rank=rank, world_size=PROCESSES
    )
    try:
        posterior = fit(targets.banana(), settings=SETTINGS, seed=3)
        torch.save(posterior.sample(50), f"{directory}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_processes_fit_the_posterior_of_one(tmp_path: Path) -> None:
    mp.spawn(_work, (str(tmp_path),), nprocs=PROCESSES)
    alone = fit(targets.banana(), settings=SETTINGS, seed=3).sample(50)
    for rank in range(PROCESSES):
        assert_close(torch.load(tmp_path / f"{rank}.pt"), alone, 1e-8)
