"""The definitions, read a second time in plain Python: the oracle that the SQL is compared with.

Slow and obvious on purpose: lists, loops, dicts, ``Decimal`` and ``Fraction``, every order line
visited again for every question. Each function quotes the definition it reads. What belongs here
is the meaning of a number; random shops live in ``random_shops``, comparisons in the tests of
each stage. Nothing here imports the package under test.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

ZERO = Decimal(0)
ONE_WEEK = timedelta(days=7)

ONLINE_RETAIL_NOT_PRODUCTS = (
    "POST",
    "DOT",
    "M",
    "D",
    "S",
    "B",
    "C2",
    "CRUK",
    "PADS",
    "AMAZONFEE",
    "BANK CHARGES",
)
ONLINE_RETAIL_NOT_PRODUCT_PREFIXES = ("GIFT", "TEST")


@dataclass(frozen=True)
class Line:
    """An order line with the canonical columns. Timestamps are naive and shop-local."""

    order_id: str
    line_no: int
    customer_id: str | None
    ordered_at: datetime
    line_type: Literal["sale", "return"]
    sku: str | None
    product_name: str
    quantity: Decimal
    unit_price: Decimal
    list_price: Decimal | None
    amount: Decimal
    refunded_amount: Decimal = ZERO
    refunded_at: datetime | None = None
    is_clearance: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The shop's decisions, with the documented defaults. ``first_week`` is a Monday."""

    first_week: date
    frequency_high: int = 3
    monetary_high: Decimal | None = None
    monetary_high_quantile: Decimal = Decimal("0.75")
    dormant_after_days: int = 90
    lapsing_after_days: int = 60
    bestsellers_top: int = 20
    low_price_quantile: Decimal = Decimal("0.25")
    product_window_days: int = 365
    clearance_share: Decimal = Decimal("0.5")
    not_products: tuple[str, ...] = ONLINE_RETAIL_NOT_PRODUCTS
    not_product_prefixes: tuple[str, ...] = ONLINE_RETAIL_NOT_PRODUCT_PREFIXES
    holdout_share: Decimal = Decimal("0.1")
    weekly_capacity: int = 200


class CustomerRfm(NamedTuple):
    """A customer at a week."""

    as_of: date
    recency_days: int
    frequency: int
    monetary: Decimal
    first_order_at: datetime
    last_order_at: datetime
    last_return_at: datetime | None


class CustomerSegment(NamedTuple):
    """Where a customer stands at a week."""

    segment: str
    rfm_class: str


class Bestseller(NamedTuple):
    """A SKU (trimmed, upper case) among the bestsellers of a week."""

    sku: str
    orders: int
    revenue: Decimal


class SilentChurner(NamedTuple):
    """A silent churner at a week. ``favourite_sku`` is None if no product was ever bought."""

    churn_class: Literal["A", "B", "C"]
    favourite_sku: str | None
    silent_since: datetime
    recency_days: int
    frequency: int
    monetary: Decimal


class NewSilentChurners(NamedTuple):
    """The newly silent customers of a week."""

    customer_ids: frozenset[str]
    is_backlog: bool


class CustomerActivity(NamedTuple):
    """What a customer did in a week. ``refunds`` holds linked refunds and return lines."""

    orders: int
    refunded_orders: int
    sales: Decimal
    refunds: Decimal
    first_order_at: datetime | None
    last_order_at: datetime | None
    last_return_at: datetime | None


class PaidOrder(NamedTuple):
    """The sale lines of one customer in one order, summing to more than 0."""

    ordered_at: datetime
    amount: Decimal
    refunds: list[tuple[datetime, Decimal]]


# Time


def week_of(moment: datetime) -> date:
    """Read "the week runs Monday 00:00 to the next Monday 00:00, shop-local time"."""
    return moment.date() - timedelta(days=moment.weekday())


def as_of_date(week: date) -> date:
    """Read "as_of: the Monday after `week`".

    Raises:
        ValueError: If the week is not named by its Monday.
    """
    if week.weekday() != 0:
        raise ValueError(f"A week is named by its Monday, and {week} is none.")
    return week + ONE_WEEK


def as_of_moment(week: date) -> datetime:
    """Read "knows everything before `as_of` 00:00 and nothing later": that first instant."""
    return datetime.combine(as_of_date(week), time.min)


