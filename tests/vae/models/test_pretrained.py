"""Models of images saved outside of runs; what is loaded is what can be, and nothing runs."""

from __future__ import annotations

import inspect
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from invflow import IAF
from invflow.flows import Flow
from invflow.transforms import Elementwise
from invflow.vae import VAE, DiscretisedLogistic, LogisticMixture, Normal, ResNetVAE
from invflow.vae.models.base import MODELS, LatentModel
from invflow.vae.models.prior import Vamp
from tests.flows.test_saving import _cut, _edited, _tensors, _with_config, _written
from tests.helpers import generator, perturbed

SHAPE = (1, 3, 4)
SMALL: dict[str, Any] = {
    "latents": 3,
    "hidden_features": (5,),
    "context": 4,
    "flow_transforms": 1,
    "flow_hidden_features": (5,),
}


def _vae(levels: int = 17, **options: Any) -> VAE:
    torch.manual_seed(0)
    return perturbed(VAE(SHAPE, levels, **{**SMALL, **options}), scale=0.1)


def _normal() -> VAE:
    vae = _vae(0, likelihood="normal")
    vae.likelihood.standardise(3 + 100 * torch.randn(9, 12, generator=generator(0)))
    return vae


def _resnet_vae(**options: Any) -> ResNetVAE:
    torch.manual_seed(0)
    vae = ResNetVAE(
        (3, 4, 5),
        256,
        depths=(1, 1),
        feature_maps=3,
        latent_maps=1,
        inference="bottom-up",
        flow_hidden_features=(3,),
        **options,
    )
    return perturbed(vae, scale=0.1)


SAVED: dict[str, Callable[[], LatentModel]] = {
    "iaf": _vae,
    "full": lambda: _vae(posterior="full"),
    "sylvester": lambda: _vae(posterior="sylvester"),
    "attention": lambda: _vae(posterior="iaf-attention", flow_hidden_features=(8,)),
    "flow": lambda: _vae(posterior=IAF(3, 4, 2, (5,), order="random")),
    "vamp": lambda: _vae(prior="vamp"),
    "autoregressive": lambda: _vae(prior="autoregressive"),
    "gated": lambda: _vae(network="gated"),
    "resnet-network": lambda: _vae(network="resnet"),
    "bernoulli": lambda: _vae(likelihood="bernoulli"),
    "categorical": lambda: _vae(likelihood="categorical"),
    "mixture": lambda: _vae(likelihood=LogisticMixture(17, 3)),
    "normal": _normal,
    "float32": lambda: _vae().float(),
    "half": lambda: _vae().bfloat16(),
    "resnet-vae": _resnet_vae,
    "shared": lambda: _resnet_vae(likelihood="shared-logistic", flow_map="additive"),
}
saved = pytest.mark.parametrize("name", SAVED)


