"""What is compiled, for how long, and what happens where it cannot be."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from invflow.training import Settings, compiling, fit, launch
from tests.helpers import assert_close


@pytest.fixture(autouse=True)
def _compiler(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Graphs are run without generated code, which needs no compiler."""
    if "compiler" not in request.node.name:
        monkeypatch.setattr(compiling, "has_compiler", lambda device: True)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let graphs be taken and run as they are: generating code for them takes its time."""
    ran: list[int] = []

    def backend(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            ran.append(1)
            return graph(*given)

        return run

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return ran


class Net(nn.Module):
    """A module with a buffer that counts its calls."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return self.linear(x).tanh()


def test_a_compiler_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not compiling.has_compiler("cpu")
    own = tmp_path / "own"
    own.touch(mode=0o755)
    monkeypatch.setenv("CXX", str(own))
    assert compiling.has_compiler("cpu")


def test_without_a_compiler_one_warning_has_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    nets = [Net(), Net()]
    block = compiling.compiled(nets, "cpu")
    with pytest.warns(UserWarning, match=r"needs a C\+\+ compiler.*install it") as caught:
        assert not block.__enter__()
    assert len(caught) == 1
    assert "forward" not in vars(nets[0])


# What is compiled


def test_the_same_numbers_and_an_ordinary_module_after_it(counted: list[int]) -> None:
    net, x = Net(), torch.randn(5, 3)
    twin = copy.deepcopy(net)
    names = list(net.state_dict())
    with compiling.compiled([net], "cpu"):
        assert list(net.state_dict()) == names
        for _ in range(2):
            for each in (net, twin):
                each(x).sum().backward()
        assert len(counted) == 3  # one of them to try
        pickle.dumps(net.state_dict())
    assert_close(net.linear.weight.grad, twin.linear.weight.grad)
    assert int(net.calls) == int(twin.calls) == 2
    assert "forward" not in vars(net)
    net(x)
    assert len(counted) == 3
    assert type(pickle.loads(pickle.dumps(net))) is Net


def test_evaluations_run_as_they_are(counted: list[int]) -> None:
    net = Net()
    with compiling.compiled([net], "cpu"):
        with torch.no_grad():
            net(torch.randn(5, 3))
        net.eval()(torch.randn(5, 3))
    assert not counted


def test_many_fits_and_sizes(counted: list[int]) -> None:
    """Torch keeps eight graphs of a function, and warns when there are more."""
    for _ in range(compiling.MOST_KINDS + 2):
        net, before = Net(), len(counted)
        with compiling.compiled([net], "cpu"):
            net(torch.randn(5, 3)).sum().backward()
        assert len(counted) == before + 2
    net, before = Net(), len(counted)
    with compiling.compiled([net], "cpu"):
        for rows in range(2, 2 + compiling.MOST_KINDS + 2):
            net(torch.randn(rows, 3)).sum().backward()
    assert len(counted) == before + 2 * compiling.MOST_KINDS


def test_what_cannot_be_compiled_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    net, x = Net(), torch.randn(5, 3)
    expected = copy.deepcopy(net)(x)
    with compiling.compiled([net], "cpu"):
        with pytest.warns(UserWarning, match=r"Net runs uncompiled: .*"):
            assert_close(net(x), expected)
        assert_close(net(x), expected)  # said once


def test_errors_are_those_of_the_module_and_the_block_ends(counted: list[int]) -> None:
    net = Net()
    with (
        pytest.raises(RuntimeError, match="shapes cannot be multiplied"),
        pytest.warns(UserWarning, match="Net runs uncompiled"),
        compiling.compiled([net], "cpu"),
    ):
        net(torch.randn(5, 4))
    assert "forward" not in vars(net)


def test_checks_of_distributions_stay_on() -> None:
    with compiling.compiled([Net()], "cpu"):
        # As torch's compiler does, once, at its first use.
        torch.distributions.Distribution.set_default_validate_args(False)
    with pytest.raises(ValueError, match="to satisfy the constraint"):
        torch.distributions.Normal(0.0, -1.0)


def test_a_copy_has_weights_of_its_own(counted: list[int]) -> None:
    net, x = Net(), torch.randn(5, 3)
    with compiling.compiled([net], "cpu"):
        net(x)
        other = copy.deepcopy(net)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        assert not other(x).any()
        assert net(x).any()


def test_a_forward_of_its_own_comes_back(counted: list[int]) -> None:
    net = Net()

    def mine(x: Tensor) -> Tensor:
        return 2 * x

    net.forward = mine
    with compiling.compiled([net, net], "cpu"):
        assert_close(net(torch.ones(2)), torch.full((2,), 2.0))
    assert net.forward is mine


@pytest.mark.slow
@pytest.mark.skipif(not compiling.has_compiler("cpu"), reason="needs a C++ compiler")
def test_a_second_backward_pass_by_a_compiler() -> None:
    """An importance-weighted bound needs it; by default compiled graphs free their buffers."""
    net, x = Net(), torch.randn(50, 3)
    with compiling.compiled([net], "cpu"):
        loss = net(x).sum()
        first = torch.autograd.grad(loss, net.linear.weight, retain_graph=True)
        second = torch.autograd.grad(loss, net.linear.weight)
    assert_close(first, second)


# The loop

SETTINGS = Settings(
    steps=20,
    batch_size=8,
    optimizer="adam",
    learning_rate=0.05,
    schedule="cosine",
    weight_decay=0.0,
    averaging_decay=0.9,
    max_gradient_norm=10.0,
    seed=3,
    evaluate_every=10,
)
ROWS = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))


def _fit(
    directory: Path | None, compile: bool, kill_at: int | None = None
) -> tuple[Net, list[str]]:
    lines: list[str] = []

    def loss(model: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        return (model(ROWS[rows]) - ROWS[rows, :1]).square().mean()

    def evaluate(model: nn.Module) -> dict[str, float]:
        return {"loss": float((model(ROWS) - ROWS[:, :1]).square().mean())}

    def report(step: int, line: str) -> None:
        lines.append(line)
        if step == kill_at:
            raise KeyboardInterrupt

    torch.manual_seed(0)
    net = Net()
    parts = [net.linear] if compile else []
    fit(launch("cpu"), {"net": net}, 50, loss, evaluate, SETTINGS, directory, report, parts)
    return net, lines


def test_a_compiled_training_comes_to_the_same_and_says_so(counted: list[int]) -> None:
    plain, lines = _fit(None, compile=False)
    assert lines[0] == ""
    found, lines = _fit(None, compile=True)
    assert lines[0] == "compiling for 20 steps"
    assert len(counted) == SETTINGS.steps + 1
    assert_close(found.state_dict(), plain.state_dict(), tolerance=1e-5)


def test_resuming(counted: list[int], tmp_path: Path) -> None:
    whole, _ = _fit(tmp_path / "whole", compile=True)
    with pytest.raises(KeyboardInterrupt):
        _fit(tmp_path / "killed", compile=True, kill_at=13)
    again, _ = _fit(tmp_path / "killed", compile=True)
    assert_close(again.state_dict(), whole.state_dict(), tolerance=0)
    # A checkpoint does not know how it came about.
    with pytest.raises(KeyboardInterrupt):
        _fit(tmp_path / "other", compile=True, kill_at=13)
    other, _ = _fit(tmp_path / "other", compile=False)
    assert_close(other.state_dict(), whole.state_dict(), tolerance=1e-5)