def order_times(lines: Iterable[Line]) -> dict[str, datetime]:
    """Read "An order's time is the earliest `ordered_at` of its lines", of whatever type."""
    times: dict[str, datetime] = {}
    for line in lines:
        if line.order_id not in times or line.ordered_at < times[line.order_id]:
            times[line.order_id] = line.ordered_at
    return times


# Orders, refunds and returns


def has_refund(line: Line) -> bool:
    """Read "`refunded_amount` (≥ 0, linked refund, default 0)": on sales, and 0 is no refund."""
    return line.line_type == "sale" and line.refunded_amount > 0


def refund_time(line: Line, times: Mapping[str, datetime]) -> datetime:
    """Read "A linked refund without a time counts as of its order's time"."""
    return times[line.order_id] if line.refunded_at is None else line.refunded_at


def paid_orders(lines: Sequence[Line]) -> dict[str, list[PaidOrder]]:
    """Read "a customer_id and at least one order whose sale amounts sum to more than 0".

    An order's customer is a matter of its lines: each customer on an order has their own part.

    Returns:
        The paid orders by customer, each with its linked refunds as (time, amount).
    """
    times = order_times(lines)
    parts: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line.customer_id is not None and line.line_type == "sale":
            parts.setdefault((line.customer_id, line.order_id), []).append(line)

    orders: dict[str, list[PaidOrder]] = {}
    for (customer_id, order_id), sales in parts.items():
        amount = sum((line.amount for line in sales), ZERO)
        if amount > 0:
            refunds = [(refund_time(line, times), line.refunded_amount) for line in sales if has_refund(line)]
            order = PaidOrder(times[order_id], amount, refunds)
            orders.setdefault(customer_id, []).append(order)
    return orders


def refunds_and_returns(lines: Sequence[Line]) -> dict[str, list[tuple[datetime, Decimal]]]:
    """Read "linked refunds" and "return lines": all that takes money back, by customer.

    A return line happens at its order's time and is a return whatever its amount.
    """
    times = order_times(lines)
    events: dict[str, list[tuple[datetime, Decimal]]] = {}
    for line in lines:
        if line.customer_id is None:
            continue
        if has_refund(line):
            event = (refund_time(line, times), line.refunded_amount)
            events.setdefault(line.customer_id, []).append(event)
        if line.line_type == "return":
            event = (times[line.order_id], line.amount)
            events.setdefault(line.customer_id, []).append(event)
    return events


def is_fully_refunded(order: PaidOrder, before: datetime) -> bool:
    """Read "orders whose refunds known before `as_of` reach their amount"."""
    known = sum((amount for refunded_at, amount in order.refunds if refunded_at < before), ZERO)
    return known >= order.amount


# RFM


def customer_rfm(lines: Sequence[Line], week: date, rules: Rules) -> dict[str, CustomerRfm]:
    """Read "RFM at a week", for every customer with a paid order placed before `as_of`.

    - "`last_order_at`, `first_order_at`: latest and earliest such order, refunded or not."
    - "`frequency`: such orders, minus orders whose refunds known before `as_of` reach their
      amount."
    - "`monetary`: sale amounts − linked refunds − return lines, all before `as_of`. May be
      negative."
    - "`last_return_at`: latest refund or return before `as_of`, null if none."
    - "recency_days: `as_of − date(last_order_at)`, in days."

    Args:
        lines: Every order line of the shop, in any order.
        week: The Monday of the week.
        rules: The shop's decisions; none of them changes RFM.
    """
    as_of = as_of_moment(week)
    takebacks = refunds_and_returns(lines)
    result: dict[str, CustomerRfm] = {}
    for customer_id, all_orders in paid_orders(lines).items():
        orders = [order for order in all_orders if order.ordered_at < as_of]
        if not orders:
            continue
        taken_back = [(moment, amount) for moment, amount in takebacks.get(customer_id, []) if moment < as_of]
        sales = sum((order.amount for order in orders), ZERO)
        last_order_at = max(order.ordered_at for order in orders)
        result[customer_id] = CustomerRfm(
            as_of=as_of.date(),
            recency_days=(as_of.date() - last_order_at.date()).days,
            frequency=sum(1 for order in orders if not is_fully_refunded(order, as_of)),
            monetary=sales - sum((amount for _, amount in taken_back), ZERO),
            first_order_at=min(order.ordered_at for order in orders),
            last_order_at=last_order_at,
            last_return_at=max((moment for moment, _ in taken_back), default=None),
        )
    return result


