"""Tensors that are not plain numbers in memory: the right result or a clear error, never a crash.

Each case runs in a process of its own, as a crash would end this one: forks of one process, which
imports and compiles once for all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

_SETUP = """
import torch
from invflow import IAF, MAF, NSF, RealNVP
from torch._subclasses.fake_tensor import FakeTensorMode

torch.manual_seed(0)

def build(kind, context=0):
    flow = kind(3, context, 2, (8,), **({"order": "random"} if kind in (IAF, MAF) else {}))
    return flow.double()

def freed(tensor):
    tensor.untyped_storage().resize_(0)
    return tensor

def cut(tensor):
    tensor.untyped_storage().resize_(tensor.untyped_storage().nbytes() // 2)
    return tensor

def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)

def refused(run, *words):
    try:
        run()
    except Exception as error:
        message = str(error)
        assert all(word in message for word in words), message
    else:
        raise AssertionError("not refused")

x = torch.randn(8, 3, dtype=torch.float64)
"""

_FLOWS = ["IAF", "MAF"]

#: What must be right, or refused; FLOW is a flow.
CASES = {
    # What the issue has.
    "zero-cotangents": """
flow = build(FLOW)
flow().rsample((8,)).sgn().sum().backward()
assert all(p.grad is None or not p.grad.any() for p in flow.parameters())
""",
    "zero-cotangents-of-both": """
flow = build(FLOW, 2)
c = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
y, log_q = flow(c).rsample_and_log_prob()
(y.sgn().sum() + log_q.sgn().sum()).backward()
assert not c.grad.any()
""",
    "zero-cotangents-of-data": """
flow = build(FLOW)
data = x.clone().requires_grad_()
flow().log_prob(data).sgn().sum().backward()
assert not data.grad.any()
""",
    "zero-values": """
flow = build(FLOW)
zero = torch._efficientzerotensor(8, 3, dtype=torch.float64)
close(flow().log_prob(zero), flow().log_prob(torch.zeros_like(x)))
""",
    "zero-context": """
flow = build(FLOW, 2)
zero = torch._efficientzerotensor(8, 2, dtype=torch.float64)
close(flow(zero).log_prob(x), flow(torch.zeros(8, 2).double()).log_prob(x))
""",
    "negative-views": """
flow = build(FLOW)
data = (-x).clone()
close(flow().log_prob(torch._neg_view(data)), flow().log_prob(x))
weights = {k: torch._neg_view(-v.detach()) if v.is_floating_point() else v
           for k, v in flow.named_parameters()}
close(torch.func.functional_call(flow, weights, ()).log_prob(x), flow().log_prob(x))
""",
    "expanded": """
flow = build(FLOW)
row = x[:1].clone()
close(flow().log_prob(row.expand(8, 3)), flow().log_prob(row.repeat(8, 1)))
flow().rsample((8,)).sum().backward()  # an expanded cotangent
""",
    "read-only": """
import numpy as np
flow = build(FLOW)
held = x.numpy().copy()
held.flags.writeable = False
import warnings
warnings.simplefilter("ignore")
close(flow().log_prob(torch.from_numpy(held)), flow().log_prob(x))
""",
    "shared": """
flow = build(FLOW).share_memory()
close(flow().log_prob(x.clone().share_memory_()), flow().log_prob(x))
""",
    "empty": """
flow = build(FLOW)
data = x[:0].clone().requires_grad_()
flow().log_prob(data).sum().backward()
assert data.grad.shape == (0, 3)
""",
    "freed-values": """
flow = build(FLOW)
refused(lambda: flow().log_prob(freed(x.clone())), "storage")
refused(lambda: flow.transform.inverse(freed(x.clone())), "memory", "(8, 3)")
refused(lambda: flow.transform(freed(x.clone())), "memory", "(8, 3)")
""",
    "cut-values": """
flow = build(FLOW)
refused(lambda: flow().log_prob(cut(x.clone())), "storage", "192")
refused(lambda: flow.transform.inverse(cut(x.clone())), "memory", "192")
turned = x.t().clone().t()
refused(lambda: flow.transform(cut(turned)), "memory")
""",
    "freed-weights": """
flow = build(FLOW)
for parameter in flow.parameters():
    freed(parameter.data)
refused(lambda: flow().log_prob(x), "memory")
refused(lambda: flow.transform(x), "memory")
""",
    "freed-weights-with-context": """
flow = build(FLOW, 2)
for parameter in flow.parameters():
    freed(parameter.data)
refused(lambda: flow(torch.randn(8, 2).double()).log_prob(x), "memory")
""",
    "freed-context": """
flow = build(FLOW, 2)
refused(lambda: flow(freed(torch.randn(8, 2).double())).log_prob(x), "memory")
""",
    "freed-order": """
flow = build(FLOW)
for name, buffer in flow.named_buffers():
    if name.endswith("order"):
        freed(buffer)
refused(lambda: flow().log_prob(x), "memory")
""",
    "freed-between-forward-and-backward": """
flow = build(FLOW)
loss = flow().log_prob(x).sum()
for parameter in flow.parameters():
    freed(parameter.data)
refused(loss.backward, "memory")
""",
    "freed-cotangents": """
flow = build(FLOW)
y, ladj = flow.transform(x.clone().requires_grad_())
refused(lambda: y.backward(freed(torch.randn(8, 3).double())), "memory")
""",
    "freed-saved": """
flow = build(FLOW)
with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: freed(t.clone())):
    value, ladj = flow.transform(x)
    back, back_ladj = flow.transform.inverse(x)
