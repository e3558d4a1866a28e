"""The weekly grid: which weeks exist and which are closed. Dagster's partitions are made from it elsewhere.

A week is named by its Monday and runs from Monday 00:00 to the next Monday 00:00, shop-local time. Its
``as_of`` is that next Monday: a snapshot of the week knows everything before it and nothing later.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from rfm_pipeline.errors import RfmError
from rfm_pipeline.shop import Shop

WEEK = timedelta(days=7)


def week_of(day: date) -> date:
    """The Monday of the week in which a day lies."""
    day = day.date() if isinstance(day, datetime) else day
    return day - timedelta(days=day.weekday())


def as_of(week: date) -> date:
    """The Monday after the week: the first day the week knows nothing of."""
    return week + WEEK


def weeks_between(first: date, last: date) -> list[date]:
    """All weeks from ``first`` to ``last``, both included."""
    return [first + i * WEEK for i in range((last - first).days // 7 + 1)]


def ranges(weeks: Iterable[date]) -> list[tuple[date, date]]:
    """Weeks joined into as few unbroken ranges as possible, as (first, last)."""
    found: list[tuple[date, date]] = []
    for week in sorted(weeks):
        if found and found[-1][1] + WEEK == week:
            found[-1] = (found[-1][0], week)
        else:
            found.append((week, week))
    return found


def shop_now(shop: Shop) -> datetime:
    """The present moment on the shop's clock, as a naive local time like all times in the warehouse."""
    return datetime.now(shop.zone).replace(tzinfo=None)


def newest_closed_week(shop: Shop, now: datetime) -> date:
    """The newest week of the grid that is over at ``now`` (naive, shop-local).

    May lie before ``first_week`` when no week of the grid is over yet.
    """
    newest = week_of(now) - WEEK
    return newest if shop.shop.last_week is None else min(newest, shop.shop.last_week)


def newest_covered_week(shop: Shop, newest_order_at: datetime | None, now: datetime) -> date | None:
    """The newest closed week whose last day the orders reach, give or take ``max_order_gap_days``.

    None if the orders reach no week of the grid.
    """
    if newest_order_at is None:
        return None
    reached = newest_order_at.date() + timedelta(days=shop.rules.max_order_gap_days)
    covered = week_of(reached + timedelta(days=1)) - WEEK
    week = min(covered, newest_closed_week(shop, now))
    return week if week >= shop.shop.first_week else None


def parse_week(shop: Shop, text: str) -> date:
    """Reads a week from the command line.

    Raises:
        RfmError: If it is no date, no Monday, or outside the shop's grid.
    """
    try:
        week = date.fromisoformat(text)
    except ValueError:
        raise RfmError(f"{text!r} is no date; write a week as its Monday, such as 2025-01-06.") from None
    if week != week_of(week):
        raise RfmError(f"{text} is a {week:%A}; a week is named by its Monday, here {week_of(week)}.")
    if week < shop.shop.first_week or (shop.shop.last_week and week > shop.shop.last_week):
        raise RfmError(
            f"week {text} is not on the shop's grid ({shop.shop.first_week} to "
            f"{shop.shop.last_week or 'now'}; see shop.first_week and shop.last_week in shop.yaml)."
        )
    return week


def parse_weeks(shop: Shop, text: str) -> list[date]:
    """Reads ``A..B`` from the command line, both ends included.

    Raises:
        RfmError: If it isn't two weeks of the grid in order.
    """
    first, dots, last = text.partition("..")
    if not dots:
        raise RfmError(f"{text!r} is no range of weeks; write two Mondays, such as 2025-01-06..2025-03-03.")
    begin, end = parse_week(shop, first.strip()), parse_week(shop, last.strip())
    if end < begin:
        raise RfmError(f"the range {text} ends before it begins.")
    return weeks_between(begin, end)


def name_range(weeks: Sequence[date]) -> str:
    """``2025-01-06`` or ``2025-01-06..2025-03-03``, for messages."""
    return f"{weeks[0]}" if len(weeks) == 1 else f"{weeks[0]}..{weeks[-1]}"
