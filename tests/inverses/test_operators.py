"""The sweeps as custom operators of torch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from invflow.conditioners import CachedConditioner, ReversiblePlan
from invflow.inverses import decode, replay, reverse
from tests.helpers import AUTOREGRESSIVE, context_for, fast, over, randn

TESTS: Sequence[str] = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")

NAMES = [name for name in AUTOREGRESSIVE if "65" not in name and "panels" not in name]
#: Each conditioner, with groups and without.
QUICK = [
    "made-1",
    "made-1-context-no-hidden",
    "made-3-context",
    "made-8-groups-norm",
    "lstm-8-sizes",
]
QUICK += ["lstm-3-two-layers-context", "attention-3-two-blocks-context", "convolution-2x2-context"]
QUICK += ["attention-8-groups-three-blocks-context"]


@pytest.mark.parametrize("name", fast([over(name) for name in QUICK], NAMES))
def test_operators_keep_torchs_rules(name: str) -> None:
    transform = AUTOREGRESSIVE[name]()
    assert isinstance(transform.conditioner, CachedConditioner)
    method = transform.method
    assert method is not None
    x, context = randn(transform.features, 4), context_for(transform, 4)
    with torch.no_grad():
        offset, weights = transform.conditioner.pack((4,), context)
        weights = [weight.detach() for weight in weights]
        offset = offset.detach()
        arguments = (method.kind, *method.recipes, x, offset, weights)
        torch.library.opcheck(decode.decode, arguments, test_utils=TESTS)
        z, params, hidden = decode.decode(*arguments)
        rows = params.unflatten(0, (transform.features, transform.conditioner.outputs))
        if isinstance(method.plan, ReversiblePlan):
            ratio = randn(*rows.shape, seed=1)
            arguments = (method.kind, method.plan_recipe, rows, ratio, hidden, weights)
            torch.library.opcheck(reverse.decode_pullback, arguments, test_utils=TESTS)
        else:
            slopes, _ = transform.univariate.slopes(z, rows.transpose(1, 2))
            cotangents = [randn(*z.shape, seed=1), randn(*params.shape, seed=2)]
            arguments = (*arguments[:5], z, slopes, offset, weights, cotangents)
            torch.library.opcheck(replay.replay, arguments, test_utils=TESTS)
