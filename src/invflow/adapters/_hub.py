"""The Hub's own mixin around a model. This module imports huggingface_hub."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from invflow.adapters._shared import card, kind_of

# Untyped, because type checkers must pass without it too.
_hub: Any = import_module("huggingface_hub")
ModelHubMixin: Any = _hub.ModelHubMixin


class Shared(ModelHubMixin):
    """A model as the Hub's mixin takes it.

    Args:
        shared: a flow, a `FlowDensity` or a VAE.
    """

    def __init__(self, shared: Any) -> None:
        self.shared = shared

    def _save_pretrained(self, save_directory: Path) -> None:
        kind_of(self.shared).write(self.shared, save_directory)

    def generate_model_card(
        self, *, repo_id: str, trained_on: str | None = None, license: str | None = None
    ) -> Any:
        """Return the card of the model.

        Args:
            repo_id: where it will be.
            trained_on: the training data, as text.
            license: the licence, as one of the Hub's identifiers.
        """
        tags = ["normalizing-flow", "model_hub_mixin"]
        data = _hub.ModelCardData(library_name="invflow", license=license, tags=tags)
        text = card(self.shared, repo_id, trained_on)
        return _hub.ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")
