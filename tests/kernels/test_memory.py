"""Memory that goes from call to call: never to two owners at a time, never without bounds."""

from __future__ import annotations

import gc

import pytest
import torch

from invflow.kernels.cpu import memory

LIKE = torch.zeros(1, dtype=torch.float64)
ROWS = memory.LEAST // 8 // 16


@pytest.fixture(autouse=True)
def _nothing_spare() -> None:
    gc.collect()
    memory.clear()


def test_it_is_used_again_when_all_views_are_gone() -> None:
    first = memory.empty((ROWS, 16), LIKE)
    assert first.shape == (ROWS, 16)
    assert first.dtype == torch.float64
    place, view = first.data_ptr(), first[3:, 2]
    del first
    gc.collect()
    other = memory.empty((ROWS, 16), LIKE)
    assert other.data_ptr() != place
    view.fill_(7.0)
    other.fill_(1.0)
    assert (view == 7.0).all()
    del view
    assert memory.empty((16, ROWS), LIKE).data_ptr() == place


@pytest.mark.parametrize("share", [0.5, 1.0, 1.5])
def test_only_memory_of_about_the_size_is_taken(share: float) -> None:
    held = memory.empty((2 * ROWS, 16), LIKE)
    place = held.data_ptr()
    del held
    rows = int(2 * ROWS * share)
    assert (memory.empty((rows, 16), LIKE).data_ptr() == place) == (share == 1.0)


def test_single_precision_takes_what_double_left() -> None:
    held = memory.empty((ROWS, 16), LIKE)
    place = held.data_ptr()
    del held
    taken = memory.empty((2 * ROWS, 16), LIKE.float())
    assert taken.dtype == torch.float32
    assert taken.data_ptr() == place


def test_little_and_much_are_left_to_the_system() -> None:
    for size in (memory.LEAST // 8 - 1, memory.MOST // 8 + 1):
        assert memory.empty((size,), LIKE).shape == (size,)
    assert not memory._spare


def test_it_is_on_the_cpu_whatever_the_default_device() -> None:
    with torch.device("meta"):
        assert memory.empty((ROWS, 16), LIKE).device.type == "cpu"


def test_what_is_spare_has_a_bound() -> None:
    held = [memory.empty((ROWS + k, 16), LIKE) for k in range(20)]
    held.clear()
    assert len(memory._spare) == memory._spare.maxlen


def test_gradients_may_be_kept_over_steps() -> None:
    """A step does not write to what the one before returned."""
    from invflow import IAF

    flow = IAF(16, 0, 2, (256, 256))
    z = torch.randn(300, 16)

    def gradients() -> list[torch.Tensor]:
        x, ladj = flow.transform(z)
        return list(torch.autograd.grad((x.square().sum(-1) - ladj).sum(), flow.parameters()))

    first = gradients()
    copies = [each.clone() for each in first]
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    second = gradients()
    assert all(map(torch.equal, first, copies))
    assert not any(map(torch.equal, first, second))
