from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from invflow import IAF, MAF, NAF, NSF, UMNN, CouplingNSF, Flow, RealNVP, flows
from invflow.conditioners import MADE
from invflow.transforms import Elementwise
from invflow.univariate import Affine, CircularSpline, Gated
from tests.helpers import context_for, flow, randn, unrecorded

SAVED: dict[str, Callable[[], Flow]] = {
    "same": flow(IAF, 3, 0, 3, (8,), order="same"),
    "reverse": flow(IAF, 3, 2, 3, (8,), order="reverse"),
    "random": flow(MAF, 8, 2, 4, (8, 8), order="random"),
    "univariate-field": flow(IAF, 3, 0, 2, (8,), univariate=Affine(bound=2.5)),
    "univariate-mapping": flow(MAF, 3, 0, 2, (8,), univariate={"name": "gated", "gate": 0.5}),
    "univariate-object": flow(IAF, 3, 1, 2, (8,), univariate=Gated(gate=3.0)),
    "univariate-circular": flow(IAF, 3, 0, 2, (8,), univariate=CircularSpline(bins=3)),
    "options": flow(IAF, 3, 0, 2, (8, 8), activation="silu", residual=True, inverse="passes"),
    "norm": flow(IAF, 3, 2, 2, (8, 8), norm=True, skip=True),
    "lstm": flow(IAF, 3, 2, 2, (8, 7), conditioner="lstm", order="random"),
    "attention": flow(MAF, 3, 2, 2, (6, 6), conditioner="attention", heads=3),
    "nsf": flow(NSF, 3, 1, 2, (8,), univariate={"name": "spline", "bins": 5}),
    "naf": flow(NAF, 3, 1, 2, (8,), univariate={"name": "sigmoidal", "units": 3}),
    "umnn": flow(UMNN, 3, 0, 1, (8,)),
    "realnvp": flow(RealNVP, 5, 2, 3, (8, 7), mask="halves"),
    "coupling-nsf": flow(CouplingNSF, 3, 0, 2, (8,), univariate={"name": "spline", "bins": 5}),
    "planar": flow(flows.Planar, 3, 2, checkpoint=True),
    "radial": flow(flows.Radial, 3),
    "sylvester": flow(flows.Sylvester, 3, 2, columns=2, basis="triangular"),
    "gaussian": flow(flows.Gaussian, 3, 2, kind="diagonal"),
    "convolution": flow(IAF, 12, 6, 2, (6, 5), conditioner="convolution", shape=(2, 2, 3)),
    "one-feature": flow(IAF, 1, 0, 2, ()),
    "wide": flow(MAF, 65, 3, 2, (16, 16)),
    "float32": lambda: flow(IAF, 3, 0, 2, (8,))().float(),
}
saved = pytest.mark.parametrize("name", SAVED)


def _numbers(flow: Flow) -> tuple[Tensor, ...]:
    dtype = next(flow.parameters()).dtype
    context = context_for(flow, 5)
    q = flow(None if context is None else context.to(dtype))
    x = randn(5, flow.features).to(dtype)
    return q.log_prob(x), *flow.transform(x, q.context)


@saved
def test_loaded_flow_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    flow = SAVED[name]()
    flow.save_pretrained(tmp_path / "model")
    for cls in (type(flow), Flow):
        twin = cls.from_pretrained(tmp_path / "model")
        assert type(twin) is type(flow)
        assert twin.config == flow.config
        assert all(map(torch.equal, _numbers(twin), _numbers(flow)))
        ours, theirs = flow.state_dict(), twin.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert all(ours[key].dtype == theirs[key].dtype for key in ours)


@saved
def test_files_are_a_configuration_and_tensors(name: str, tmp_path: Path) -> None:
    SAVED[name]().save_pretrained(tmp_path / "a" / "model")
    files = sorted(path.name for path in (tmp_path / "a" / "model").iterdir())
    assert files == ["config.json", "model.safetensors"]
    content = json.loads((tmp_path / "a" / "model" / "config.json").read_text())
    assert {"format", "invflow", "model", "config"} <= content.keys()
    # Zip archives and pickles start otherwise.
    head = (tmp_path / "a" / "model" / "model.safetensors").read_bytes()[:9]
    assert head[8:] == b"{"


