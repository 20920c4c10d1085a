"""Models go to the Hub and come back, without a network: uploads are caught, downloads cached."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import invflow
from invflow import flows, vi
from invflow.adapters import hub
from invflow.adapters._shared import card, kind_of
from invflow.density import FlowDensity
from invflow.vae import VAE
from tests.helpers import FLOWS, context_for, perturbed, randn, unrecorded

pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")

REPO, COMMIT = "user/name", "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """What the mixin asks of the Hub, with repositories in the layout of the Hub's cache."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.created: list[str] = []
        self.tokens: list[str | None] = []

    def __call__(self, token: str | None = None) -> FakeHub:
        self.tokens.append(token)
        return self

    def create_repo(self, repo_id: str, **options: Any) -> Any:
        self.created.append(repo_id)
        self.options = options
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(self, repo_id: str, folder_path: Path, **options: Any) -> str:
        self.folder.parent.mkdir(parents=True)
        shutil.copytree(folder_path, self.folder)
        refs = self.folder.parents[1] / "refs"
        refs.mkdir()
        (refs / "main").write_text(COMMIT)
        self.options |= options
        return f"https://huggingface.co/{repo_id}/commit/{COMMIT}"

    @property
    def folder(self) -> Path:
        return self.cache / "models--user--name" / "snapshots" / COMMIT

    def load(self) -> Any:
        return hub.from_pretrained(REPO, cache_dir=self.cache, local_files_only=True)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    made = FakeHub(tmp_path)
    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", made)
    return made


@pytest.fixture(scope="module")
def density() -> FlowDensity:
    rows = np.random.default_rng(0).normal(5.0, 2.0, (60, 2))
    return FlowDensity("maf", steps=5, random_state=0).fit(rows)


def vae() -> VAE:
    return VAE((1, 2, 2), levels=4, latents=2, hidden_features=(4,), context=3)


@pytest.mark.parametrize("name", ["maf-2-context", "iaf-1", "nsf-8", "tarflow-1x2x2-classes"])
def test_a_flow_comes_back_to_the_bit(name: str, fake: FakeHub) -> None:
    flow = FLOWS[name]()
    assert hub.push_to_hub(flow, REPO).endswith(COMMIT)
    again = fake.load()
    assert type(again) is type(flow)
    x, c = randn(5, flow.features), context_for(flow, 5)
    assert torch.equal(again(c).log_prob(x), flow(c).log_prob(x))


def test_a_mixture_comes_back(fake: FakeHub) -> None:
    flow = perturbed(flows.FlowMixture([invflow.MAF(2), invflow.NSF(2)]))
    hub.push_to_hub(flow, REPO)
    x = randn(5, 2)
    assert torch.equal(fake.load()().log_prob(x), flow().log_prob(x))


def test_a_density_of_a_table_comes_back(fake: FakeHub, density: FlowDensity) -> None:
    hub.push_to_hub(density, REPO)
    again = fake.load()
    rows = np.random.default_rng(1).normal(5.0, 2.0, (7, 2))
    assert np.array_equal(again.score_samples(rows), density.score_samples(rows))
    assert np.array_equal(again.sample(3, random_state=0), density.sample(3, random_state=0))


def test_a_vae_comes_back(fake: FakeHub) -> None:
    model = vae().eval()
    hub.push_to_hub(model, REPO)
    source = [torch.Generator().manual_seed(0) for _ in range(2)]
    assert torch.equal(fake.load().sample(3, source[0]), model.sample(3, source[1]))


def test_what_is_uploaded(fake: FakeHub) -> None:
    from huggingface_hub import ModelCard

    told = {"private": True, "token": "secret", "commit_message": "Mine"}
    hub.push_to_hub(invflow.MAF(3, 2), REPO, trained_on="Ten thousand rows.", license="mit", **told)
    assert fake.created == [REPO]
    assert (fake.options["private"], fake.options["commit_message"]) == (True, "Mine")
    assert fake.tokens == ["secret"]
    assert sorted(path.name for path in fake.folder.iterdir()) == [
        *("README.md", "config.json", "model.safetensors")
    ]
    written = ModelCard.load(fake.folder / "README.md")
    assert written.data.to_dict() == {
        "library_name": "invflow",
        "license": "mit",
        "tags": ["normalizing-flow", "model_hub_mixin"],
    }
    for words in ("# user/name", "Ten thousand rows.", "| features | 3 |", "| transforms | 3 |"):
        assert words in written.content
    assert "secret" not in written.content


def test_the_cards_name_what_is_known(density: FlowDensity) -> None:
    flow = card(invflow.MAF(3), REPO, None)
    assert "## Training data\n\nNot stated." in flow
    assert "invflow[hub]" in flow
    count = sum(each.numel() for each in invflow.MAF(3).parameters())
    assert f"| parameters | {count:,} |" in flow
    table = card(density, REPO, "Lengths of beetles.")
    assert "Lengths of beetles.\n\nA table of 60 rows:" in table
    assert "| x0 | continuous, feature |" in table
    assert "model.sample(5)\n" in table
    assert "invflow[hub,density]" in table
    assert "| levels | 4 |" in card(vae(), REPO, None)
    assert "null" not in flow + table


def test_the_card_loads_a_conditional_model_with_its_context() -> None:
    assert "x = model().sample((5,))" in card(invflow.MAF(3), REPO, None)
    assert "x = model(context).sample()" in card(invflow.MAF(3, context=2), REPO, None)
    assert "model.sample(5)\n" in card(vae(), REPO, None)
    conditional = VAE((1, 2, 2), levels=4, latents=2, hidden_features=(4,), given=2)
    assert "model.sample(5, given=given)" in card(conditional, REPO, None)


