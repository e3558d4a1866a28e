"""Every statistic against a second source: statsmodels, scipy, a published example, or counting it out."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportion_effectsize,
)
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from rfm_pipeline.review.statistics import (
    Sums,
    bootstrap_difference,
    bootstrap_means,
    newcombe,
    ratio_p,
    smallest_effect,
    welch,
    wilson,
)

COUNTS = [(0, 1), (1, 1), (0, 50), (3, 50), (50, 50), (17, 450), (449, 450), (12_345, 100_000)]


@pytest.mark.parametrize(("successes", "n"), COUNTS)
def test_wilson_is_statsmodels_wilson(successes: int, n: int) -> None:
    found = wilson(successes, n)
    assert (found.low, found.high) == pytest.approx(
        proportion_confint(successes, n, method="wilson"), abs=1e-12
    )
    assert found.estimate == successes / n


@pytest.mark.parametrize(("first", "second"), list(itertools.product(COUNTS, COUNTS)))
def test_newcombe_is_statsmodels_newcomb(first: tuple[int, int], second: tuple[int, int]) -> None:
    found = newcombe(*first, *second)
    other = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    # Newcombe (1998), table II, method 10, contrasts (a) to (h)
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0000),
        ((10, 10, 0, 10), 0.6075, 1.0000),
    ],
)
def test_newcombe_is_the_published_example(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    found = newcombe(*counts)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5.1e-5)


def sums_of(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Sums:
    return Sums(len(values), float(values.sum()), float((values**2).sum()))


@pytest.mark.parametrize("seed", range(5))
def test_welch_is_statsmodels_and_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = np.where(rng.random(400) < 0.1, rng.lognormal(6, 1, 400), 0.0)
    second = np.where(rng.random(40) < 0.3, rng.lognormal(5, 1, 40), 0.0)
    found = welch(sums_of(first), sums_of(second))
    assert found is not None
    compared = CompareMeans(DescrStatsW(first), DescrStatsW(second))
    assert (found.low, found.high) == pytest.approx(compared.tconfint_diff(usevar="unequal"), rel=1e-9)
    other = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((other.low, other.high), rel=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Sums(1, 5.0, 25.0), Sums(10, 5.0, 25.0)),
        (Sums(10, 5.0, 25.0), Sums(1, 0.0, 0.0)),
        (Sums(10, 0.0, 0.0), Sums(3, 0.0, 0.0)),
    ],
)
def test_welch_says_nothing_of_one_value_or_of_no_variation(first: Sums, second: Sums) -> None:
    assert welch(first, second) is None


def test_welch_speaks_from_two_values_on() -> None:
    assert welch(Sums(2, 5.0, 25.0), Sums(2, 0.0, 0.0)) is not None


def test_the_bootstrap_is_that_of_all_values_zeros_included() -> None:
    rng = np.random.default_rng(3)
    amounts = rng.lognormal(5, 1, 30)
    everybody = np.concatenate([amounts, np.zeros(270)])
    short = bootstrap_means(amounts, 300, np.random.default_rng(1), 20_000)
    whole = rng.choice(everybody, (20_000, 300)).mean(axis=1)
    assert short.mean() == pytest.approx(everybody.mean(), rel=0.01)
    assert short.std() == pytest.approx(whole.std(), rel=0.03)
    assert np.quantile(short, [0.025, 0.975]) == pytest.approx(np.quantile(whole, [0.025, 0.975]), rel=0.04)
    assert short.std() == pytest.approx(everybody.std() / math.sqrt(300), rel=0.03)


def test_the_bootstrap_is_the_same_for_the_same_seed_and_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.lognormal(4, 1, 12), rng.lognormal(4, 1, 3)
    once = bootstrap_difference(first, 40, second, 10, seed=7)
    assert bootstrap_difference(first, 40, second, 10, seed=7) == once
    assert bootstrap_difference(first, 40, second, 10, seed=8) != once
    # in many small chunks as in one
    monkeypatch.setattr("rfm_pipeline.review.statistics._CHUNK", 16)
    chunked = bootstrap_difference(first, 40, second, 10, seed=7)
    assert chunked == pytest.approx(once, rel=0.1)


def test_the_bootstrap_of_nobody_who_bought_is_zero() -> None:
    nothing = np.zeros(0)
    assert bootstrap_difference(nothing, 40, nothing, 10, seed=7) == (0.0, 0.0)


@pytest.mark.parametrize(("n_1", "n_2"), [(450, 50), (45, 5), (9000, 1000), (100, 100)])
@pytest.mark.parametrize("base", [0.0, 0.02, 0.3, 0.6])
def test_the_smallest_effect_has_a_power_of_80_percent_by_statsmodels(
    n_1: int, n_2: int, base: float
) -> None:
    found = smallest_effect(n_1, n_2, base)
    if found is None:
        whole = proportion_effectsize(1.0, base)
        assert NormalIndPower().power(whole, n_1, 0.05, ratio=n_2 / n_1) < 0.8
        return
    size = proportion_effectsize(base + found, base)
    assert NormalIndPower().power(size, n_1, 0.05, ratio=n_2 / n_1) == pytest.approx(0.8, abs=1e-4)
    assert size == pytest.approx(
        NormalIndPower().solve_power(nobs1=n_1, alpha=0.05, power=0.8, ratio=n_2 / n_1), rel=1e-3
    )


def test_some_arms_are_too_small_for_any_effect() -> None:
    assert smallest_effect(9, 1, 0.5) is None


@pytest.mark.parametrize(
    ("holdout", "assigned", "share"), [(1, 10, 0.1), (5, 20, 0.1), (0, 30, 0.2), (9, 9, 0.5)]
)
def test_the_arms_ratio_is_tested_by_counting_out_the_binomial(
    holdout: int, assigned: int, share: float
) -> None:
    chances = [math.comb(assigned, n) * share**n * (1 - share) ** (assigned - n) for n in range(assigned + 1)]
    as_unlikely = sum(chance for chance in chances if chance <= chances[holdout] * (1 + 1e-7))
    assert ratio_p(holdout, assigned, share) == pytest.approx(as_unlikely)


@pytest.mark.parametrize("assigned", [1, 200, 100_000])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_the_arms_ratio_is_tested_as_scipy_does(assigned: int, share: float) -> None:
    spread = math.sqrt(assigned * share * (1 - share))
    for deviation in (-40, -3, -1, 0, 0.5, 2, 4):
        holdout = min(max(round(assigned * share + deviation * spread), 0), assigned)
        expected = stats.binomtest(holdout, assigned, share).pvalue
        assert ratio_p(holdout, assigned, share) == pytest.approx(expected, rel=1e-8, abs=1e-300)
