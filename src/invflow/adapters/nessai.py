"""Flows inside nessai, a nested sampler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from invflow._extra import required
from invflow.flows.named import FLOWS


def flow_class(name: str = "maf", **options: Any) -> FlowClass:
    """Return what nessai builds its flow with, for its `flow_config={"flow": ...}`.

    nessai's settings keep their meaning: `n_blocks` is the number of transforms, `n_layers` the
    number of hidden layers and `n_neurons` their width.

    Args:
        name: the name of a flow, such as "maf" or "nsf".
        **options: further arguments of the flow, such as `order`.

    Returns:
        A function of nessai's settings that returns a `nessai.flows.base.BaseFlow`.

    Raises:
        ValueError: if the flow is unknown.

    References:
        Williams, Veitch and Messenger 2021, arXiv 2102.11056.

    Example:
        >>> flow = flow_class("maf")(n_inputs=3, n_neurons=16, n_blocks=2, n_layers=1)
        >>> x, log_q = flow.sample_and_log_prob(5)
        >>> x.shape, log_q.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """
    FLOWS.choose(name)
    return FlowClass(name, options)


@dataclass(frozen=True)
class FlowClass:
    """A flow without its sizes."""

    name: str
    options: Mapping[str, Any]

    def __call__(
        self, n_inputs: int, n_neurons: int | str | None, n_blocks: int, n_layers: int
    ) -> Any:
        """Return a flow of these sizes, as nessai calls them."""
        width = required("nessai.flows.utils", "nessai").get_n_neurons(n_neurons, n_inputs)
        sizes = {"transforms": n_blocks, "hidden_features": [width] * n_layers}
        from invflow.adapters._nessai import NessaiFlow

        return NessaiFlow({"name": self.name, "features": n_inputs, **sizes, **self.options})
