"""How good a density is, as text."""

from __future__ import annotations

from collections.abc import Sequence

from invflow.density.assess import Assessment
from invflow.report.page import Verdict

#: A classifier that tells rows from draws this well finds draws that are not like rows.
POOR_AUC = 0.75
#: Energy distance, as a fraction of its largest value, of draws that are not like rows.
POOR_EFFECT = 0.1
#: Number of test rows below which finding no difference says little.
FEW_ROWS = 300


def verdict(found: Assessment) -> Verdict:
    """Return how well a density fits test rows, what does not fit, and what to do."""
    calibration, energy, classifier = found.calibration, found.energy, found.classifier
    auc = 0.5 if classifier is None else classifier.statistic
    told_apart = classifier is not None and classifier.p_value <= classifier.level
    differs = energy is not None and energy.differs
    poor = (told_apart and auc >= POOR_AUC) or (
        energy is not None and differs and energy.effect >= POOR_EFFECT
    )
    points: list[str] = []
    if found.outside:
        points += [
            f"{found.outside} of {found.rows} test rows have density zero: they have values "
            "outside the bounds of a column. Check --kinds."
        ]
    if rejected := calibration.rejected:
        points += [
            f"Calibration tests fail for {_listed(rejected)}: test values are not where the "
            "density expects them."
        ]
    else:
        points += [f"All {len(calibration.tested)} calibration tests pass."]
    if classifier is not None:
        finding = "tells" if told_apart else "cannot tell"
        points += [f"A classifier {finding} test rows from draws (AUC {auc:.2f}; 0.5 is chance)."]
    if energy is not None:
        finding = "a difference" if differs else "no difference"
        points += [f"The energy test finds {finding} between test rows and draws."]
    if found.compared < FEW_ROWS:
        points += [
            f"Only {found.compared} test rows were compared: differences may have gone unnoticed."
        ]
    if found.outside or poor:
        return Verdict("bad", "Draws from this density are not like the rows.", [*points, _REMEDY])
    if rejected or differs or told_apart:
        headline = "The density is close to the rows, but tests find differences."
        return Verdict("usable", headline, [*points, _REMEDY])
    if found.compared < FEW_ROWS:
        return Verdict("usable", "No difference found, on few test rows.", points)
    return Verdict("good", "Draws from this density cannot be told from the rows.", points)


def _listed(names: Sequence[object]) -> str:
    shown = ", ".join(map(str, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


_REMEDY = (
    "To improve it, give columns their kinds (--kinds), train longer (--steps), or try another "
    "flow (--flow) or wider networks (--hidden-features)."
)
