"""What the silent are worth: their chance to come back × what they spend then, both learnt from past weeks.

A past week whose days have passed (a *window*) shows how many of its silent churners came back within
``VALUE_DAYS`` and what they brought. Windows are taken every four weeks over a year, so that each season
counts once. A cell (class, recency band) with too few customers borrows from wider groups, and says so.
Those customers may have been silent for longer or shorter: the chance to return is moved along the
slope that past windows show over the length of silence (a power of the days, fitted as a Poisson regression).

The interval holds three things: that the past was a sample, that the future will be one, and how far windows
have differed from each other beyond chance (the season; assumed while too few are known). Windows overlap, so
that an order counts in several of them: what they hold is divided by that overlap.

Belongs here: computing with a few rows of sums. The sums are ``silent_windows.sql``'s. Nothing knows Dagster.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import polars as pl
from scipy import special

from rfm_pipeline.review.schemas import VALUE_DAYS
from rfm_pipeline.review.statistics import CONFIDENCE, Interval, Sums, Z, wilson
from rfm_pipeline.weeks import WEEK

ANSWER_WEEKS = math.ceil(VALUE_DAYS / 7)
"""So many weeks later a week's silent churners have had their days."""
STEP_WEEKS = 4
WINDOWS = 13
"""Windows to learn from, and weeks to test on: a year of each."""
ENOUGH_CUSTOMERS = 100
ENOUGH_RETURNERS = 20
FEWEST_CUSTOMERS = 30
ASSUMED_SEASON = 0.25
"""The relative spread between windows that is assumed while the shop's own is unknown."""
BAND_EDGES = (120, 180, 270, 365)

Cell = tuple[str, int]
"""Class and the recency from which its band begins."""


def recency_bands(dormant_after_days: int) -> pl.DataFrame:
    """The bands of recency, the first from the shop's threshold.

    Returns:
        recency_from, recency_to (included, null for no end), lowest and below (the same as half-open span;
        the first reaches down to 0, for weeks in which the threshold was lower).
    """
    starts = [dormant_after_days, *(edge for edge in BAND_EDGES if edge > dormant_after_days)]
    ends: list[int | None] = [*(start - 1 for start in starts[1:]), None]
    return pl.DataFrame(
        {
            "recency_from": starts,
            "recency_to": ends,
            "lowest": [0, *starts[1:]],
            "below": [*starts[1:], 1_000_000],
        },
        schema=dict.fromkeys(("recency_from", "recency_to", "lowest", "below"), pl.Int64),
    )


def answered_weeks(week: date) -> list[date]:
    """The past weeks whose answers are known at a week, newest first: to learn from, or to be tested on."""
    newest = week - ANSWER_WEEKS * WEEK
    return [newest - number * STEP_WEEKS * WEEK for number in range(WINDOWS)]


@dataclass(frozen=True)
class Outcome:
    """What some silent churners did.

    Attributes:
        customers: How many they were.
        log_days: The logarithms of the days they had been silent, added up.
        returned: How many came back.
        net_sales: What those brought.
        squares: The same of each, squared, added up.
    """

    customers: float = 0
    log_days: float = 0
    returned: float = 0
    net_sales: float = 0
    squares: float = 0

    @property
    def mean_log_days(self) -> float:
        """Of the logarithm of the days they had been silent."""
        return self.log_days / self.customers

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.customers + other.customers,
            self.log_days + other.log_days,
            self.returned + other.returned,
            self.net_sales + other.net_sales,
            self.squares + other.squares,
        )


@dataclass(frozen=True)
class Window:
    """A past week: its silent churners by cell, and all classes by fortnight of silence."""

    cells: dict[Cell, Outcome]
    fortnights: dict[int, Outcome]

    @property
    def total(self) -> Outcome:
        """All its silent churners together."""
        return sum(self.cells.values(), Outcome())


def read_windows(frame: pl.DataFrame) -> dict[date, Window]:
    """Rows of ``silent_windows.sql`` by week; weeks without a silent churner are left out."""
    found: dict[date, Window] = {}
    for row in frame.iter_rows(named=True):
        window = found.setdefault(row["week"], Window(defaultdict(Outcome), defaultdict(Outcome)))
        outcome = Outcome(
            row["customers"],
            row["log_days"],
            row["returned"],
            float(row["net_sales"]),
            row["net_sales_squares"],
        )
        window.cells[row["churn_class"], row["recency_from"]] += outcome
        window.fortnights[row["fortnight"]] += outcome
    return found


@dataclass(frozen=True)
class Slope:
    """By which power of the days of silence the chance to return changes; never upwards."""

    power: float = 0.0
    variance: float = 0.0