def _numbers(model: LatentModel) -> tuple[Tensor, ...]:
    model.eval()
    count = 5, model.pixels
    rows = torch.randint(model.levels or 17, count, generator=generator(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = model.observe(rows, generator(1))
    elbo = model.elbo(x, generator(2))
    return elbo.fit, elbo.kls, model.sample(3, generator(3)), model.reconstruct(x, generator(4))


@saved
def test_a_loaded_model_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    model = SAVED[name]()
    model.save_pretrained(tmp_path / "model")
    for cls in (type(model), LatentModel):
        twin = cls.from_pretrained(tmp_path / "model")
        assert type(twin) is type(model)
        assert not twin.training
        ours, theirs = model.state_dict(), twin.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert all(ours[key].dtype == theirs[key].dtype for key in ours)
        if name != "half":  # bfloat16 is for storage: not all of its arithmetic is on CPUs
            assert all(map(torch.equal, _numbers(twin), _numbers(model)))
    twin.save_pretrained(tmp_path / "again")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "model" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    files = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert files == ["config.json", "model.safetensors"]


def test_loading_leaves_the_random_numbers_alone(tmp_path: Path) -> None:
    model = _vae()
    model.save_pretrained(tmp_path)
    before = torch.get_rng_state()
    VAE.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", MODELS)
def test_the_configuration_holds_every_argument(name: str, tmp_path: Path) -> None:
    build = {"vae": _vae, "resnet-vae": _resnet_vae}[name]
    build().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())["config"]
    assert config.keys() == inspect.signature(MODELS[name]).parameters.keys()


def test_nothing_is_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pickled")

    for module, names in ((pickle, ("load", "loads", "dump", "dumps")), (torch, ("load", "save"))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    _vae().save_pretrained(tmp_path)
    VAE.from_pretrained(tmp_path)


def _nan(tensors: dict[str, Tensor]) -> None:
    tensors["encoder.0.weight"][0, 0] = torch.nan


def _infinite(tensors: dict[str, Tensor]) -> None:
    tensors["posterior.transform.transforms.0.given.bias"][0] = torch.inf


def _first(tensors: dict[str, Tensor]) -> str:
    return next(key for key, value in tensors.items() if value.ndim == 2)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "config-truncated": (_cut("config.json", 0.5), r"config\.json is not a valid JSON file"),
    "config-empty": (_cut("config.json", 0), r"config\.json is empty"),
    "config-foreign": (_written("config.json", b'{"hidden": 3}'), "was not written by invflow"),
    "config-newer": (_edited(format=2, invflow="9.0.0"), r"format 2.*9\.0\.0.*reads format 1"),
    "config-list": (_edited(config=[1]), "its config must be an object"),
    "config-empty-object": (_edited(config={}), "does not fit a model 'vae': 'levels'"),
    "model-unknown": (_edited(model="gan"), "holds the model 'gan', expected one of vae"),
    "model-run": (
        _edited(model="vae-run"),
        r"holds a VAE run; load it with invflow\.vae\.run\.load\(directory\)\.model\(\)",
    ),
    "model-flow": (_edited(model="iaf"), "holds the model 'iaf', expected one of vae"),
    "model-other": (_edited(model="resnet-vae"), "holds the model 'resnet-vae', expected one of v"),
    "option-unknown": (_with_config(colour="red"), "does not fit a model 'vae'.*colour"),
    "shape": (_with_config(shape=[1, 3]), "does not fit a model 'vae': shape must be"),
    "shape-large": (_with_config(shape=[1, 3, 10**9]), "larger than all saved tensors together"),
    "shape-text": (_with_config(shape="image"), "does not fit a model 'vae': shape must be a seq"),
    "levels": (_with_config(levels=-1), "does not fit.*levels must be at least 2"),
    "widths-large": (_with_config(hidden_features=[60_000] * 9), "describes a larger model than"),
    "likelihood-unknown": (_with_config(likelihood={"name": "poisson"}), "likelihood must be one"),
    "likelihood-text": (_with_config(likelihood="logistic"), "does not fit a model 'vae'"),
    "likelihood-option": (
        _with_config(likelihood={"name": "logistic", "eval": "1"}),
        "does not fit a model 'vae'.*eval",
    ),
    "likelihood-real": (
        _with_config(likelihood={"name": "normal", "features": 12}),
        "likelihood must have 17 levels",
    ),
    "posterior-unknown": (_with_config(posterior="x"), "does not fit.*posterior must be one of"),
    "posterior-flow": (_with_config(posterior={"name": "x"}), "does not fit a model 'vae'.*'x'"),
    "posterior-null": (_with_config(posterior=None), "posterior must be a name or a Flow"),
    "prior": (_with_config(prior=["normal"]), "prior must be a name or a Prior, got list"),
    "network": (_with_config(network=["mlp", "mlp"]), "network must be a name, or an encoder and"),
    "other-size": (_with_config(hidden_features=[6]), "does not fit.*must have shape"),
    "tensors-truncated": (_cut("model.safetensors", 0.8), "not a valid safetensors file"),
    "tensors-garbage": (_written("model.safetensors", b"\x80\x04" * 99), "not a valid safetens"),
    "tensor-nan": (_tensors(_nan), r"encoder\.0\.weight must be finite"),
    "tensor-infinite": (_tensors(_infinite), r"transform.* must be finite"),
    "tensor-shape": (
        _tensors(lambda tensors: tensors.update({_first(tensors): torch.zeros(2, 2)})),
        "does not fit.*must have shape",
    ),
    "tensor-missing": (
        _tensors(lambda tensors: tensors.pop(_first(tensors))),
        "does not fit.*the saved tensors lack",
    ),
    "tensor-unexpected": (
        _tensors(lambda tensors: tensors.update(more=torch.zeros(1))),
        "does not fit.*the saved tensors hold 'more'",
    ),
    "tensor-dtypes": (
        _tensors(lambda t: t.update({_first(t): t[_first(t)].float()})),
        "tensors must all have the same precision",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_refused(
    damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    _vae().save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=rf"(?s){tmp_path}.*{message}|{message}") as raised:
        VAE.from_pretrained(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(name: str, tmp_path: Path) -> None:
    _vae().save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        VAE.from_pretrained(tmp_path)


class MyLikelihood(DiscretisedLogistic):
    """A likelihood of the user's."""


class MyVAE(VAE):
    """A model of the user's."""


def _own_network() -> tuple[nn.Module, nn.Module]:
    decoder = nn.Sequential(nn.Linear(3, 24), nn.Unflatten(-1, (12, 2)))
    return nn.Linear(12, 4), decoder


def _other_decoder() -> VAE:
    vae = _vae()
    vae.decoder = _own_network()[1].double()
    return vae


def _other_width() -> VAE:
    vae = _vae()
    vae.encoder[0], vae.encoder[2] = nn.Linear(12, 6).double(), nn.Linear(6, 4).double()
    return vae


REFUSED: dict[str, tuple[Callable[[], VAE], str]] = {
    "network": (
        lambda: _vae(network=_own_network()),
        "network was given as an object, which a configuration cannot rebuild: give a name, or "
        r"save the model's state_dict\(\) instead",
    ),
    "prior": (lambda: _vae(prior=Vamp(3, 12, 4)), "prior was given as an object"),
    "posterior": (
        lambda: _vae(posterior=Flow(Elementwise(3, context=4))),
        r"built from parts has no configuration to save; save its state_dict\(\) instead",
    ),
    "likelihood": (
        lambda: _vae(likelihood=MyLikelihood(17)),
        "likelihood: a MyLikelihood has no name by which it could be rebuilt; save the model's "
        r"state_dict\(\) instead",
    ),
    "class": (
        lambda: perturbed(MyVAE(SHAPE, 17, **SMALL)),
        "the class MyVAE has no name by which it could be rebuilt: register it with "
        r'invflow\.vae\.MODELS\["my-name"\] = MyVAE',
    ),
    "changed": (_other_decoder, "decoder.* has been changed since the model was built"),
    "changed-width": (_other_width, r"encoder\.\d has been changed since the model was built"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_rebuilt_is_refused_by_name(name: str, tmp_path: Path) -> None:
    build, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        build().save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_several_precisions_are_refused(tmp_path: Path) -> None:
    vae = _vae()
    vae.decoder.float()
    with pytest.raises(TypeError, match="tensors must all have the same precision"):
        vae.save_pretrained(tmp_path)


def test_a_likelihood_with_units_keeps_them(tmp_path: Path) -> None:
    vae = _normal()
    vae.save_pretrained(tmp_path)
    likelihood = VAE.from_pretrained(tmp_path).likelihood
    assert isinstance(likelihood, Normal)
    assert torch.equal(likelihood.unit, vae.likelihood.unit)
    with pytest.warns(UserWarning, match="out of the range that the model is set for"):
        likelihood.check(torch.full((1, 12), 1e6))
