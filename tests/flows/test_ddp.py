from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from invflow import IAF, Flow
from tests.helpers import assert_close, flow, generator, randn

PROCESSES = 2
JOBS = ["log_prob", "rsample_and_log_prob"]
CONDITIONERS = ["made", "lstm", "attention"]
RUNS = [(conditioner, job) for conditioner in CONDITIONERS for job in JOBS]


class Loss(nn.Module):
    """A mean over the batch as a module's forward, which is what gets distributed."""

    def __init__(self, flow: Flow, job: str) -> None:
        super().__init__()
        self.flow = flow
        self.job = job

    def forward(self, context: Tensor, x: Tensor, seed: int) -> Tensor:
        q = self.flow(context)
        if self.job == "log_prob":
            return -q.log_prob(x).mean()
        y, log_q = q.rsample_and_log_prob(generator=generator(seed))
        return (log_q + y.square().sum(-1)).mean()


def _loss(conditioner: str, job: str) -> Loss:
    return Loss(flow(IAF, 4, 2, 2, (8, 8), order="random", conditioner=conditioner)(), job)


def _share(rank: int) -> tuple[Tensor, Tensor, int]:
    share = slice(3 * rank, 3 * rank + 3)
    return randn(6, 2, seed=1)[share], randn(6, 4, seed=2)[share], rank


def _work(rank: int, directory: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{directory}/meet", rank=rank, world_size=PROCESSES
    )
    try:
        for conditioner, job in RUNS:
            loss = _loss(conditioner, job)
            with torch.no_grad():
                for parameter in loss.parameters():
                    parameter.add_(rank)  # Undone at the start, when the first process is copied.
            # Named, because gradients are no longer averaged once the wrapper is collected.
            wrapped = nn.parallel.DistributedDataParallel(loss)
            wrapped(*_share(rank)).backward()
            gradients = [parameter.grad for parameter in loss.parameters()]
            torch.save(gradients, f"{directory}/{conditioner}-{job}-{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    mp.spawn(_work, (str(tmp_path),), nprocs=PROCESSES)
    for conditioner, job in RUNS:
        loss = _loss(conditioner, job)
        total = sum(loss(*_share(rank)) for rank in range(PROCESSES)) / PROCESSES
        expected = list(torch.autograd.grad(total, list(loss.parameters())))
        assert all(gradient.any() for gradient in expected)
        for rank in range(PROCESSES):
            assert_close(torch.load(tmp_path / f"{conditioner}-{job}-{rank}.pt"), expected, 1e-10)
