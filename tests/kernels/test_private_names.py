"""Without one of PyTorch's private names there are no kernels, and all results are right."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from invflow import _torch

SOURCE = Path(_torch.__file__).parent
#: Imports the library where a name is looked for in vain, and uses it.
CASE = """
class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        vars(self).pop(missing.removeprefix("nn.Module."), None)

def lacking(path):
    def get(of):
        if path == missing:
            raise AttributeError(path)
        return Bare if path == "nn.Module" else whole(path)(of)
    return get

whole, operator.attrgetter = operator.attrgetter, lacking
import invflow
from invflow import _torch, kernels
from invflow.conditioners import LSTM, MADE
from invflow.transforms import Autoregressive, Compose
operator.attrgetter = whole

found = {"torch." + missing in (_torch.MISSING or ""), not kernels.usable("cpu")}
assert found == {needed}, (_torch.MISSING, kernels.reason("cpu"))
torch.manual_seed(0)
for kind in (MADE, LSTM):
    networks = [kind(3, (0.0, 0.0), (8,)).double() for _ in range(2)]
    found = []
    for inverse in ("auto", "passes"):
        flow = Compose([Autoregressive(network, inverse=inverse) for network in networks])
        x = torch.linspace(-1, 1, 12).double().view(4, 3).requires_grad_()
        results = [*flow(x), *flow.inverse(x)]
        loss = sum(each.sin().sum() for each in results)
        found.append([*results, *torch.autograd.grad(loss, [x, *flow.parameters()])])
        found[-1].append(torch.func.jacrev(lambda x: flow.inverse(x)[0])(x.detach()[0]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
if needed:
    try:
        Autoregressive(MADE(3, (0.0, 0.0)), inverse="compiled")
    except ImportError as error:
        assert missing in str(error), error
    else:
        raise AssertionError("not refused")
"""
#: Runs cases in forks of one process, which has imported PyTorch for all of them.
DRIVER = """
import json, operator, os, sys, traceback
import torch
import torch._dynamo  # and what else PyTorch imports late
from torch import nn

case, names = json.loads(sys.stdin.read())
said = {}
for missing, needed in names.items():
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 2)
        code = 1
        try:
            exec(case)
            code = 0
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said[missing] = f"ended with {code}: {text[-2000:]}" if code else ""
print(json.dumps(said))
"""
#: Whether there are no kernels without it.
NAMES = {
    **dict.fromkeys([*_torch.NEEDED, *(f"nn.Module.{name}" for name in _torch.HOOKS)], True),
    "_C._SetExcludeDispatchKeyGuard": False,
    "none of them": False,
}


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """Return what went wrong without each of the names."""
    command = [sys.executable, "-W", "ignore", "-c", DRIVER]
    given = json.dumps([CASE, NAMES])
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_without_it_all_results_are_right(name: str, said: dict[str, str]) -> None:
    """And in PyTorch alone, if the kernels need it."""
    assert not said[name]


def test_plain_tensors_of_an_unknown_kind_are_noticed() -> None:
    """As in a later PyTorch, where no tensor would be taken for a plain one."""
    assert _torch._lacking(torch.empty(2)) is None
    with torch.inference_mode():
        assert _torch._lacking(torch.empty(2)) is None
    other = torch.ones(2, dtype=torch.complex64).conj()
    assert "plain tensors of an unknown kind" in (_torch._lacking(other) or "")


def test_they_stand_in_one_file() -> None:
    found = set[str]()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if text.startswith("torch._C") or text.endswith("_current_level"):
                found.add(str(file.relative_to(SOURCE)))
    assert found <= {"_torch.py"}
