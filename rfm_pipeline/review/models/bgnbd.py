"""A second opinion on what customers will buy: BG/NBD for how often, Gamma-Gamma for how much.

Both are fitted by maximum likelihood over histories that may each stand for many customers. Sources: P. S.
Fader, B. G. S. Hardie, K. L. Lee (2005), "Counting Your Customers the Easy Way: An Alternative to the
Pareto/NBD Model", Marketing Science 24, 275-284; P. S. Fader, B. G. S. Hardie (2013), "The Gamma-Gamma Model
of Monetary Value". (pymc-marketing fits the same models; it was left out: 580 MB to install, 5 s to import,
and 16 s to find the maximum over 2,357 customers, which takes 0.1 s here.)

Belongs here: the models. Which customers they are asked about is ``value``'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from rfm_pipeline.errors import RfmError

Floats = NDArray[np.float64]

_LOWEST, _HIGHEST = -9.0, 9.0
_IMPOSSIBLE = 1e10


class NoFitError(RfmError):
    """The likelihood has no maximum that can be used: the data do not say enough."""


@dataclass(frozen=True)
class Histories:
    """Purchases after the first (x), time from first to last (t_x), time from first to now (t), customers."""

    x: Floats
    t_x: Floats
    t: Floats
    customers: Floats

    @cached_property
    def distinct_x(self) -> tuple[Floats, NDArray[np.intp]]:
        """The different x, and where each history's stands among them: there are few, and Gamma is dear."""
        distinct, places = np.unique(self.x, return_inverse=True)
        return distinct, places


@dataclass(frozen=True)
class BgNbd:
    """How often customers buy: rates Gamma(r, alpha), after each purchase gone with a Beta(a, b) chance."""

    r: float
    alpha: float
    a: float
    b: float

    def log_likelihood(self, data: Histories) -> float:
        """Of all customers' histories; equation (6) of the paper, in logarithms."""
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        x, place = data.distinct_x
        base = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha)
        stays_x = special.betaln(a, b + x) - special.betaln(a, b)
        # who bought once has had no purchase after which to leave: the model counts them as still there
        leaves_x = np.where(
            x > 0, special.betaln(a + 1, b + np.maximum(x, 1.0) - 1) - special.betaln(a, b), -np.inf
        )
        stays = stays_x[place] - (r + data.x) * np.log(alpha + data.t)
        leaves = leaves_x[place] - (r + data.x) * np.log(alpha + data.t_x)
        return float(np.sum(data.customers * (base[place] + np.logaddexp(stays, leaves))))

    def expected_purchases(self, data: Histories, ahead: float) -> Floats:
        """Purchases of each history in the time ahead; equation (10) of the paper."""
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        x, again = data.x, data.x > 0
        later = alpha + data.t + ahead
        series = special.hyp2f1(r + x, b + x, a + b + x - 1, ahead / later)
        above = (a + b + x - 1) / (a - 1) * (1 - ((alpha + data.t) / later) ** (r + x) * series)
        odds = a / (b + np.where(again, x, 1.0) - 1) * ((alpha + data.t) / (alpha + data.t_x)) ** (r + x)
        expected: Floats = above / (1 + np.where(again, odds, 0.0))
        return expected


@dataclass(frozen=True)
class GammaGamma:
    """How much a purchase is: shape p, and a scale that varies between customers by Gamma(q, v)."""

    p: float
    q: float
    v: float

    def log_likelihood(self, x: Floats, mean: Floats) -> float:
        """Of customers with ``x`` ≥ 1 purchases of that mean; equation (1a) of the note."""
        p, q, v = self.p, self.q, self.v
        return float(
            np.sum(
                special.gammaln(p * x + q)
                - special.gammaln(p * x)
                - special.gammaln(q)
                + q * np.log(v)
                + (p * x - 1) * np.log(mean)
                + p * x * np.log(x)
                - (p * x + q) * np.log(v + x * mean)
            )
        )

    def expected_amount(self, x: Floats, mean: Floats) -> Floats:
        """What a further purchase will be; equation (5) of the note. With ``x`` 0 that of the whole shop."""
        weight = self.p * x / (self.p * x + self.q - 1)
        expected: Floats = (1 - weight) * self.p * self.v / (self.q - 1) + weight * mean
        return expected


def fit_bg_nbd(data: Histories) -> BgNbd:
    """The model under which the histories are likeliest.

    Raises:
        NoFitError: If nobody bought again or the search finds no maximum.
    """
    if not np.any(data.x > 0):
        raise NoFitError("nobody bought again")
    total = float(data.customers.sum())

    def loss(logs: Floats) -> float:
        value = -BgNbd(*map(float, np.exp(logs))).log_likelihood(data) / total
        return value if np.isfinite(value) else _IMPOSSIBLE

    scale = float(np.average(data.t, weights=data.customers))
    start = np.log([0.5, max(scale / 4, 1e-3), 1.0, 2.5])
    # where nobody is seen to leave for good, a goes to 0 and b grows: that edge is an answer, too
    return BgNbd(*_search(loss, start, may_be_at_edge=(False, False, True, True)))


def fit_gamma_gamma(x: Floats, mean: Floats) -> GammaGamma:
    """The model under which the means are likeliest.

    Raises:
        NoFitError: If there are fewer than 10 customers, the search finds no maximum, or a purchase would
            have no finite mean.
    """
    if len(x) < 10:
        raise NoFitError("fewer than 10 customers bought again")
    scale = float(np.mean(mean))

    def loss(logs: Floats) -> float:
        p, q, v = map(float, np.exp(logs))
        value = -GammaGamma(p, q, v * scale).log_likelihood(x, mean) / len(x)
        return value if np.isfinite(value) else _IMPOSSIBLE

    p, q, v = _search(loss, np.log([2.0, 3.0, 1.0]), may_be_at_edge=(False, False, False))
    if q <= 1.05:
        raise NoFitError("the amounts vary so much that their mean is not finite")
    return GammaGamma(p, q, v * scale)


def _search(loss: Callable[[Floats], float], start: Floats, *, may_be_at_edge: Sequence[bool]) -> list[float]:
    """The parameters with the smallest loss, searched on the logarithmic scale: they are all positive."""
    # slow to load, and not every week has enough customers for a search
    from scipy import optimize

    bounds = [(_LOWEST, _HIGHEST)] * len(start)
    found = optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    polished = optimize.minimize(
        loss, found.x, method="Nelder-Mead", bounds=bounds, options={"maxiter": 60 * len(start)}
    )
    at_edge = (polished.x < _LOWEST + 0.1) | (polished.x > _HIGHEST - 0.1)
    if (
        not np.isfinite(polished.fun)
        or polished.fun >= _IMPOSSIBLE
        or np.any(at_edge & ~np.array(may_be_at_edge))
    ):
        raise NoFitError("the likelihood has no maximum within reach")
    return [float(value) for value in np.exp(polished.x)]
