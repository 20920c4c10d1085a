"""Flows on a CUDA device against the same on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch

from invflow import Flow
from tests.helpers import FLOWS, assert_close, context_for, randn


def _on_cuda(flow: Flow) -> tuple[Flow, torch.Tensor | None]:
    context = context_for(flow, 5)
    return copy.deepcopy(flow).to("cuda"), None if context is None else context.to("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("name", FLOWS)
def test_densities_agree_with_the_cpu(name: str) -> None:
    here = FLOWS[name]()
    there, context = _on_cuda(here)
    with torch.no_grad():
        x = here.transform(0.5 * randn(5, here.features), context_for(here, 5))[0]
        wanted = here(context_for(here, 5)).log_prob(x)
        found = there(context).log_prob(x.to("cuda"))
    assert found.device.type == "cuda"
    assert_close(found.cpu(), wanted, 1e-8)


@pytest.mark.gpu
@pytest.mark.parametrize("name", FLOWS)
def test_draws_have_the_density_that_comes_with_them(name: str) -> None:
    flow, context = _on_cuda(FLOWS[name]())
    x, log_q = flow(context).rsample_and_log_prob((3,))
    assert x.device.type == log_q.device.type == "cuda"
    (x.sum() + log_q.sum()).backward()
    assert_close(flow(context).log_prob(x.detach()), log_q, 1e-7)