def customer_activity(lines: Sequence[Line]) -> dict[tuple[str, date], CustomerActivity]:
    """Read "a customer in a week with any order, refund or return".

    Orders and sales lie in the order's week, a linked refund in the week of its own time, a
    return line in its order's week. An order is a refunded order in the week in which its refunds
    reach its amount, and never before its own week.

    Returns:
        The activity by (customer_id, Monday of the week).
    """
    orders_in: dict[tuple[str, date], list[PaidOrder]] = {}
    fully_refunded_in: dict[tuple[str, date], int] = {}
    for customer_id, orders in paid_orders(lines).items():
        for order in orders:
            orders_in.setdefault((customer_id, week_of(order.ordered_at)), []).append(order)
            refunded_week = full_refund_week(order)
            if refunded_week is not None:
                key = (customer_id, refunded_week)
                fully_refunded_in[key] = fully_refunded_in.get(key, 0) + 1

    taken_back_in: dict[tuple[str, date], list[tuple[datetime, Decimal]]] = {}
    for customer_id, events in refunds_and_returns(lines).items():
        for moment, amount in events:
            taken_back_in.setdefault((customer_id, week_of(moment)), []).append((moment, amount))

    result: dict[tuple[str, date], CustomerActivity] = {}
    for key in orders_in.keys() | taken_back_in.keys():
        placed = orders_in.get(key, [])
        taken_back = taken_back_in.get(key, [])
        result[key] = CustomerActivity(
            orders=len(placed),
            refunded_orders=fully_refunded_in.get(key, 0),
            sales=sum((order.amount for order in placed), ZERO),
            refunds=sum((amount for _, amount in taken_back), ZERO),
            first_order_at=min((order.ordered_at for order in placed), default=None),
            last_order_at=max((order.ordered_at for order in placed), default=None),
            last_return_at=max((moment for moment, _ in taken_back), default=None),
        )
    return result


def full_refund_week(order: PaidOrder) -> date | None:
    """The week in which the refunds of an order reach its amount, or None while they do not."""
    refunded = ZERO
    for refunded_at, amount in sorted(order.refunds):
        refunded += amount
        if refunded >= order.amount:
            return max(week_of(refunded_at), week_of(order.ordered_at))
    return None


# Thresholds and segments


def quantile(values: Iterable[Decimal], share: Decimal) -> Fraction | None:
    """Read "quantile (linear interpolation)", exactly; None of no values.

    The value at position ``share * (n - 1)`` of the sorted values, counted from 0, on the straight
    line between its two neighbours (Hyndman and Fan, 1996, type 7).
    """
    ordered = [Fraction(value) for value in sorted(values)]
    if not ordered:
        return None
    position = Fraction(share) * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def thresholds(rfm: Mapping[str, CustomerRfm], rules: Rules) -> Fraction | None:
    """Read "`monetary_high` either an amount or a quantile of `monetary` over that week's table".

    Returns:
        The amount from which M is high; None if it is a quantile of no customers.
    """
    if rules.monetary_high is not None:
        return Fraction(rules.monetary_high)
    return quantile((row.monetary for row in rfm.values()), rules.monetary_high_quantile)


def is_exclusive(rfm: Mapping[str, CustomerRfm], rules: Rules) -> bool:
    """Read "monetary_high is a quantile and more customers than its share (1 − quantile) plus 15
    points would be high with ≥".
    """
    monetary_high = thresholds(rfm, rules)
    if monetary_high is None or rules.monetary_high is not None:
        return False
    reaching = sum(1 for row in rfm.values() if Fraction(row.monetary) >= monetary_high)
    share = 1 - Fraction(rules.monetary_high_quantile) + Fraction(15, 100)
    return reaching > share * len(rfm)


