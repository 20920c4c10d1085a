"""Whether to trust an approximation, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from invflow.vi.record import Record
from invflow.vi.trust.importance import Importance

#: k-hat from which importance weights have no use (Vehtari et al. 2024).
POOR = 0.7
#: k-hat from which the variance of the weights is infinite.
HEAVY = 0.5
#: The share of effective draws from which the flow's own draws are as good as weighed ones.
NEAR = 0.99
#: The share of the posterior outside of the flow's reach from which draws mislead.
OUTSIDE = 0.02
#: The share of draws with a density that is not finite that is worth a word; that ruins a fit.
SOME, MANY = 1e-3, 0.2

LEVELS = ("good", "usable", "bad")


@dataclass(frozen=True)
class Verdict:
    """What `Posterior.diagnose` finds. `str()` says it in words.

    What each level promises of weighed draws, which `draws`, `resample`, `summary` and `to_arviz`
    give, and of the log evidence:

    - "good": they are those of the posterior within the Monte Carlo errors that are stated, and
      more than half of the draws count;
    - "usable": the same, less what the sentences except: few draws count, rare events are off, a
      little of the posterior is missing, or the log density is not finite at some draws;
    - "bad": no number is to be used.

    Mass that neither the fit nor the search with wider noise has met is beyond any of them.

    Args:
        level: "good", "usable" or "bad".
        elbo: evidence lower bound in nats.
        elbo_error: its Monte Carlo standard error.
        log_evidence: by importance sampling, in nats.
        log_evidence_error: its standard error.
        khat: shape of the tail of the importance weights.
        ess: their effective sample size.
        draws: how many draws were looked at.
        non_finite: the share of them with a log density that is not finite.
        outside: an estimate of the share of the posterior that the flow does not reach.
        tail: the share of it that the tail of the weights holds.
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
    caveat: str = "",
) -> Verdict:
    """Return the verdict on an approximation.

    Args:
        found: what the importance weights say.
        record: what the fit has noted.
        outside: estimated share of the posterior that the flow does not reach.
        ignored: parameters that the log density has no gradient in.
        improper: parameters along which it does not fall.
        caveat: what the evidence of such a target may lack.
    """
    # What weights say means nothing where there is no posterior, or hardly any of it is seen.
    senseless = bool(ignored or improper) or outside > OUTSIDE or found.non_finite >= MANY
    findings = [
        *_of_target(ignored, improper),
        *_of_finiteness(found),
        *([] if senseless else _of_weights(found)),
        *([] if ignored or improper else _of_reach(found, outside)),
        *([] if record is None else _of_fit(record)),
        *([] if senseless else _of_evidence(found, outside)),
        *([("good", caveat)] if caveat and not senseless else []),
    ]
    level = max((level for level, _ in findings), key=LEVELS.index)
    return Verdict(
        level=level,
        elbo=found.elbo,
        elbo_error=found.elbo_error,
        log_evidence=found.log_evidence,
        log_evidence_error=found.log_evidence_error,
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
            f"The gradient of the log density in {_listed(ignored)} is zero at every draw: it does "
            "not depend on it, or is flat where the fit has gone, and the posterior is improper. "
            "Give it a prior, or leave it out."
        )
        findings.append(("bad", sentence))
    rest = [name for name in improper if name not in ignored]
    if rest:
        sentence = (
            "The log density hardly falls from a thousand to a million standard deviations away, "
            f"along {_listed(rest)}: the posterior is improper, and no number here means anything. "
            "Add a proper prior, or remove what the data cannot tell apart."
        )
        findings.append(("bad", sentence))
    return findings


def _of_finiteness(found: Importance) -> list[Finding]:
    share = found.non_finite
    if share == 1:
        return [
            ("bad", "The log density is NaN or infinite at every draw. Check it by hand at one.")
        ]
    if share < SOME:
        return []
    sentence = (
        f"The log density is NaN or infinite at {share:.1%} of the draws, which get no weight"
    )
    if share < MANY:
        return [("usable", f"{sentence}: use resample(), and look for overflow in the model.")]
    return [("bad", f"{sentence}. The ELBO leaves them out. Check the model for overflow.")]