def test_nothing_is_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pickled")

    for module, names in ((pickle, ("load", "loads", "dump", "dumps")), (torch, ("load", "save"))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(pickle, "Pickler", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    SAVED["random"]().save_pretrained(tmp_path)
    Flow.from_pretrained(tmp_path)


def test_loading_leaves_the_random_numbers_alone(tmp_path: Path) -> None:
    SAVED["random"]().save_pretrained(tmp_path)
    before = torch.get_rng_state()
    Flow.from_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_conditioner_given_by_its_class_is_saved_by_its_name(tmp_path: Path) -> None:
    flow = IAF(3, conditioner=MADE)
    flow.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["config"]["conditioner"] == "made"
    assert all(map(torch.equal, _numbers(IAF.from_pretrained(tmp_path)), _numbers(flow)))


def test_saved_again_after_loading_is_the_same(tmp_path: Path) -> None:
    SAVED["random"]().save_pretrained(tmp_path / "first")
    Flow.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    for name in ("config.json", "model.safetensors"):
        first, second = (tmp_path / which / name for which in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def _edited(**changes: Any) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**content, **changes}))

    return damage


def _with_config(**changes: Any) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = json.loads((path / "config.json").read_text())
        content["config"].update(changes)
        (path / "config.json").write_text(json.dumps(content))

    return damage


def _cut(name: str, share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        whole = (path / name).read_bytes()
        (path / name).write_bytes(whole[: int(len(whole) * share)])

    return damage


def _written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes(content) and None


def _tensors(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        unrecorded(path)
        tensors = safetensors.torch.load_file(path / "model.safetensors")
        change(tensors)
        safetensors.torch.save_file(tensors, path / "model.safetensors")

    return damage


def _first(tensors: dict[str, Tensor]) -> str:
    return next(key for key, value in tensors.items() if value.ndim == 2)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "config-truncated": (_cut("config.json", 0.5), r"config\.json is not a valid JSON file"),
    "config-empty": (_cut("config.json", 0), r"config\.json is empty"),
    "config-garbage": (_written("config.json", b"\xff\x00\x80"), "not a valid JSON file"),
    "config-foreign": (_written("config.json", b'{"hidden": 3}'), "was not written by invflow"),
    "config-list": (_written("config.json", b"[1, 2]"), "was not written by invflow"),
    "config-newer": (_edited(format=2, invflow="9.0.0"), r"format 2.*9\.0\.0.*reads format 1"),
    "config-no-mapping": (_edited(config=[1]), "was not written by invflow|does not fit"),
    "model-unknown": (_edited(model="rnn"), r"holds the model 'rnn', expected one of"),
    "model-no-string": (_edited(model=["iaf"]), "its model a name"),
    "option-unknown": (_with_config(colour="red"), "does not fit a flow 'iaf'.*colour"),
    "option-wrong": (_with_config(order="sideways"), "does not fit a flow 'iaf'.*order"),
    "option-wrong-type": (_with_config(features="three"), "does not fit.*features"),
    "univariate-unknown": (_with_config(univariate={"name": "cubic"}), "does not fit.*univariate"),
    "conditioner-unknown": (_with_config(conditioner="rnn"), "does not fit.*conditioner"),
    "conditioner-no-name": (_with_config(conditioner=3), "does not fit.*conditioner"),
    "other-size": (_with_config(hidden_features=[9]), "does not fit.*must have shape"),
    "tensors-truncated": (_cut("model.safetensors", 0.8), "not a valid safetensors file"),
    "tensors-empty": (_cut("model.safetensors", 0), "is empty"),
    "tensors-garbage": (_written("model.safetensors", b"\x80\x04" * 99), "not a valid safetens"),
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
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_refused(
    damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    SAVED["reverse"]().save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=rf"(?s){tmp_path}.*{message}|{message}"):
        Flow.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(name: str, tmp_path: Path) -> None:
    SAVED["same"]().save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        IAF.from_pretrained(tmp_path)


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        IAF.from_pretrained(tmp_path / "nowhere")


def test_wrong_class(tmp_path: Path) -> None:
    SAVED["same"]().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds the model 'iaf', expected one of maf"):
        MAF.from_pretrained(tmp_path)


def _fails(*arguments: Any, **_: Any) -> None:
    for path in (a for a in arguments if isinstance(a, Path)):
        path.write_bytes(b"half")
    raise OSError("No space left on device")


STEPS = {"tensors": (safetensors.torch, "save_file"), "configuration": (Path, "write_text")}


@pytest.mark.parametrize(("module", "function"), STEPS.values(), ids=STEPS)
def test_failure_on_the_way_leaves_the_old_files(
    module: Any, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SAVED["same"]().save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(module, function, _fails)
    with pytest.raises(OSError, match="No space left"):
        SAVED["wide"]().save_pretrained(tmp_path)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    Flow.from_pretrained(tmp_path)


def test_flow_by_hand_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="built from parts"):
        Flow(Elementwise(3)).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_conditioner_without_a_name_is_refused(tmp_path: Path) -> None:
    from invflow.conditioners import MADE

    def build(*arguments: Any, **options: Any) -> MADE:
        return MADE(*arguments, **options)

    with pytest.raises(ValueError, match="conditioner was given by name"):
        IAF(3, conditioner=build).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