def segments(rfm: Mapping[str, CustomerRfm], rules: Rules) -> dict[str, CustomerSegment]:
    """Read "Segment, exactly one a customer", and `rfm_class` beside it, over a week's table.

    "High F means F ≥ frequency_high; high M means M ≥ monetary_high, but M > monetary_high where" it
    is a quantile and too many customers share it (:func:`is_exclusive`).
    """
    monetary_high = thresholds(rfm, rules)
    only_above = is_exclusive(rfm, rules)
    result: dict[str, CustomerSegment] = {}
    for customer_id, row in rfm.items():
        reaches = monetary_high is not None and Fraction(row.monetary) >= monetary_high
        high_m = reaches and not (only_above and Fraction(row.monetary) == monetary_high)
        high_f = row.frequency >= rules.frequency_high
        result[customer_id] = CustomerSegment(
            segment_of(row, high_f=high_f, high_m=high_m, rules=rules),
            rfm_class_of(row, high_f=high_f, high_m=high_m, rules=rules),
        )
    return result


def segment_of(row: CustomerRfm, *, high_f: bool, high_m: bool, rules: Rules) -> str:
    """Read the table of segments from its first row to its last."""
    if high_f and high_m:
        return "champion"
    if high_m:
        return "rising_vip"
    if high_f and row.recency_days >= rules.lapsing_after_days:
        return "lapsing_regular"
    if high_f:
        return "active_regular"
    if row.recency_days < rules.dormant_after_days:
        return "developing"
    # "`last_return_at` is null or earlier than `last_order_at`": the same instant is vocal.
    if row.last_return_at is None or row.last_return_at < row.last_order_at:
        return "silent_churner"
    return "vocal_churner"


def rfm_class_of(row: CustomerRfm, *, high_f: bool, high_m: bool, rules: Rules) -> str:
    """Read "重要价值 = recent, high F; 重要发展 = recent, low F; 重要保持 = not recent, high F;
    重要挽留 = not recent, low F; 一般… the same for low M", with "recent (R < dormant_after_days)".
    """
    recent = row.recency_days < rules.dormant_after_days
    if recent and high_f:
        kind = "价值"
    elif recent:
        kind = "发展"
    elif high_f:
        kind = "保持"
    else:
        kind = "挽留"
    return ("重要" if high_m else "一般") + kind


# Products


def product_sku(line: Line, rules: Rules) -> str | None:
    """Read "SKUs are compared trimmed and in upper case" and "Codes that are no products".

    Returns:
        The SKU as it is compared; None if it is missing, empty or no product.
    """
    sku = normal(line.sku or "")
    if not sku:
        return None
    if sku in [normal(code) for code in rules.not_products]:
        return None
    if any(sku.startswith(normal(prefix)) for prefix in rules.not_product_prefixes):
        return None
    return sku


def normal(code: str) -> str:
    """Read "trimmed and in upper case"."""
    return code.strip().upper()


def product_lines(lines: Iterable[Line], rules: Rules) -> list[tuple[str, Line]]:
    """Read "Product lines: sale lines with amount > 0 whose SKU is a product".

    Returns:
        Pairs of the SKU as it is compared and the line. Lines of no customer are among them.
    """
    result = []
    for line in lines:
        sku = product_sku(line, rules)
        if line.line_type == "sale" and line.amount > 0 and sku is not None:
            result.append((sku, line))
    return result


def window_product_lines(lines: Sequence[Line], week: date, rules: Rules) -> list[tuple[str, Line]]:
    """Read "whose order time lies in the 365 days before `as_of`": that instant in, `as_of` out."""
    as_of = as_of_moment(week)
    start = as_of - timedelta(days=rules.product_window_days)
    times = order_times(lines)
    return [(sku, line) for sku, line in product_lines(lines, rules) if start <= times[line.order_id] < as_of]


def is_clearance(line: Line, rules: Rules) -> bool:
    """Read "`is_clearance`, or a known list_price with unit_price ≤ half of it"."""
    if line.is_clearance:
        return True
    return line.list_price is not None and (
        Fraction(line.unit_price) <= Fraction(rules.clearance_share) * Fraction(line.list_price)
    )


