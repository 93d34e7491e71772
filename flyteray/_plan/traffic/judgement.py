"""A canary, a new version with a share of an app's requests, is judged against the version that serves.

The judgement is sequential: it may be asked for after each handful of requests, and yet takes back a version that is as
good as the other with no more than the stated probability over the whole time. Each kind of evidence is a wealth that
somebody gains who bets on the canary being worse, at odds which are fair where it is not; by Ville's inequality such a
wealth ever exceeds ``1 / rate`` with at most that probability. No effects here.

Errors: bets by likelihood ratios of two Bernoulli rates, as in Turner, Ly and Grünwald, "Generic E-variables for exact
sequential k-sample tests that allow for optional stopping" (2021). Latency: requests of one moment are slow together,
so it is not requests but moments that count: in how many of them more of the canary's answers than expected took longer
than a quantile of the other version's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pydantic import Field

from flyteray._plan.spec import Spec
from flyteray._plan.traffic.figures import BOUNDS_US, Figures

QUANTILES = (0.5, 0.9)
_FEWEST = 10  # answers of each version in a moment that says something about latency
_NOTHING_S = 0.002  # so much more is not slower, whatever the ratio
# The rates of errors that are bet on: of the version that serves, and of the canary.
_ERROR_RATES = tuple(
    (serving, canary)
    for serving in (0.0005, 0.005, 0.02, 0.1, 0.3)
    for canary in (2 * serving, 5 * serving, serving + 0.05, serving + 0.3)
    if canary < 1
)
_SLOW_MOMENTS = (0.6, 0.7, 0.8, 0.9, 0.97)  # how many of all are bet on


class Evidence(Spec):
    """What has been learnt of a canary so far.

    ``errors`` and, for each of the quantiles, ``latency`` are logarithms of wealths, one for each of the bets.
    ``serving`` and ``canary`` are the requests of both versions, the ``fresh`` ones those of the moment that goes on.
    """

    errors: tuple[float, ...] = (0.0,) * len(_ERROR_RATES)
    latency: tuple[tuple[float, ...], ...] = ((0.0,) * len(_SLOW_MOMENTS),) * len(QUANTILES)
    serving: Figures = Field(default_factory=Figures)
    canary: Figures = Field(default_factory=Figures)
    fresh_serving: Figures = Field(default_factory=Figures)
    fresh_canary: Figures = Field(default_factory=Figures)

    def after(self, serving: Figures, canary: Figures, slower: float) -> Evidence:
        """The evidence after some more requests; a canary may be ``slower`` by this factor."""
        fresh = self.fresh_serving + serving, self.fresh_canary + canary
        latency = self.latency
        if min(each.answered for each in fresh) >= _FEWEST:
            latency = tuple(
                _after_moment(known, _is_slow(*fresh, quantile, slower))
                for known, quantile in zip(self.latency, QUANTILES, strict=True)
            )
            fresh = Figures(), Figures()
        return Evidence(
            errors=_after_errors(self.errors, serving, canary),
            latency=latency,
            serving=self.serving + serving,
            canary=self.canary + canary,
            fresh_serving=fresh[0],
            fresh_canary=fresh[1],
        )

    def is_worse(self, false_alarms: float) -> str | None:
        """In which way the canary is worse, in words; None where that is not known.

        One that is not worse is ever said to be with a probability of ``false_alarms`` at most.
        """
        if _wealth(self.errors) > math.log(2 / false_alarms):
            return f"{self.canary.error_rate:.1%} of its requests failed, {self.serving.error_rate:.1%} of the others"
        for quantile, known in zip(QUANTILES, self.latency, strict=True):
            if _wealth(known) > math.log(2 * len(QUANTILES) / false_alarms):
                mine, other = self.canary.quantile(quantile), self.serving.quantile(quantile)
                if mine is not None and other is not None:
                    took, took_others = f"{mine * 1000:.0f} ms", f"{other * 1000:.0f} ms"
                    return f"its p{quantile * 100:.0f} was {took}, that of the others {took_others}"
        return None


def _after_errors(known: Sequence[float], serving: Figures, canary: Figures) -> tuple[float, ...]:
    def staying(figures: Figures) -> tuple[int, int]:
        return figures.errors, figures.requests - figures.aborted - figures.errors

    (bad, good), (bad_canary, good_canary) = staying(serving), staying(canary)
    stayed = bad + good, bad_canary + good_canary
    if not all(stayed):
        return tuple(known)  # nothing to compare with
    return tuple(
        wealth + _gain(bad, good, of_serving, same) + _gain(bad_canary, good_canary, of_canary, same)
        for wealth, (of_serving, of_canary) in zip(known, _ERROR_RATES, strict=True)
        for same in [(stayed[0] * of_serving + stayed[1] * of_canary) / sum(stayed)]
    )


def _gain(bad: int, good: int, rate: float, same: float) -> float:
    return bad * math.log(rate / same) + good * math.log((1 - rate) / (1 - same))


def _is_slow(serving: Figures, canary: Figures, quantile: float, slower: float) -> bool:
    """Whether more of a moment's answers of the canary took longer than as many as expected may."""
    usual = serving.quantile(quantile)
    if usual is None:
        return False
    late = canary.answered - _within(canary, max(usual * slower, usual + _NOTHING_S))
    return late > math.ceil(canary.answered * (1 - quantile))


def _within(figures: Figures, seconds: float) -> float:
    """How many answers took at most so long; between two bounds they are taken to grow evenly."""
    limit, so_far = seconds * 1e6, 0.0
    for least, bound, count in zip((0, *BOUNDS_US), BOUNDS_US, figures.latencies, strict=False):
        if limit < bound:
            return so_far + count * (limit - least) / (bound - least)
        so_far += count
    return so_far


def _after_moment(known: Sequence[float], is_slow: bool) -> tuple[float, ...]:
    return tuple(
        wealth + math.log(2 * (share if is_slow else 1 - share))
        for wealth, share in zip(known, _SLOW_MOMENTS, strict=True)
    )


def _wealth(bets: Iterable[float]) -> float:
    """The logarithm of what all bets together have come to, where each was given the same at first."""
    logs = list(bets)
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs) / len(logs))
