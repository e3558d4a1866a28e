"""The statistics of the review, as plain functions of counts, sums and arrays.

Belongs here: intervals, tests and powers that a statistics book knows, each with its source. Which customers
are counted, and what is concluded, is ``effect``'s and ``value``'s.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

CONFIDENCE = 0.95
Z = float(special.ndtri(0.5 + CONFIDENCE / 2))
POWER = 0.8
DRAWS = 2000
_CHUNK = 5_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95 % interval."""

    estimate: float
    low: float
    high: float

    def times(self, factor: float) -> "Interval":
        """The interval of ``factor`` (≥ 0) times the same quantity."""
        return Interval(self.estimate * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Sums:
    """A sample of amounts by its size, sum and sum of squares."""

    n: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """The mean."""
        return self.total / self.n

    @property
    def variance(self) -> float:
        """The sample variance (n − 1); 0 if rounding would make it negative."""
        return max(0.0, (self.squares - self.total**2 / self.n) / (self.n - 1))


def wilson(successes: float, n: float, z: float = Z) -> Interval:
    """Wilson's score interval of a proportion.

    Args:
        successes: Of the trials, 0 to ``n``.
        n: Trials, at least 1.
        z: The normal quantile.

    Source: E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference",
    JASA 22, 209-212.
    """
    p = successes / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # at the ends the limit is exact; floating point is not
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return Interval(p, low, high)


def newcombe(successes_1: int, n_1: int, successes_2: int, n_2: int, z: float = Z) -> Interval:
    """Newcombe's hybrid score interval of the difference of two independent proportions, first minus second.

    Source: R. G. Newcombe (1998), "Interval estimation for the difference between independent proportions:
    comparison of eleven methods", Statistics in Medicine 17, 873-890, method 10.
    """
    first, second = wilson(successes_1, n_1, z), wilson(successes_2, n_2, z)
    difference = first.estimate - second.estimate
    low = difference - math.hypot(first.estimate - first.low, second.high - second.estimate)
    high = difference + math.hypot(first.high - first.estimate, second.estimate - second.low)
    return Interval(difference, low, high)


def welch(first: Sums, second: Sums) -> Interval | None:
    """Welch's interval of the difference of two means with unequal variances, first minus second.

    Returns:
        None if a sample has fewer than two values or neither varies: there is nothing to compute with.

    Source: B. L. Welch (1947), "The generalization of 'Student's' problem when several different population
    variances are involved", Biometrika 34, 28-35.
    """
    if min(first.n, second.n) < 2:
        return None
    parts = [sample.variance / sample.n for sample in (first, second)]
    if sum(parts) == 0:
        return None
    freedom = sum(parts) ** 2 / sum(
        part**2 / (sample.n - 1) for part, sample in zip(parts, (first, second), strict=True)
    )
    half = float(special.stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * math.sqrt(sum(parts))
    difference = first.mean - second.mean
    return Interval(difference, difference - half, difference + half)


def bootstrap_means(amounts: Floats, n: int, rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Bootstrap means of a sample most of whose values are 0.

    A resample of ``n`` holds a binomial number of the non-zero amounts, each drawn with equal chance: the
    same as resampling all ``n``, without ever holding the zeros.

    Args:
        amounts: The values that aren't 0.
        n: The size of the whole sample, at least ``len(amounts)``.
        rng: The seeded generator.
        draws: How many resamples.

    Returns:
        An array of ``draws`` means. Memory stays bounded whatever the size.
    """
    size = len(amounts)
    if size == 0:
        return np.zeros(draws)
    counts = rng.binomial(n, size / n, draws)
    totals = np.empty(draws)
    step = max(1, _CHUNK // max(1, int(counts.max())))
    for start in range(0, draws, step):
        part = counts[start : start + step]
        picked = amounts[rng.integers(0, size, int(part.sum()))]
        ends = np.cumsum(part)
        added = np.concatenate([[0.0], np.cumsum(picked)])
        totals[start : start + step] = added[ends] - added[ends - part]
    return totals / n


def bootstrap_difference(
    amounts_1: Floats, n_1: int, amounts_2: Floats, n_2: int, seed: int, draws: int = DRAWS
) -> tuple[float, float]:
    """The percentile bootstrap interval of the difference of two means, first minus second.

    Args:
        amounts_1: The first sample's values that aren't 0.
        n_1: Its whole size.
        amounts_2: The second sample's values that aren't 0.
        n_2: Its whole size.
        seed: The same seed gives the same interval.
        draws: How many resamples.

    Source: B. Efron and R. J. Tibshirani (1993), "An Introduction to the Bootstrap", chapter 13.
    """
    rng = np.random.default_rng(seed)
    differences = bootstrap_means(amounts_1, n_1, rng, draws) - bootstrap_means(amounts_2, n_2, rng, draws)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return float(low), float(high)


def smallest_effect(n_1: int, n_2: int, base_rate: float, power: float = POWER) -> float | None:
    """The difference over a base rate that two arms of this size would show as significant.

    By the normal approximation on Cohen's arcsine scale, two-sided at 5 %.

    Args:
        n_1: Size of the treated arm.
        n_2: Size of the hold-out.
        base_rate: The hold-out's rate.
        power: How likely the effect is to be shown.

    Returns:
        The difference in rates; None if even everybody's return would not be shown.

    Source: J. Cohen (1988), "Statistical Power Analysis for the Behavioral Sciences", chapter 6.
    """
    size = (Z + float(special.ndtri(power))) * math.sqrt(1 / n_1 + 1 / n_2)
    angle = math.asin(math.sqrt(base_rate)) + size / 2
    return None if angle > math.pi / 2 else math.sin(angle) ** 2 - base_rate


def ratio_p(holdout: int, assigned: int, share: float) -> float:
    """The chance of a hold-out at least as unlikely as this one, if each were drawn with the share.

    An exact binomial test, two-sided. (The draw is by count and so more even than that: a small value means
    that something other than the draw decided.)
    """
    # scipy.stats has it as binomtest, and takes some half a second to load
    k = np.arange(assigned + 1)
    log_chances = (
        special.gammaln(assigned + 1)
        - special.gammaln(k + 1)
        - special.gammaln(assigned - k + 1)
        + special.xlogy(k, share)
        + special.xlog1py(assigned - k, -share)
    )
    chances = np.exp(log_chances)
    # equal chances may differ in the last digits
    return min(1.0, float(chances[chances <= chances[holdout] * (1 + 1e-7)].sum()))
