"""Names: of univariate maps, conditioners, bases, Sylvester's bases and flows."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from invflow import IAF, MAF
from invflow._held import Held
from invflow._registry import Registry
from invflow.conditioners import CONDITIONERS, MADE
from invflow.flows import BASES, Flow, StandardNormal
from invflow.flows.named import FLOWS, build
from invflow.transforms import ORTHONORMAL, Autoregressive
from invflow.transforms.basis import Orthogonal
from invflow.univariate import UNIVARIATES, Affine, Univariate, describe
from tests.helpers import SinhArcsinh, assert_close, generator, gradients, perturbed, randn

REGISTRIES = {
    "univariate": (UNIVARIATES, Affine),
    "conditioner": (CONDITIONERS, MADE),
    "base": (BASES, StandardNormal),
    "basis": (ORTHONORMAL, Orthogonal),
    "name": (FLOWS, IAF),
}
each = pytest.mark.parametrize(("registry", "kind"), REGISTRIES.values(), ids=REGISTRIES)


@dataclass(frozen=True)
class Child(Affine):
    """A subclass that changes nothing."""


@each
def test_a_class_has_the_name_under_which_it_stands(registry: Registry[Any], kind: type) -> None:
    for name, found in registry.items():
        assert registry.choose(name) is found
        assert registry.name_of(found) == name
    assert kind in registry.values()
    assert registry.name_of(type("Derived", (kind,), {})) is None


@pytest.mark.parametrize("what", REGISTRIES)
@pytest.mark.parametrize("name", ["magic", None, 3, ["affine"]], ids=str)
def test_an_unknown_name_gets_the_known_ones(what: str, name: Any) -> None:
    registry, _ = REGISTRIES[what]
    with pytest.raises(ValueError, match=f"{what} must be one of .*{next(iter(registry))}.*got"):
        registry.choose(name)


def test_what_cannot_be_named_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"BASES\['mine'\] must be a class derived from Base, got 3"
    ):
        BASES["mine"] = 3  # type: ignore[assignment]
    with pytest.raises(TypeError, match="the name of a base must be a string, got 3"):
        BASES[3] = StandardNormal  # type: ignore[index]
    with pytest.raises(TypeError, match=r"UNIVARIATES\['mine'\] .* from Univariate, got"):
        UNIVARIATES["mine"] = MADE  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"FLOWS\['mine'\] must be a class derived from Named, got"):
        FLOWS["mine"] = lambda features: IAF(features)  # type: ignore[assignment]


@each
def test_names_of_the_library_stay_its_own(registry: Registry[Any], kind: type) -> None:
    name = registry.name_of(kind)
    with pytest.raises(ValueError, match=f"the name of the library's own {kind.__name__}"):
        registry[name] = type("Mine", (kind,), {})
    assert registry[name] is kind
    registry[name] = kind


def test_a_flow_cannot_take_a_name_of_the_library() -> None:
    with pytest.raises(ValueError, match=r"FLOWS\['iaf'\] is the name of the library's own IAF"):
        type("Mine", (IAF,), {"name": "iaf"})
    assert type(build("iaf", features=2)) is IAF


class Renamed(MADE):
    """A subclass that changes nothing."""


class Normal(StandardNormal):
    """A subclass that changes nothing."""


#: Flows of which one part has no name, and the line that would give it one.
NAMELESS: dict[str, tuple[Callable[[], Flow], str]] = {
    "map": (lambda: IAF(3, univariate=SinhArcsinh()), 'univariate.UNIVARIATES["my-name"] = SinhAr'),
    "map-child": (lambda: IAF(3, univariate=Child()), 'UNIVARIATES["my-name"] = Child'),
    "conditioner": (
        lambda: MAF(3, conditioner=Renamed), 'conditioners.CONDITIONERS["my-name"] = Renamed',
    ),
    "base": (lambda: IAF(3, base=Normal(3)), 'flows.BASES["my-name"] = Normal'),
}  # fmt: skip


@pytest.mark.parametrize(("make", "line"), NAMELESS.values(), ids=NAMELESS)
def test_what_has_no_name_works_and_is_refused_when_it_is_saved(
    make: Callable[[], Flow], line: str, tmp_path: Path
) -> None:
    flow = make().double()
    x, log_q = flow().rsample_and_log_prob((5,))
    assert_close(flow().log_prob(x), log_q, 1e-8)
    with pytest.raises(ValueError, match="given by name can be saved") as caught:
        flow.save_pretrained(tmp_path)
    assert line in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_with_the_line_it_can_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UNIVARIATES, "mine", Child)
    monkeypatch.setitem(CONDITIONERS, "mine", Renamed)
    flow = MAF(3, univariate=Child(bound=2.0), conditioner=Renamed)
    flow.save_pretrained(tmp_path)
    loaded = Flow.from_pretrained(tmp_path)
    part = next(each for each in loaded.modules() if isinstance(each, Autoregressive))
    assert type(part.conditioner) is Renamed
    assert part.univariate == Child(bound=2.0)


def test_a_flow_does_not_take_over_its_parents_name(tmp_path: Path) -> None:
    class Quiet(IAF):
        pass

    with pytest.raises(ValueError, match=r"no name of its own, only its parent's \('iaf'\)"):
        Quiet(3).save_pretrained(tmp_path)
    try:

        class Loud(IAF):
            name: ClassVar[str | None] = "loud"

        Loud(3).save_pretrained(tmp_path)
        assert type(Flow.from_pretrained(tmp_path)) is Loud
        assert type(build("loud", features=2)) is Loud
        assert "loud" in IAF.kinds()
        assert "loud" not in MAF.kinds()
    finally:
        FLOWS.pop("loud")


@pytest.mark.parametrize("copied", ["as it is", "deepcopy", "pickle"])
@pytest.mark.parametrize("inverse", ["auto", "cached", "fixed_point"])
@pytest.mark.parametrize("map", [SinhArcsinh(skew=0.3), Child(bound=1.5)], ids=repr)
def test_a_map_without_a_name_works_in_every_inverse(
    map: Univariate, inverse: str, copied: str
) -> None:
    """Also where operators know it by a string, and after the one that was copied has gone."""
    network = MADE(4, map.start, (6,))
    reference = perturbed(Autoregressive(network, map, inverse="passes"))
    transform = Autoregressive(network, map, inverse=inverse)
    if copied == "deepcopy":
        transform = copy.deepcopy(transform)
    elif copied == "pickle":
        transform = pickle.loads(pickle.dumps(transform))
    assert describe(transform.univariate) is transform.univariate
    x, found = randn(5, 4).requires_grad_(), []
    for each in (transform, reference):
        z, ladj = each.inverse(x)
        found.append([z, ladj, *gradients(z, ladj, [x, *each.parameters()])])
    assert_close(found[0], found[1], 1e-9)


def _solved(map: Univariate, inverse: str = "cached") -> Callable[[], Tensor]:
    network = MADE(4, map.start, (6,), generator=generator(1))
    transform = perturbed(Autoregressive(network, map, inverse=inverse))
    return lambda: transform.inverse(randn(5, 4))[0]


def test_a_class_that_gets_the_name_of_another_changes_no_transform_that_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a cell of a notebook that defines a map is run again, or the name is deleted."""

    @dataclass(frozen=True)
    class Again(SinhArcsinh):
        def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
            return (each + 1 for each in super().inverse(x, params))  # type: ignore[return-value]

    monkeypatch.setitem(UNIVARIATES, "mine", SinhArcsinh)
    solve = _solved(SinhArcsinh())
    before = solve()
    monkeypatch.setitem(UNIVARIATES, "mine", Again)
    assert torch.equal(solve(), before)
    monkeypatch.delitem(UNIVARIATES, "mine")
    assert torch.equal(solve(), before)
    assert_close(before, _solved(SinhArcsinh(), "passes")(), 1e-10)


