"""Tries an installed invflow without extras: `python .ci/installed.py compiled|pytorch`."""

import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path

import torch

import invflow

(expected,) = sys.argv[1:]
assert "site-packages" in Path(invflow.__file__).parts, invflow.__file__
assert invflow.__version__ == metadata.version("invflow")

with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    flow = invflow.MAF(features=3, context=2)
    context = torch.zeros(5, 2)
    x, log_q = flow(context).rsample_and_log_prob()
    torch.testing.assert_close(flow(context).log_prob(x), log_q, rtol=1e-4, atol=1e-4)
    flow(context).log_prob(x.detach()).sum().backward()
    assert all(parameter.grad is not None for parameter in flow.parameters())
about = [str(each.message).splitlines()[0] for each in warned]
for line in about:
    print(f"warning: {line}")
# Without kernels, one warning says so, and what to do.
assert len(about) == (expected == "pytorch"), about
assert all("C compiler" in line for line in about)

flow.save_pretrained("flow")
again = invflow.MAF.from_pretrained("flow")
assert torch.equal(again(context).log_prob(x), flow(context).log_prob(x))

posterior = invflow.vi.fit(lambda z: -0.5 * z.square().sum(-1), dim=2)
assert posterior.diagnose().level == "good"

command = Path(sys.executable).with_name("invflow")
doctor = subprocess.run([command, "doctor"], capture_output=True, text=True, check=True).stdout
print(doctor, end="")
assert ("compiled kernels" in doctor) == (expected == "compiled")
alone = subprocess.run([command], capture_output=True, text=True, check=False)
assert alone.returncode == 1
assert 'pip install "invflow[all]"' in alone.stderr
