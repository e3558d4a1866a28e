"""BG/NBD and Gamma-Gamma against published figures, against drawn histories, and counted against alike."""

import numpy as np
import pytest

from rfm_pipeline.review.models.bgnbd import (
    BgNbd,
    Floats,
    GammaGamma,
    Histories,
    NoFitError,
    fit_bg_nbd,
    fit_gamma_gamma,
)

# Fader, Hardie, Lee (2005), section 5: the CDNOW customers
CDNOW = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)
# Fader, Hardie (2013): the same customers
CDNOW_SPENDING = GammaGamma(p=6.25, q=3.74, v=15.44)


def one(x: float, t_x: float, t: float) -> Histories:
    return Histories(np.array([x]), np.array([t_x]), np.array([t]), np.array([1.0]))


def test_the_expected_purchases_are_the_published_ones() -> None:
    """The note on BG/NBD in a spreadsheet: x = 2, t_x = 30.43, T = 38.86, 39 weeks ahead."""
    assert CDNOW.expected_purchases(one(2, 30.43, 38.86), 39)[0] == pytest.approx(1.226, abs=5e-4)


def test_the_mean_purchase_is_the_published_one() -> None:
    """The note on Gamma-Gamma: p v / (q - 1), the mean of the population."""
    population = CDNOW_SPENDING.expected_amount(np.array([0.0]), np.array([0.0]))
    assert population[0] == pytest.approx(6.25 * 15.44 / 2.74)
    assert population[0] == pytest.approx(35.2, abs=0.05)


def test_many_purchases_outweigh_the_population() -> None:
    amounts = CDNOW_SPENDING.expected_amount(np.array([1.0, 10.0, 1000.0]), np.full(3, 100.0))
    assert 35.2 < amounts[0] < amounts[1] < amounts[2] < 100
    assert amounts[2] == pytest.approx(100, abs=0.1)


def draw(model: BgNbd, customers: int, ahead: float, seed: int) -> tuple[Histories, Floats]:
    """Histories of customers who behave as the model says, and what each buys in the time ahead."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(model.r, 1 / model.alpha, customers)
    chances = rng.beta(model.a, model.b, customers)
    lengths = rng.uniform(20, 80, customers)
    x, t_x, later = (np.zeros(customers) for _ in range(3))
    for number in range(customers):
        now = 0.0
        while True:
            now += rng.exponential(1 / rates[number])
            if now > lengths[number] + ahead:
                break
            if now <= lengths[number]:
                x[number], t_x[number] = x[number] + 1, now
            else:
                later[number] += 1
            if rng.random() < chances[number]:
                break
    return Histories(x, t_x, lengths, np.ones(customers)), later


def test_drawn_histories_are_fitted_and_foreseen() -> None:
    truth = BgNbd(r=0.8, alpha=6.0, a=0.8, b=2.5)
    data, later = draw(truth, 6000, 13, seed=5)
    found = fit_bg_nbd(data)
    assert found.log_likelihood(data) >= truth.log_likelihood(data)
    assert found.r == pytest.approx(truth.r, rel=0.15)
    assert found.alpha == pytest.approx(truth.alpha, rel=0.15)
    assert found.a / (found.a + found.b) == pytest.approx(0.8 / 3.3, rel=0.15)
    expected = found.expected_purchases(data, 13)
    assert expected.sum() == pytest.approx(later.sum(), rel=0.05)
    once = data.x == 0
    assert expected[once].sum() == pytest.approx(later[once].sum(), rel=0.12)


def test_drawn_spending_is_fitted() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(1, 8, 5000).astype(float)
    scale = rng.gamma(4.0, 1 / 20.0, 5000)
    mean = rng.gamma(3.0 * x, 1 / (scale * x))
    found = fit_gamma_gamma(x, mean)
    assert (found.p, found.q, found.v) == pytest.approx((3.0, 4.0, 20.0), rel=0.12)


def test_customers_counted_together_are_the_same_as_one_by_one() -> None:
    data, _ = draw(BgNbd(r=0.8, alpha=6.0, a=0.8, b=2.5), 300, 13, seed=1)
    whole = Histories(data.x, np.ceil(data.t_x), np.ceil(data.t), data.customers)
    kinds, counts = np.unique(np.stack([whole.x, whole.t_x, whole.t]), axis=1, return_counts=True)
    together = Histories(kinds[0], kinds[1], kinds[2], counts.astype(float))
    assert len(counts) < 300
    model = BgNbd(r=0.5, alpha=3.0, a=0.7, b=2.0)
    assert model.log_likelihood(together) == pytest.approx(model.log_likelihood(whole))


def test_customers_who_never_leave_have_an_answer_too() -> None:
    """At the edge a = 0 the model is the NBD, whose expectation is (r + x) / (alpha + t) a week."""
    rng = np.random.default_rng(4)
    rates = rng.gamma(2.0, 1 / 20.0, 3000)
    t = rng.uniform(30, 60, 3000)
    x = rng.poisson(rates * t).astype(float)
    # the last of x purchases spread evenly over t
    t_x = np.where(x > 0, t * rng.beta(np.maximum(x, 1), 1), 0.0)
    data = Histories(x, t_x, t, np.ones(3000))
    found = fit_bg_nbd(data)
    assert found.expected_purchases(data, 13).sum() == pytest.approx((rates * 13).sum(), rel=0.06)


def test_nobody_who_bought_again_is_no_ground_for_a_model() -> None:
    once = Histories(np.zeros(50), np.zeros(50), np.full(50, 30.0), np.ones(50))
    with pytest.raises(NoFitError, match="nobody bought again"):
        fit_bg_nbd(once)


@pytest.mark.parametrize(("customers", "fits"), [(9, False), (10, True)])
def test_spending_needs_ten_customers(customers: int, fits: bool) -> None:
    # of so few, only some draws have a maximum; this one does
    rng = np.random.default_rng(9)
    x = np.full(customers, 3.0)
    mean = rng.gamma(15.0, 1 / (rng.gamma(4.0, 1 / 20.0, customers) * 3.0))
    if fits:
        assert fit_gamma_gamma(x, mean).q > 1
    else:
        with pytest.raises(NoFitError, match="fewer than 10"):
            fit_gamma_gamma(x, mean)