def test_a_map_with_a_name_may_have_any_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Weighted(SinhArcsinh):
        weight: Tensor = dataclasses.field(default_factory=lambda: torch.ones(3), compare=False)

    monkeypatch.setitem(UNIVARIATES, "weighted", Weighted)
    assert_close(_solved(Weighted())(), _solved(SinhArcsinh(), "passes")(), 1e-10)


def test_what_is_known_by_a_string_alone_is_not_kept() -> None:
    held, map = Held[Univariate](), SinhArcsinh()
    string = held.string(map)
    assert held[string] is map
    del map
    gc.collect()
    with pytest.raises(RuntimeError, match=r"SinhArcsinh has been deleted, .* keep the transform"):
        held[string]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_a_map_without_a_name_compiles() -> None:
    transform = perturbed(Autoregressive(MADE(3, (0.0,) * 3, (6,)), SinhArcsinh(skew=0.3)))
    x = randn(5, 3)
    torch._dynamo.reset()
    compiled = torch.compile(transform.inverse, fullgraph=True, backend="aot_eager")

    def both(run: Callable[[Tensor], Any]) -> list[Tensor]:
        given = x.clone().requires_grad_()
        z, ladj = run(given)
        return [z, ladj, *gradients(z, ladj, [given])]

    assert_close(both(compiled), both(transform.inverse), 1e-11)
