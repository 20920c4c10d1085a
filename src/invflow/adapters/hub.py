"""Models on the Hugging Face Hub: flows, densities of tables, and VAEs."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from invflow import _saving
from invflow._extra import required
from invflow._version import __version__
from invflow.adapters._shared import kind_of
from invflow.flows.named import FLOWS, Named

#: What is downloaded: loading reads nothing else.
FILES = (_saving.CONFIG, _saving.TENSORS)
#: What a repository may be called: "name" or "user/name".
REPOSITORY = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)


def push_to_hub(
    model: Any,
    repo_id: str,
    *,
    trained_on: str | None = None,
    license: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str = "Upload a model of invflow",
) -> str:
    """Upload a model with a card, `README.md`, that says what it is and what it was trained on.

    A density of a table contains more than its weights: the names of the columns, their ranges,
    the categories and the scores of the validation rows. It is uploaded too.

    Args:
        model: a flow, a fitted `FlowDensity`, a `VAE` or another `LatentModel`.
        repo_id: "user/name" on the Hub, created if it does not exist. Its card is replaced.
        trained_on: the training data, as Markdown text for the card.
        license: the licence, as one of the Hub's identifiers, such as "mit" or "cc-by-4.0".
        private: whether a new repository is private; None for the default of the account.
        token: access token; None for the one that `hf auth login` has stored.
        commit_message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        ImportError: if huggingface_hub is not installed.
        TypeError: if the model is of another kind.
        ValueError: if the model, or a part of it, has no name by which it could be rebuilt.

    References:
        https://huggingface.co/docs/huggingface_hub/package_reference/mixins

    Example:
        >>> push_to_hub(None, "user/name")
        Traceback (most recent call last):
        TypeError: model must be a flow, a FlowDensity or a VAE, got NoneType
    """
    kind = kind_of(model)
    required("huggingface_hub", "hub")
    from invflow.adapters._hub import Shared

    with TemporaryDirectory() as directory:  # if this fails, no repository is created
        kind.write(model, Path(directory))
    return Shared(model).push_to_hub(
        repo_id,
        private=private,
        token=token,
        commit_message=commit_message,
        model_card_kwargs={"repo_id": repo_id, "trained_on": trained_on, "license": license},
    )


def from_pretrained(
    repo_id: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Any:
    """Return a model from the Hub, or from a directory. Loading never runs code from the files.

    Args:
        repo_id: "user/name" on the Hub, or a directory.
        revision: a branch, a tag or a commit; None for the newest. A commit cannot change later.
        token: access token for a private repository; None for the one that `hf auth login` has
            stored.
        cache_dir: where downloads are kept; None for the Hub's default.
        local_files_only: whether to use only what was downloaded before.

    Returns:
        A flow, a `FlowDensity` or a VAE, by what the repository holds; on the CPU.

    Raises:
        FileNotFoundError: if there is no such directory, and it cannot be a repository's name.
        ImportError: if huggingface_hub, or what the model needs, is not installed.
        NotADirectoryError: if it is a file.
        OSError: if a file is missing, or cannot be downloaded or read.
        ValueError: if a file is damaged, foreign or newer than this version, if the files were not
            saved together, or if they hold a model of another kind.

    Example:
        >>> import tempfile, torch, invflow
        >>> directory = tempfile.mkdtemp()
        >>> invflow.MAF(features=2).save_pretrained(directory)
        >>> from_pretrained(directory)().log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    if Path(repo_id).is_dir():
        return load(Path(repo_id))
    if Path(repo_id).exists():
        raise NotADirectoryError(f"{repo_id} is a file; expected a directory with a model")
    if isinstance(repo_id, Path) or not REPOSITORY.fullmatch(repo_id):
        raise FileNotFoundError(
            f"there is no directory {str(repo_id)!r} here, and a repository on the Hub has a name "
            'like "user/name"'
        )
    download = required("huggingface_hub", "hub").snapshot_download
    try:
        directory = download(
            repo_id,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=list(FILES),
        )
    except Exception as error:
        error.add_note(f"and there is no directory {repo_id!r} here")
        raise
    return load(Path(directory))


def load(directory: Path) -> Any:
    """Return the model in a directory, whatever its kind.

    Raises:
        ImportError: if what the model needs is not installed.
        OSError: if a file is missing or cannot be read.
        ValueError: if a file is damaged, or the model is of another kind.
    """
    name, _ = _saving.read_config(directory)
    if name in FLOWS:
        return Named.from_pretrained(directory)
    if name == "table-density":
        from invflow.density import FlowDensity

        return FlowDensity.load(directory)
    from invflow.vae import MODELS, LatentModel

    if name in MODELS:
        return LatentModel.from_pretrained(directory)
    raise ValueError(
        f"{directory} holds the model {_saving.short(name)}, which is not a flow, a FlowDensity "
        f"or a VAE of this version, {__version__}"
    )