def fit_slope(groups: Iterable[Outcome], overlap: float) -> Slope:
    """The slope of returns over the logarithm of the days, as a Poisson regression with a log link.

    Args:
        groups: Silent churners who had been silent for about the same time.
        overlap: In how many windows a return is counted on average: the variance is that much larger.

    Returns:
        A slope of 0 if the groups say nothing of it.

    Source: P. McCullagh, J. A. Nelder (1989), "Generalized Linear Models", chapter 6; by Newton's method.
    """
    known = [group for group in groups if group.customers > 0]
    returned = np.array([group.returned for group in known])
    if len(known) < 2 or returned.sum() < ENOUGH_RETURNERS * overlap:
        return Slope()
    customers = np.array([group.customers for group in known])
    days = np.array([group.mean_log_days for group in known])
    days = days - np.average(days, weights=customers)
    level, power = math.log(returned.sum() / customers.sum()), 0.0
    for _ in range(50):
        expected = customers * np.exp(level + power * days)
        score = np.array([np.sum(returned - expected), np.sum((returned - expected) * days)])
        information = np.array(
            [
                [np.sum(expected), np.sum(expected * days)],
                [np.sum(expected * days), np.sum(expected * days**2)],
            ]
        )
        if np.linalg.det(information) <= 1e-12 * information[0, 0] ** 2:
            return Slope()
        step = np.linalg.solve(information, score)
        level, power = level + float(step[0]), power + float(step[1])
        if np.abs(step).max() < 1e-10:
            break
    if power >= 0 or not math.isfinite(power):
        return Slope()
    return Slope(power, float(np.linalg.inv(information)[1, 1]) * overlap)


@dataclass(frozen=True)
class Learnt:
    """An estimate, where it comes from, and how much it was learnt from.

    Attributes:
        source: One of ``LEARNT_FROM``.
        key: The group; cells with the same key err together.
        outcome: What the group did.
        estimate: The chance of a return, or net sales of a returner.
        variance: Of the estimate.
        low: Its 95 % interval from.
        high: To.
        moved: How far it was moved along the slope, in logarithms of days.
    """

    source: str
    key: Cell | str
    outcome: Outcome
    estimate: float
    variance: float
    low: float
    high: float
    moved: float = 0.0


@dataclass(frozen=True)
class CellForecast:
    """A cell's silent churners and what is expected of them; None where there is nothing to learn from."""

    customers: int
    probability: Learnt | None
    sales: Learnt | None

    @property
    def expected_returns(self) -> float | None:
        """How many will be back."""
        return None if self.probability is None else self.customers * self.probability.estimate

    @property
    def mean_sales(self) -> float:
        """Net sales of a returner; without any returner in the past, none are expected either."""
        return 0.0 if self.sales is None else self.sales.estimate

    @property
    def value(self) -> float | None:
        """What they will bring."""
        returns = self.expected_returns
        return None if returns is None else returns * self.mean_sales

    @property
    def future_variance(self) -> float:
        """Of the customers' own sum, were the probability and the mean known exactly."""
        if self.probability is None:
            return 0.0
        p, mean = self.probability.estimate, self.mean_sales
        spread = _spread(self.sales.outcome) if self.sales else 0.0
        return self.customers * max(0.0, p * (spread + mean**2) - (p * mean) ** 2)


@dataclass(frozen=True)
class Forecast:
    """What the silent of a week are expected to do.

    Attributes:
        cells: By class and band.
        windows: The past weeks it is learnt from, newest first.
        slope: How the chance to return changes with the days of silence.
        season: The relative spread of the windows beyond chance; None if they are too few to tell.
        returns: Who will be back, with the interval of all cells together; None without history.
        value: What they will bring, likewise.
    """

    cells: dict[Cell, CellForecast]
    windows: list[date] = field(default_factory=list)
    slope: Slope = Slope()
    season: float | None = None
    returns: float | None = None
    value: Interval | None = None

    def cell_interval(self, cell: Cell) -> Interval | None:
        """The interval of one cell's value."""
        return _interval({cell: self.cells[cell]}, self.slope, self.season, len(self.windows))