def bestsellers(lines: Sequence[Line], week: date, rules: Rules) -> list[Bestseller]:
    """Read "the first 20 SKUs by the number of orders that hold one, over product lines, not
    clearance, whose order time lies in the 365 days before `as_of`; ties by revenue, then SKU".
    """
    orders: dict[str, set[str]] = {}
    revenue: dict[str, Decimal] = {}
    for sku, line in window_product_lines(lines, week, rules):
        if not is_clearance(line, rules):
            orders.setdefault(sku, set()).add(line.order_id)
            revenue[sku] = revenue.get(sku, ZERO) + line.amount
    ranked = sorted(orders, key=lambda sku: (-len(orders[sku]), -revenue[sku], sku))
    return [Bestseller(sku, len(orders[sku]), revenue[sku]) for sku in ranked[: rules.bestsellers_top]]


def low_price(lines: Sequence[Line], week: date, rules: Rules) -> Fraction | None:
    """Read "the 0.25 quantile (linear interpolation) of unit_price over all product lines in the
    same 365 days": up to this price a line is low-priced. None if there are no such lines.
    """
    prices = [line.unit_price for _, line in window_product_lines(lines, week, rules)]
    return quantile(prices, rules.low_price_quantile)


# Silent churners


def silent_churners(lines: Sequence[Line], week: date, rules: Rules) -> dict[str, SilentChurner]:
    """Read "Class of a silent churner, over all its product lines before `as_of`".

    "A if any is of a current bestseller; else B if there is any and every one is clearance or
    low-priced; else C. `favourite_sku`: for A the bestseller, else the SKU, on which the customer
    spent most (ties: bought latest, then SKU)."
    """
    as_of = as_of_moment(week)
    times = order_times(lines)
    rfm = customer_rfm(lines, week, rules)
    current = {bestseller.sku for bestseller in bestsellers(lines, week, rules)}
    cheap = low_price(lines, week, rules)

    result: dict[str, SilentChurner] = {}
    for customer_id, (segment, _) in segments(rfm, rules).items():
        if segment != "silent_churner":
            continue
        bought = [
            (sku, line)
            for sku, line in product_lines(lines, rules)
            if line.customer_id == customer_id and times[line.order_id] < as_of
        ]
        bought_bestsellers = [(sku, line) for sku, line in bought if sku in current]
        churn_class: Literal["A", "B", "C"]
        if bought_bestsellers:
            churn_class = "A"
        elif bought and all(is_clearance(line, rules) or is_low_priced(line, cheap) for _, line in bought):
            churn_class = "B"
        else:
            churn_class = "C"
        row = rfm[customer_id]
        result[customer_id] = SilentChurner(
            churn_class=churn_class,
            favourite_sku=favourite_sku(bought_bestsellers or bought, times),
            silent_since=row.last_order_at,
            recency_days=row.recency_days,
            frequency=row.frequency,
            monetary=row.monetary,
        )
    return result


def is_low_priced(line: Line, cheap: Fraction | None) -> bool:
    """Read "Low-priced: unit_price ≤ the quantile"; without a quantile nothing is."""
    return cheap is not None and Fraction(line.unit_price) <= cheap


def favourite_sku(bought: Iterable[tuple[str, Line]], times: Mapping[str, datetime]) -> str | None:
    """Read "on which the customer spent most (ties: bought latest, then SKU)"."""
    spent: dict[str, Decimal] = {}
    latest: dict[str, datetime] = {}
    for sku, line in bought:
        spent[sku] = spent.get(sku, ZERO) + line.amount
        latest[sku] = max(latest.get(sku, datetime.min), times[line.order_id])
    most = [sku for sku in spent if spent[sku] == max(spent.values())]
    newest = [sku for sku in most if latest[sku] == max(latest[sku] for sku in most)]
    return min(newest, default=None)


def new_silent_churners(lines: Sequence[Line], week: date, rules: Rules) -> NewSilentChurners:
    """Read "silent churners of `week` minus silent churners of the week before. For the first
    week of the grid all are new and `is_backlog` is true".

    Raises:
        ValueError: If the week lies before the first week of the grid.
    """
    if week < rules.first_week:
        raise ValueError(f"The week {week} lies before the first week {rules.first_week}.")
    silent = frozenset(silent_churners(lines, week, rules))
    if week == rules.first_week:
        return NewSilentChurners(silent, is_backlog=True)
    silent_before = frozenset(silent_churners(lines, week - ONE_WEEK, rules))
    return NewSilentChurners(silent - silent_before, is_backlog=False)