def test_names_of_columns_do_not_break_the_card() -> None:
    pandas = pytest.importorskip("pandas")
    rows = np.random.default_rng(0).normal(size=(60, 2))
    frame = pandas.DataFrame(rows, columns=["a|b\nc", "given"])
    density = FlowDensity("gaussian", conditional_on=["given"], steps=2, random_state=0).fit(frame)
    text = card(density, REPO, None)
    assert "| a\\|b c | continuous, feature |" in text
    assert "| given | continuous, context |" in text
    assert "model.sample(5, given=values)" in text


def test_the_mixin_saves_into_a_directory(tmp_path: Path) -> None:
    from invflow.adapters._hub import Shared

    flow = FLOWS["maf-2-context"]()
    Shared(flow).save_pretrained(tmp_path, model_card_kwargs={"repo_id": REPO})
    again = hub.from_pretrained(tmp_path)
    x, c = randn(5, 2), context_for(flow, 5)
    assert torch.equal(again(c).log_prob(x), flow(c).log_prob(x))


def test_a_model_that_cannot_be_rebuilt_creates_no_repository(fake: FakeHub) -> None:
    with pytest.raises(ValueError, match="built from parts has no configuration"):
        hub.push_to_hub(FLOWS["by-hand"](), REPO)
    assert fake.created == []


def test_other_things_are_not_shared(fake: FakeHub) -> None:
    with pytest.raises(TypeError, match="must be a flow, a FlowDensity or a VAE, got Linear"):
        hub.push_to_hub(torch.nn.Linear(2, 2), REPO)
    posterior = vi.Posterior(vi.Flat(lambda z: -z.square().sum(-1), 1), flows.Gaussian(1).double())
    with pytest.raises(TypeError, match=r"got Posterior; share its flow, posterior\.flow"):
        hub.push_to_hub(posterior, REPO)
    assert fake.created == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[1, 2]", "was not written by invflow"),
        ("[" * 10_000, "not a valid JSON file"),
        ('{"format": 1, "format": 1}', "appears twice"),
        ('{"format": 1, "model": "os.system", "config": {}}', "which is not a flow, a FlowDensity"),
        ('{"format": 99, "model": "maf", "config": {}}', "format 99"),
        (
            '{"format": 1, "model": "' + "x" * 9999 + '", "config": {}}',
            r"model 'x{39}\.\.\., which",
        ),
        (r'{"format": 1, "model": "\u001b[31m", "config": {}}', r"model '\\x1b\[31m', which"),
        (r'{"format": "\u001b", "model": "maf", "config": {}}', r"has format '\\x1b', written"),
        ('{"format": 1, "model": "maf", "config": {"' + "x" * 9999 + '": 1}}', "does not fit"),
        (r'{"format": 1, "model": "maf", "config": {"\u001b": 1}}', "does not fit"),
        ('{"format": 1, "model": "maf", "config": {"features": 1000000000}}', "does not fit"),
    ],
)
def test_a_hostile_configuration_is_one_clear_error(config: str, said: str, fake: FakeHub) -> None:
    hub.push_to_hub(invflow.MAF(2), REPO)
    (fake.folder / "config.json").write_text(config)
    with pytest.raises(ValueError, match=said) as caught:
        fake.load()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_tensors_of_other_sizes_are_refused(fake: FakeHub) -> None:
    hub.push_to_hub(invflow.MAF(2), REPO)
    invflow.MAF(3).save_pretrained(fake.cache / "other")
    shutil.copy(fake.cache / "other" / "model.safetensors", fake.folder)
    with pytest.raises(ValueError, match="not saved together"):
        fake.load()
    unrecorded(fake.folder)
    with pytest.raises(ValueError, match="does not fit a flow 'maf'"):
        fake.load()


def test_every_kind_writes_what_is_downloaded(density: FlowDensity, tmp_path: Path) -> None:
    for model in (invflow.MAF(2), density, vae()):
        kind = kind_of(model)
        kind.write(model, tmp_path / kind.name)
        written = sorted(path.name for path in (tmp_path / kind.name).iterdir())
        assert written == sorted(hub.FILES)


def test_only_these_files_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(repo_id: str, **options: Any) -> str:
        asked.update(options, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    invflow.MAF(2).save_pretrained(tmp_path)
    hub.from_pretrained(REPO, revision=COMMIT)
    assert (asked["repo_id"], asked["revision"]) == (REPO, COMMIT)
    assert asked["allow_patterns"] == ["config.json", "model.safetensors"]


def test_a_mistyped_directory_is_not_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*given: Any, **options: Any) -> str:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for what in (tmp_path / "none", str(tmp_path / "none"), Path("user/name"), "./x", "a/b/c"):
        with pytest.raises(FileNotFoundError, match=r'has a name like "user/name"'):
            hub.from_pretrained(what)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotADirectoryError, match="is a file; expected a directory with a model"):
        hub.from_pretrained(tmp_path / "config.json")


def test_what_the_hub_does_not_have_may_be_a_mistyped_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        hub.from_pretrained("runs/tabel", cache_dir=tmp_path, local_files_only=True)
    assert caught.value.__notes__ == ["and there is no directory 'runs/tabel' here"]


def test_a_pickle_is_not_read(fake: FakeHub, tmp_path: Path) -> None:
    hub.push_to_hub(invflow.MAF(2), REPO)
    (fake.folder / "model.safetensors").unlink()
    torch.save({}, fake.folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        fake.load()
    assert "model" in json.loads((fake.folder / "config.json").read_text())