class Teacher:
    """What past windows say about a cell, from the narrowest group that holds enough."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self.overlap = max(1.0, min(len(windows), VALUE_DAYS / (7 * STEP_WEEKS)))
        self._cells: dict[Cell, Outcome] = defaultdict(Outcome)
        self._bands: dict[int, Outcome] = defaultdict(Outcome)
        self._all = Outcome()
        fortnights: dict[int, Outcome] = defaultdict(Outcome)
        for window in windows:
            for (churn_class, band), outcome in window.cells.items():
                self._cells[churn_class, band] += outcome
                self._bands[band] += outcome
                self._all += outcome
            for fortnight, outcome in window.fortnights.items():
                fortnights[fortnight] += outcome
        self.slope = fit_slope(fortnights.values(), self.overlap)

    def _groups(self, cell: Cell) -> Iterable[tuple[str, Cell | str, Outcome]]:
        """From the narrowest to the widest: source, key, outcome."""
        band = cell[1]
        yield "cell", cell, self._cells.get(cell, Outcome())
        yield "band", f"band {band}", self._bands.get(band, Outcome())
        # of two as near, the shorter silence
        for near in sorted(self._bands, key=lambda other: (abs(other - band), other)):
            yield "nearest_band", f"band {near}", self._bands[near]
        yield "all", "all", self._all

    def probability(self, cell: Cell, mean_log_days: float) -> Learnt | None:
        """The chance of a return of customers who have been silent for so long."""
        for source, key, outcome in self._groups(cell):
            n = outcome.customers / self.overlap
            if n >= (FEWEST_CUSTOMERS if source == "all" else ENOUGH_CUSTOMERS):
                p = outcome.returned / outcome.customers
                # one more of each: nobody back yet does not mean that nobody ever will be
                careful = (p * n + 1) / (n + 2)
                ends = wilson(p * n, n)
                moved = mean_log_days - outcome.mean_log_days
                factor = math.exp(self.slope.power * moved)
                p, low, high = (min(1.0, end * factor) for end in (p, ends.low, ends.high))
                variance = careful * (1 - careful) / n * factor**2
                return Learnt(source, key, outcome, p, variance, low, high, moved)
        return None

    def sales(self, cell: Cell) -> Learnt | None:
        """Net sales of a returner."""
        for source, key, outcome in self._groups(cell):
            n = outcome.returned / self.overlap
            if n >= (1 if source == "all" else ENOUGH_RETURNERS) and outcome.returned >= 2:
                mean = outcome.net_sales / outcome.returned
                variance = _spread(outcome) / n
                half = Z * math.sqrt(variance)
                return Learnt(source, key, outcome, mean, variance, mean - half, mean + half)
        return None


def _spread(outcome: Outcome) -> float:
    """The variance of net sales among returners."""
    if outcome.returned < 2:
        return 0.0
    return Sums(int(outcome.returned), outcome.net_sales, outcome.squares).variance


def forecast(silent: Mapping[Cell, Outcome], windows: Mapping[date, Window]) -> Forecast:
    """What silent churners will do, from what those of past windows did.

    Args:
        silent: By class and recency band; only customers and their days are read.
        windows: The past windows whose answers are known.
    """
    teacher = Teacher(list(windows.values()))
    cells = _expect(teacher, silent)
    if not windows or any(cell.probability is None for cell in cells.values()):
        return Forecast({cell: CellForecast(int(who.customers), None, None) for cell, who in silent.items()})
    season = _season(teacher, windows)
    returns = sum(cell.expected_returns or 0.0 for cell in cells.values())
    value = _interval(cells, teacher.slope, season, len(windows))
    return Forecast(cells, sorted(windows, reverse=True), teacher.slope, season, returns, value)


def _expect(teacher: Teacher, silent: Mapping[Cell, Outcome]) -> dict[Cell, CellForecast]:
    return {
        cell: CellForecast(
            int(who.customers), teacher.probability(cell, who.mean_log_days), teacher.sales(cell)
        )
        for cell, who in silent.items()
    }


def _season(teacher: Teacher, windows: Mapping[date, Window]) -> float | None:
    """How far windows differ from what is expected of them, relatively, beyond chance.

    None unless at least three windows share no day.
    """
    if max(windows) - min(windows) < timedelta(days=2 * VALUE_DAYS):
        return None
    ratios, noise = [], []
    for window in windows.values():
        cells = _expect(teacher, window.cells)
        expected = sum(cell.value or 0.0 for cell in cells.values())
        if expected > 0:
            ratios.append(window.total.net_sales / expected)
            noise.append(sum(cell.future_variance for cell in cells.values()) / expected**2)
    if len(ratios) < 2:
        return None
    mean = sum(ratios) / len(ratios)
    variance = sum((ratio - mean) ** 2 for ratio in ratios) / (len(ratios) - 1)
    return math.sqrt(max(0.0, variance - sum(noise) / len(noise)))


def _interval(
    cells: Mapping[Cell, CellForecast], slope: Slope, season: float | None, windows: int
) -> Interval | None:
    """The interval of the cells' value together.

    Cells that borrow from the same group err together: their weights are added before they are squared.
    """
    value = 0.0
    by_probability: dict[Cell | str, tuple[float, float]] = {}
    by_sales: dict[Cell | str, tuple[float, float]] = {}
    moved = 0.0
    for cell in cells.values():
        p, sales = cell.probability, cell.sales
        if p is None:
            return None
        value += cell.value or 0.0
        moved += (cell.value or 0.0) * p.moved
        weight, _ = by_probability.get(p.key, (0.0, 0.0))
        by_probability[p.key] = weight + cell.customers * cell.mean_sales, p.variance
        if sales is not None:
            weight, _ = by_sales.get(sales.key, (0.0, 0.0))
            by_sales[sales.key] = weight + cell.customers * p.estimate, sales.variance
    learnt = sum(weight**2 * variance for weight, variance in (*by_probability.values(), *by_sales.values()))
    learnt += moved**2 * slope.variance
    chance = Z * math.sqrt(learnt + sum(cell.future_variance for cell in cells.values()))
    swing = Z * ASSUMED_SEASON * value
    if season is not None:
        # the spread comes from few windows: the wider quantile of Student's t, and one more window to come
        quantile = float(special.stdtrit(max(1, windows - 1), 0.5 + CONFIDENCE / 2))
        swing = quantile * season * value * math.sqrt(1 + 1 / windows)
    half = math.hypot(chance, swing)
    return Interval(value, max(0.0, value - half), value + half)