def _of_weights(found: Importance) -> list[Finding]:
    """Tell near exact, repairable, light in the tails, and poor apart."""
    if found.non_finite == 1:
        return []
    effective = found.ess / found.draws
    # Nearly equal weights, whose tail holds less than that.
    equal = effective > NEAR and found.tail < _monte_carlo_error(found)
    light, many = found.khat < POOR or equal, effective > 0.5
    if light and many:
        if found.khat < POOR:
            why = f"k-hat {found.khat:.2f} is below {POOR}"
        else:
            why = (
                f"the tail of the weights holds {found.tail:.1g} of the posterior, so that its "
                f"shape, a k-hat of {found.khat:.2f}, is of no account"
            )
        near = "near exact" if effective > NEAR else "good when they are weighed"
        return [("good", f"The draws are {near}: {why}, and {effective:.0%} are effective.")]
    if light:
        sentence = (
            "The draws of the flow alone are off, but importance weights repair them: k-hat is "
            f"{found.khat:.2f}, with {found.ess:.0f} effective draws of {found.draws}. Use "
            "resample(), summary() and to_arviz(), which weigh them."
        )
        return [("usable", sentence)]
    if many:
        sentence = (
            f"The bulk is near exact, the tails are not: {effective:.0%} of the draws are "
            f"effective, though k-hat {found.khat:.2f} is not below {POOR}. Means, sds and "
            "intervals hold if the flow has found all of the posterior; for rare events, or the "
            "evidence to many digits, use refine()."
        )
        return [("usable", sentence)]
    sentence = (
        f"The flow does not match the posterior, and weights cannot repair it: k-hat "
        f"{found.khat:.2f} is not below {POOR}, and only {found.ess:.0f} of {found.draws} draws "
        "are effective. Use refine(), which is exact in the limit, or fit a larger flow."
    )
    return [("bad", sentence)]


def _monte_carlo_error(found: Importance) -> float:
    """Return the largest Monte Carlo error that a probability by the draws can have."""
    return 0.5 / math.sqrt(found.draws)


def _of_evidence(found: Importance, outside: float) -> list[Finding]:
    """Say where the stated error, for which the weights need a variance and all mass, is off."""
    parts = {
        "what the tail of the weights holds": found.tail if found.khat > HEAVY else 0.0,
        "what the wider search finds": outside,
    }
    share = sum(parts.values())
    if share <= 2 * found.log_evidence_error:
        return []
    causes = " and ".join(cause for cause, size in parts.items() if size > 0.1 * share)
    sentence = (
        f"The log evidence may be off by more than its error, up to about {share:.2g}, which is "
        f"{causes}."
    )
    return [("good", sentence)]


def _of_reach(found: Importance, outside: float) -> list[Finding]:
    if found.non_finite == 1:
        return []
    if outside > OUTSIDE:
        sentence = (
            f"A wider search finds mass that the flow does not reach, about {outside:.0%} of the "
            "posterior: another mode, or heavier tails. Weights, k-hat and log evidence know "
            "nothing of it. Fit again with starting points there, or with a larger flow; refine() "
            "mends tails, and modes that its chains meet."
        )
        return [("bad", sentence)]
    if outside > _monte_carlo_error(found):
        sentence = (
            f"A wider search finds about {outside:.1%} of the posterior that the flow misses, more "
            "than the Monte Carlo error of a probability: rare events are off, and means may be, "
            "if it is far away. Use refine(), or fit again with starting points there."
        )
        return [("usable", sentence)]
    little = "nothing" if outside < SOME else f"about {outside:.1%} of the posterior"
    sentence = (
        f"A wider search finds {little} that the flow misses. It would not see a narrow mode far "
        "away: no importance weight can."
    )
    return [("good", sentence)]


def _of_fit(record: Record) -> list[Finding]:
    findings = [("usable", f"From the fit: {warning}") for warning in record.warnings]
    if record.stopped and record.stopped != "converged":
        sentence = (
            f"Training ended before the bound had stopped moving ({record.stopped}); more steps "
            "may improve the fit."
        )
        findings.append(("good", sentence))
    if record.starts and len(record.modes) == 1:
        led = record.modes[0].get("starts", 0)
        sentence = (
            f"The fit has found one mode: {led} of {record.starts} starts, some of them far out, "
            "led to it"
        )
        sentence += "." if led == record.starts else ", the others to nothing that counts."
        findings.append(("good", sentence))
    if len(record.modes) > 1:
        shares = ", ".join(f"{mode['weight']:.1%}" for mode in record.modes)
        sentence = (
            f"The fit has found {len(record.modes)} modes, with {shares} of the posterior. There "
            "may be others that none of its starts has met."
        )
        findings.append(("good", sentence))
    if record.evaluations and record.non_finite / record.evaluations > SOME:
        share = record.non_finite / record.evaluations
        sentence = f"During the fit {share:.1%} of the log densities were not finite."
        findings.append(("good", sentence))
    return findings


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def outside_share(log_mass_outside: float, log_evidence: float) -> float:
    """Return the share of the whole that lies outside of what the flow reaches."""
    if log_mass_outside == -math.inf:
        return 0.0
    return 1 / (1 + math.exp(min(log_evidence - log_mass_outside, 700.0)))
