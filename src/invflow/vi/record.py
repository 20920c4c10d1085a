"""What a fit notes of its course."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Record:
    """What a fit has noted.

    Args:
        evaluations: of the log density, by this process.
        non_finite: how many of these were NaN or infinite, and rejected.
        seconds: how long it took.
        steps: of training.
        stopped: why it stopped: "converged", "most_steps" or "interrupted"; "" if unknown.
        modes: one mapping for each mode kept, with its "weight" in the posterior, its
            "log_evidence", its "location", a list of numbers, and how many "starts" led to it.
        starts: from how many points modes were looked for.
        bounds: the best bound after each round of training: (mode, steps, nats).
        warnings: sentences that a user has to know before believing any number.
    """

    evaluations: int = 0
    non_finite: int = 0
    seconds: float = 0.0
    steps: int = 0
    stopped: str = ""
    modes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    starts: int = 0
    bounds: list[tuple[int, int, float]] = field(default_factory=list[tuple[int, int, float]])
    warnings: list[str] = field(default_factory=list[str])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Record:
        """Return the record that `to_dict` has turned into a mapping.

        Raises:
            ValueError: no mapping, entries that no record has, or of another type.
        """
        if not isinstance(content, Mapping):
            raise ValueError(f"record must be a mapping, got {type(content).__name__}")
        unknown = sorted(content.keys() - {entry.name for entry in fields(cls)})
        if unknown:
            raise ValueError(f"record has unknown entries {', '.join(map(repr, unknown))}")
        for name, default in asdict(cls()).items():
            kinds = (int, float) if isinstance(default, float) else type(default)
            value = content.get(name, default)
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise ValueError(f"{name} of a record must be {default!r} or alike, got {value!r}")
        return cls(**content)
