"""The kinds of models that are shared: how each is written, and what its card says."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from invflow._version import __version__

_CARD = """# {repo_id}

{summary}

{facts}

## Training data

{trained_on}

## How to load it

After `pip install "invflow[{extras}]"`:

```python
from invflow.adapters import hub

model = hub.from_pretrained("{repo_id}")
{use}
```

The repository holds JSON and safetensors. Loading checks the sizes of all tensors, and runs no code
from the files.
"""


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        module: of its class.
        name: of its class.
        save: name of the method that writes it into a directory.
        extras: what loading it needs.
        use: a line of Python that uses a `model`.
        use_given: such a line for a conditional model.
        given: returns what a model is conditional on; nothing or 0 for nothing.
        facts: returns what a model is, by name.
        data: returns what a model knows of its training data, as text.
    """

    module: str
    name: str
    save: str
    extras: str
    use: str
    use_given: str
    given: Callable[[Any], Any]
    facts: Callable[[Any], dict[str, Any]]
    data: Callable[[Any], str] = lambda model: ""

    def holds(self, model: Any) -> bool:
        """Return whether a model is of this kind, which its class cannot be before its import."""
        module = sys.modules.get(self.module)
        return module is not None and isinstance(model, getattr(module, self.name))

    def write(self, model: Any, directory: Path) -> None:
        """Write `config.json` and `model.safetensors`."""
        getattr(model, self.save)(directory)


def kind_of(model: Any) -> Kind:
    """Return the kind of a model.

    Raises:
        TypeError: if it is of none.
    """
    for kind in KINDS:
        if kind.holds(model):
            return kind
    name = type(model).__name__
    remedy = "; share its flow, posterior.flow" if name == "Posterior" else ""
    raise TypeError(f"model must be a flow, a FlowDensity or a VAE, got {name}{remedy}")


def card(model: Any, repo_id: str, trained_on: str | None) -> str:
    """Return the text of a model's card, in Markdown.

    Args:
        model: of one of the kinds.
        repo_id: where it will be.
        trained_on: the training data, as text; None if unknown.
    """
    kind = kind_of(model)
    facts = {name: value for name, value in kind.facts(model).items() if value is not None}
    facts["made with"] = f"invflow {__version__}, PyTorch {torch.__version__}"
    return _CARD.format(
        repo_id=repo_id,
        summary=(inspect.getdoc(type(model)) or "").partition("\n\n")[0],
        facts=_table("model", type(model).__name__, facts),
        trained_on="\n\n".join(filter(None, (trained_on, kind.data(model)))) or "Not stated.",
        extras=kind.extras,
        use=kind.use_given if kind.given(model) else kind.use,
    )


def _flow(flow: Any) -> dict[str, Any]:
    return {**flow.described(), "parameters": _parameters(flow)}


def _vae(model: Any) -> dict[str, Any]:
    facts = {"shape": model.shape, "levels": model.levels, **model.config}
    return {**facts, "parameters": _parameters(model)}


def _density(density: Any) -> dict[str, Any]:
    return {
        "flow": density.flow,
        "members of the ensemble": density.settings_.ensemble,
        "widths of hidden layers": density.settings_.hidden_features,
        "parameters": _parameters(density.model_),
        "steps of training": density.curve_[-1][0],
        "best bound on validation rows, nats per row": f"{max(b for _, b in density.curve_):.4g}",
    }


def _table_data(density: Any) -> str:
    """Return the columns of the table that a density was trained on."""
    columns = density.columns_
    roles = {column.of: "context" for column in columns.context}
    kinds = {column.of: column.kind for column in (*columns.features, *columns.context)}
    rows = {name: f"{kinds[name]}, {roles.get(name, 'feature')}" for name in columns.names}
    return f"A table of {columns.rows:,} rows:\n\n" + _table("column", "kind", rows)


def _parameters(module: torch.nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()):,}"


def _table(first: Any, second: Any, rows: dict[Any, Any]) -> str:
    lines = [(first, second), ("---", "---"), *rows.items()]
    return "\n".join(f"| {_cell(key)} | {_cell(value)} |" for key, value in lines)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return " ".join(text.split()).replace("|", "\\|")


#: Every kind of model that is shared.
KINDS = (
    Kind(
        "invflow.flows.named",
        "Named",
        "save_pretrained",
        "hub",
        "x = model().sample((5,))",
        "x = model(context).sample()  # context: a tensor, (batch, context)",
        lambda flow: flow.context,
        _flow,
    ),
    Kind(
        "invflow.density.estimator",
        "FlowDensity",
        "save",
        "hub,density",
        "rows = model.sample(5)",
        "rows = model.sample(5, given=values)  # values: one row of the context's columns, or five",
        lambda density: density.columns_.given,
        _density,
        _table_data,
    ),
    Kind(
        "invflow.vae.models.base",
        "LatentModel",
        "save_pretrained",
        "hub,vae",
        "images = model.sample(5)",
        "images = model.sample(5, given=given)  # given: a tensor, (5, C), or (C,) for all images",
        lambda model: model.given,
        _vae,
    ),
)
