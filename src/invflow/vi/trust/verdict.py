"""Whether to trust an approximation, as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from invflow.vi.record import Record
from invflow.vi.trust.importance import FINITE_VARIANCE_KHAT, NEAR_EXACT, USELESS_KHAT, Importance
from invflow.vi.trust.lighter import Lighter

#: Fraction of the posterior that the flow may miss before draws mislead.
MISSING_FRACTION = 0.02
#: Smallest fraction worth reporting, of the posterior or of non-finite densities; and the fraction
#: of non-finite densities that ruins a fit.
REPORTED_FRACTION, RUINOUS_FRACTION = 1e-3, 0.2

#: Exponent of a tail from which it is as light as a normal distribution's.
STEEP = 100.0

LEVELS = ("good", "usable", "bad")


@dataclass(frozen=True)
class Verdict:
    """What `Posterior.diagnose` finds. `str()` returns it as text.

    What each level promises for weighted draws, which `draws`, `resample`, `summary`, `to_pandas`
    and `to_arviz` return, and for the log evidence:

    - "good": they match the posterior within the stated Monte Carlo errors, and more than half of
      the draws are effective;
    - "usable": the same, with the exceptions that the sentences name: few effective draws, rare
      events that are off, a small missing part of the posterior, or a log density that is not
      finite at some draws;
    - "bad": do not use any of the numbers.

    None of them covers mass that neither the fit nor the search with wider noise has found. "good"
    asks for tails of the flow that are as heavy as the target's, and for a largest mode that more
    than one starting point led to.

    Args:
        level: "good", "usable" or "bad".
        elbo: evidence lower bound in nats.
        elbo_error: its Monte Carlo standard error.
        log_evidence: by importance sampling, in nats.
        log_evidence_error: its standard error, in quadrature with the mass in the tail of the
            weights where k-hat is above 0.5, and with the mass that the wider search finds.
        khat: shape of the tail of the importance weights.
        ess: their effective sample size.
        draws: number of draws examined.
        non_finite: fraction of them where the log density is not finite.
        outside: estimated fraction of the posterior that the flow does not reach.
        tail: fraction of the posterior in the tail of the weights.
        sentences: what is fine, what is not, and what to do.
    """

    level: str
    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    khat: float
    ess: float
    draws: int
    non_finite: float
    outside: float
    tail: float
    sentences: list[str]

    def __str__(self) -> str:
        numbers = (
            f"ELBO {self.elbo:.3f} ± {self.elbo_error:.3f}, "
            f"log evidence {self.log_evidence:.3f} ± {self.log_evidence_error:.3f}, "
            f"k-hat {self.khat:.2f}, ESS {self.ess:.0f} of {self.draws}"
        )
        return "\n".join([f"{self.level}: {numbers}", *(f"- {line}" for line in self.sentences)])


def judge(
    found: Importance,
    record: Record | None = None,
    *,
    outside: float = 0.0,
    ignored: Sequence[str] = (),
    improper: Sequence[str] = (),
    lighter: Lighter | None = None,
    caveat: str = "",
) -> Verdict:
    """Return the verdict on an approximation.

    Args:
        found: what the importance weights say.
        record: what the fit recorded.
        outside: estimated fraction of the posterior that the flow does not reach.
        ignored: parameters in which the log density has no gradient.
        improper: parameters along which it does not fall.
        lighter: where the flow's tails are lighter than the target's.
        caveat: what the evidence of such a target may lack.
    """
    # Weights mean nothing without a proper posterior, or where they see hardly any of it.
    meaningless = (
        bool(ignored or improper)
        or outside > MISSING_FRACTION
        or found.non_finite >= RUINOUS_FRACTION
    )
    findings = [
        *_of_target(ignored, improper),
        *_of_finiteness(found),
        *([] if meaningless else _of_weights(found)),
        *([] if ignored or improper else _of_reach(found, outside)),
        *([] if ignored or improper or lighter is None else _of_tails(lighter)),
        *([] if record is None else _of_fit(record)),
        *([] if meaningless else _of_evidence(found, outside)),
        *([("good", caveat)] if caveat and not meaningless else []),
    ]
    level = max((level for level, _ in findings), key=LEVELS.index)
    return Verdict(
        level=level,
        elbo=found.elbo,
        elbo_error=found.elbo_error,
        log_evidence=found.log_evidence,
        log_evidence_error=math.hypot(found.log_evidence_error, *_unseen(found, outside).values()),
        khat=found.khat,
        ess=found.ess,
        draws=found.draws,
        non_finite=found.non_finite,
        outside=outside,
        tail=found.tail,
        sentences=[sentence for _, sentence in findings],
    )


Finding = tuple[str, str]


def _of_target(ignored: Sequence[str], improper: Sequence[str]) -> list[Finding]:
    findings: list[Finding] = []
    if ignored:
        sentence = (
            f"The gradient of the log density in {_listed(ignored)} is zero at every draw: either "
            "the density does not depend on it, or it is flat where the fit ended up, and the "
            "posterior is improper. Add a prior, or remove the parameter."
        )
        findings.append(("bad", sentence))
    rest = [name for name in improper if name not in ignored]
    if rest:
        sentence = (
            "The log density hardly falls between a thousand and a million standard deviations "
            f"along {_listed(rest)}: the posterior is improper, and none of these numbers means "
            "anything. Add a proper prior, or remove parameters that the data cannot identify."
        )
        findings.append(("bad", sentence))
    return findings


def _of_finiteness(found: Importance) -> list[Finding]:
    fraction = found.non_finite
    if fraction == 1:
        return [("bad", "The log density is NaN or infinite at every draw. Evaluate it at one.")]
    if fraction < REPORTED_FRACTION:
        return []
    sentence = (
        f"The log density is NaN or infinite at {fraction:.1%} of the draws, which get zero weight"
    )
    if fraction < RUINOUS_FRACTION:
        return [("usable", f"{sentence}: use resample(), and check the model for overflow.")]
    return [("bad", f"{sentence}. The ELBO leaves them out. Check the model for overflow.")]


def _of_weights(found: Importance) -> list[Finding]:
    """Distinguish near exact, repairable, inexact in the tails, and poor."""
    if found.non_finite == 1:
        return []
    effective, many = found.effective, found.effective > 0.5
    if found.light and many:
        if found.khat < USELESS_KHAT:
            why = f"k-hat {found.khat:.2f} is below {USELESS_KHAT}"
        else:
            why = (
                f"the tail of the weights holds only {found.tail:.1g} of the posterior, so that "
                f"its shape, k-hat {found.khat:.2f}, does not matter"
            )
        near = "near exact" if effective > NEAR_EXACT else "good when weighted"
        return [("good", f"The draws are {near}: {why}, and {effective:.0%} are effective.")]
    if found.light:
        sentence = (
            "The flow's own draws are off, but importance weights repair them: k-hat is "
            f"{found.khat:.2f}, with {found.ess:.0f} effective draws out of {found.draws}. Use "
            "resample(), summary() and to_arviz(), which apply the weights."
        )
        return [("usable", sentence)]
    if many:
        sentence = (
            f"The bulk is near exact, but the tails are not: {effective:.0%} of the draws are "
            f"effective, but k-hat {found.khat:.2f} is not below {USELESS_KHAT}. Means, sds and "
            "intervals hold if the flow has found all of the posterior; for rare events, or the "
            "evidence to many digits, use refine()."
        )
        return [("usable", sentence)]
    sentence = (
        f"The flow does not match the posterior, and weights cannot repair it: k-hat "
        f"{found.khat:.2f} is not below {USELESS_KHAT}, and only {found.ess:.0f} of "
        f"{found.draws} draws are effective. Use refine(), which is exact in the limit, or fit a "
        "larger flow."
    )
    return [("bad", sentence)]


def _monte_carlo_error(found: Importance) -> float:
    """Return the largest Monte Carlo error of a probability estimated from the draws."""
    return 0.5 / math.sqrt(found.draws)


def _unseen(found: Importance, outside: float) -> dict[str, float]:
    """Return what the Monte Carlo error of the evidence does not cover."""
    heavy = found.khat > FINITE_VARIANCE_KHAT
    return {
        "the mass in the tail of the weights": found.tail if heavy else 0.0,
        "the mass that the wider search finds": outside,
    }


def _of_evidence(found: Importance, outside: float) -> list[Finding]:
    """Say what the error covers where most of it is not Monte Carlo noise."""
    parts = _unseen(found, outside)
    total = sum(parts.values())
    if total <= 2 * found.log_evidence_error:
        return []
    causes = " plus ".join(cause for cause, size in parts.items() if size > 0.1 * total)
    sentence = (
        f"The log evidence may be off by up to about {total:.2g}, {causes}; its Monte Carlo error "
        f"is only {found.log_evidence_error:.2g}."
    )
    return [("good", sentence)]


def _of_tails(lighter: Lighter) -> list[Finding]:
    flow = f"like r^-{lighter.flow:.2g}" if lighter.flow < STEEP else "like a normal distribution"
    sentence = (
        f"Along {_listed(lighter.along)} the target falls like r^-{lighter.target:.2g} far out, at "
        f"a distance r, and the flow {flow}. The weights have no bound there: rare events are off, "
        "and no error covers what lies beyond the draws. Fit without flow=, which chooses the "
        'noise by the tails, or with heavier noise, such as base "student-t", and an input_bound.'
    )
    return [("usable", sentence)]


def _of_reach(found: Importance, outside: float) -> list[Finding]:
    if found.non_finite == 1:
        return []
    if outside > MISSING_FRACTION:
        sentence = (
            f"A wider search finds mass that the flow does not reach, about {outside:.0%} of the "
            "posterior: another mode, or heavier tails. Weights, k-hat and log evidence do not see "
            "it. Fit again with starting points there, or with a larger flow; refine() corrects "
            "tails, and modes that its chains find."
        )
        return [("bad", sentence)]
    if outside > _monte_carlo_error(found):
        sentence = (
            f"A wider search finds about {outside:.1%} of the posterior that the flow misses, more "
            "than the Monte Carlo error of a probability: rare events are off, and so are means if "
            "it lies far away. Use refine(), or fit again with starting points there."
        )
        return [("usable", sentence)]
    little = "nothing" if outside < REPORTED_FRACTION else f"about {outside:.1%} of the posterior"
    sentence = (
        f"A wider search finds {little} that the flow misses. It would not see a narrow mode far "
        "away; no importance weight would."
    )
    return [("good", sentence)]


def _of_fit(record: Record) -> list[Finding]:
    findings: list[Finding] = []
    interrupted = "interrupted" in record.stopped
    if interrupted and not record.steps:
        sentence = (
            "The fit was interrupted before a flow was trained; the whole of it may do better."
        )
        findings.append(("good", sentence))
    elif record.stopped == "converged" and not record.steps:
        sentence = (
            "No flow was trained: normal distributions, or Student's t where tails are heavy, are "
            "accurate enough."
        )
        findings.append(("good", sentence))
    elif record.stopped and record.stopped != "converged":
        sentence = (
            f"Training stopped before the bound stopped rising ({record.stopped}); more steps may "
            "improve the fit."
        )
        findings.append(("good", sentence))
    if record.modes and (record.starts > 1 or interrupted):
        largest = max(record.modes, key=lambda mode: mode["weight"])
        if largest.get("starts") == 1:
            which = "the only mode" if len(record.modes) == 1 else "the largest mode"
            sentence = (
                f"Only one of {record.starts} starting points led to {which}, so there may be "
                "larger ones that none led to. Fit again with more starting_points, near where the "
                "posterior may be."
            )
            findings.append(("usable", sentence))
    if record.starts and len(record.modes) == 1:
        led = record.modes[0].get("starts", 0)
        sentence = (
            f"The fit found one mode: {led} of {record.starts} starting points, some of them far "
            "out, led to it"
        )
        sentence += "." if led == record.starts else ", the others to nothing of any weight."
        findings.append(("good", sentence))
    if len(record.modes) > 1:
        weights = ", ".join(f"{mode['weight']:.1%}" for mode in record.modes)
        sentence = (
            f"The fit found {len(record.modes)} modes, with {weights} of the posterior. There may "
            "be others that no starting point led to."
        )
        findings.append(("good", sentence))
    if record.evaluations and record.non_finite / record.evaluations > REPORTED_FRACTION:
        fraction = record.non_finite / record.evaluations
        sentence = f"During the fit {fraction:.1%} of the log densities were not finite."
        findings.append(("good", sentence))
    return findings


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def outside_fraction(log_mass_outside: float, log_evidence: float) -> float:
    """Return the fraction of the posterior that lies outside the flow's reach."""
    if log_mass_outside == -math.inf:
        return 0.0
    return 1 / (1 + math.exp(min(log_evidence - log_mass_outside, 700.0)))