refused((value.sum() + ladj.sum()).backward, "memory")
refused((back.sum() + back_ladj.sum()).backward, "memory")
""",
    "saved-of-another-precision": """
flow = build(FLOW)
hooks = lambda t: t, lambda t: t.half() if t.is_floating_point() else t
with torch.autograd.graph.saved_tensors_hooks(*hooks):
    loss = flow().log_prob(x).sum()
refused(loss.backward)
""",
    "saved-of-another-shape": """
flow = build(FLOW)
with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t.flatten()[:1]):
    loss = flow().log_prob(x).sum()
refused(loss.backward)
""",
    "saved-zero": """
flow = build(FLOW)
def unpack(t):
    return torch._efficientzerotensor(t.shape, dtype=t.dtype) if t.is_floating_point() else t
with torch.autograd.graph.saved_tensors_hooks(lambda t: t, unpack):
    loss = flow().log_prob(x).sum()
try:
    loss.backward()
except Exception:
    pass
""",
    "functional": """
flow = build(FLOW)
try:
    flow().log_prob(torch._to_functional_tensor(x))
except Exception:
    pass
with torch.no_grad():  # PyTorch has no rule for autograd functions here
    value = torch.func.functionalize(lambda x: flow().log_prob(x))(x)
close(value, flow().log_prob(x))
""",
    "functional-weights": """
flow = build(FLOW)
weights = {k: torch._to_functional_tensor(v.detach()) for k, v in flow.named_parameters()}
try:
    torch.func.functional_call(flow, weights, ()).log_prob(x)
except Exception:
    pass
""",
    "fake": """
flow = build(FLOW)
with FakeTensorMode(allow_non_fake_inputs=True) as mode:
    found = flow().log_prob(mode.from_tensor(x))
assert found.shape == (8,)
try:
    flow().log_prob(mode.from_tensor(x))
except Exception:
    pass
""",
    "meta": """
flow = build(FLOW).to("meta")
assert flow().log_prob(x.to("meta")).shape == (8,)
refused(lambda: flow().log_prob(x), "meta")
flow = build(FLOW)
refused(lambda: flow().log_prob(x.to("meta")), "meta")
""",
    "sparse": """
flow = build(FLOW)
for other in (x.to_sparse(), x.to_sparse_csr(), x.float().to_mkldnn()):
    refused(lambda: flow().log_prob(other))
flow.transform(x.clone().requires_grad_())
""",
    "sparse-weights": """
flow = build(FLOW)
weights = {k: v.detach().to_sparse() if v.ndim else v for k, v in flow.named_parameters()}
refused(lambda: torch.func.functional_call(flow, weights, ()).log_prob(x))
""",
    "quantised": """
import warnings
warnings.simplefilter("ignore")
flow = build(FLOW).float()
refused(lambda: flow().log_prob(torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8)))
""",
    "subclass": """
class Mine(torch.Tensor):
    pass
flow = build(FLOW)
close(flow().log_prob(x.as_subclass(Mine)).as_subclass(torch.Tensor), flow().log_prob(x))
y, ladj = flow.transform(x.clone().requires_grad_())
y.backward(torch.ones_like(y).as_subclass(Mine))
""",
    "complex-and-conjugate": """
flow = build(FLOW)
refused(lambda: flow().log_prob(torch.complex(x, x).conj()), "dtype")
""",
    "traced": """
from torch.fx.experimental.proxy_tensor import make_fx
flow = build(FLOW)
with torch.no_grad():
    graph = make_fx(lambda x: flow().log_prob(x))(x)
close(graph(x), flow().log_prob(x))
""",
    "batched-cotangents": """
flow = build(FLOW)
data = x.clone().requires_grad_()
y, _ = flow.transform(data)
eye = torch.eye(24).double().view(24, 8, 3)
many = torch.autograd.grad(y, data, eye, is_grads_batched=True, retain_graph=True)[0]
one = torch.stack([torch.autograd.grad(y, data, e, retain_graph=True)[0] for e in eye])
close(many, one)
""",
}

#: What other maps than the kernels' own meet.
OTHERS = ["zero-cotangents", "zero-values", "negative-views", "expanded", "sparse", "meta"]
RUNS = [(name, flow) for name in CASES for flow in _FLOWS]
RUNS.remove(("batched-cotangents", "MAF"))  # PyTorch's older vmap has no rules for operators
RUNS += [(name, flow) for name in OTHERS for flow in ("NSF", "RealNVP")]


_DRIVER = """
import json, os, sys, traceback

setup, cases = json.loads(sys.stdin.read())
exec(setup)
import torch._dynamo  # with what PyTorch imports late, which no fork then has to
for kind in (IAF, MAF):
    flow = build(kind)
    flow().rsample((8,)).sum().backward()
    flow().log_prob(x).sum().backward()
found = {}
for name, case in cases.items():
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
        said = file.read()
    found[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said[-2000:]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[int, str]]:
    """Run all cases; return the exit status of each, negative for a signal, and what it said."""
    cases = {f"{flow}/{name}": CASES[name].replace("FLOW", flow) for name, flow in RUNS}
    run = subprocess.run(
        [sys.executable, "-c", _DRIVER],
        input=json.dumps([_SETUP, cases]),
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize(("name", "flow"), RUNS)
def test_right_or_refused(name: str, flow: str, found: dict[str, tuple[int, str]]) -> None:
    status, said = found[f"{flow}/{name}"]
    assert status == 0, said
