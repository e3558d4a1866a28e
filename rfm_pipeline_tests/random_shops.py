"""Random small shops, as hypothesis strategies: a few customers, a few goods, many borders.

What belongs here is the making of order lines and rules, and writing lines as an export. The
values are drawn from small pools so that ties, repeats and exact boundaries are common: Monday
midnight and the second before it, prices at exactly half the list price, refunds that reach an
amount to the cent or miss it by one.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal

from hypothesis import strategies as st

from rfm_pipeline_tests.reference_model import ONE_WEEK, ZERO, Line, Rules, order_times, week_of

FIRST_WEEK = date(2024, 1, 1)
CUSTOMERS = ("c1", "c2", "c3", "c4", "c5")
CENT = Decimal("0.01")

PRODUCTS = ("A1", "B2", "C3", "D4")
SPELLINGS = ("{}", "{}", " {}", "{} ")
NOT_PRODUCTS = ("POST", "post ", " m", "Bank Charges", "GIFT_50", "test001")
NAMES = {"A1": "茶杯", "B2": 'Lamp, "warm"', "C3": "棉被 1.8m", "D4": "Tray; oak"}

# Instants of a week that lie on, or a second beside, the borders of weeks and days.
INSTANTS = (
    timedelta(0),
    timedelta(seconds=1),
    timedelta(hours=23, minutes=59, seconds=59),
    timedelta(days=1),
    timedelta(days=2, hours=12),
    timedelta(days=5, hours=18, minutes=30),
    timedelta(days=6, hours=23, minutes=59, seconds=59),
)
LINE_DELAYS = (
    timedelta(0),
    timedelta(0),
    timedelta(0),
    timedelta(seconds=1),
    timedelta(hours=13),
    timedelta(days=3),
)
UNIT_PRICES = (Decimal("0.50"), Decimal("2.00"), Decimal("2.01"), Decimal("5.00"), Decimal("12.95"))

RefundKind = Literal["none", "full", "full_split", "cent_less", "part", "zero_with_time"]
REFUND_KINDS: tuple[RefundKind, ...] = (
    "none",
    "none",
    "none",
    "none",
    "none",
    "none",
    "full",
    "full_split",
    "cent_less",
    "part",
    "zero_with_time",
)


@dataclass(frozen=True)
class Shop:
    """A shop's lines with the rules they are read by."""

    lines: list[Line]
    rules: Rules

    @property
    def weeks(self) -> list[date]:
        """The weekly grid, from the first week to a few weeks after the newest line."""
        return grid(self.lines, self.rules)


def grid(lines: Sequence[Line], rules: Rules, weeks_after: int = 4) -> list[date]:
    """The Mondays from the rules' first week to ``weeks_after`` weeks after the newest line."""
    newest = max((week_of(line.ordered_at) for line in lines), default=rules.first_week)
    last = max(newest + weeks_after * ONE_WEEK, rules.first_week)
    return [rules.first_week + number * ONE_WEEK for number in range((last - rules.first_week).days // 7 + 1)]


def moments(span_weeks: int) -> st.SearchStrategy[datetime]:
    """Instants in the first ``span_weeks`` weeks, many on the border of a week or a day."""
    start = datetime.combine(FIRST_WEEK, time.min)
    return st.builds(
        lambda number, instant: start + number * ONE_WEEK + instant,
        st.integers(0, span_weeks - 1),
        st.sampled_from(INSTANTS),
    )


def skus() -> st.SearchStrategy[str | None]:
    """Product SKUs in several spellings; now and then no product, an empty SKU, or none."""
    spelled = st.builds(
        lambda sku, spelling, lower: spelling.format(sku.lower() if lower else sku),
        st.sampled_from(PRODUCTS),
        st.sampled_from(SPELLINGS),
        st.booleans(),
    )
    plain = st.sampled_from(PRODUCTS)
    other = st.sampled_from((*NOT_PRODUCTS, "", None))
    return st.one_of(plain, plain, spelled, other)


def list_prices(unit_price: Decimal) -> st.SearchStrategy[Decimal | None]:
    """No list price, the price itself, its exact double, or a cent to either side of that."""
    double = 2 * unit_price
    return st.sampled_from((None, None, unit_price, double, double - CENT, double + CENT))


@st.composite
def order_lines(draw: st.DrawFn, order_id: str, *, span_weeks: int, may_return: bool = True) -> list[Line]:
    """The lines of one order: a sale, an unlinked return, or both in one order."""
    base = draw(moments(span_weeks))
    customer_id = draw(st.sampled_from((*CUSTOMERS, *CUSTOMERS, None)))
    kinds = ("sale", "sale", "sale", "sale", "sale", "return", "mixed") if may_return else ("sale",)
    kind = draw(st.sampled_from(kinds))
    lines = []
    for line_no in range(1, draw(st.integers(1, 3)) + 1):
        # One order in many holds lines of another customer, or of none.
        stranger = draw(st.integers(0, 19)) == 19
        line = draw(
            single_lines(
                order_id,
                line_no,
                customer_id=draw(st.sampled_from((*CUSTOMERS, None))) if stranger else customer_id,
                ordered_at=base + draw(st.sampled_from(LINE_DELAYS)),
                is_return=kind == "return" or (kind == "mixed" and draw(st.booleans())),
            )
        )
        lines.append(line)
    if draw(st.booleans()):
        # The same goods in another article: what ties between SKUs are made of.
        twin = replace(lines[0], line_no=len(lines) + 1, sku=draw(st.sampled_from(PRODUCTS)))
        lines.append(replace(twin, product_name=NAMES[twin.sku or ""]))
    if draw(st.integers(0, 9)) == 9:
        lines = [replace(line, amount=ZERO) for line in lines]
    return draw(with_refunds(lines, span_weeks=span_weeks))


@st.composite
def single_lines(
    draw: st.DrawFn,
    order_id: str,
    line_no: int,
    *,
    customer_id: str | None,
    ordered_at: datetime,
    is_return: bool,
) -> Line:
    """One line without a linked refund; a return has a negative quantity and may cost nothing."""
    sku = draw(skus())
    unit_price = draw(st.sampled_from(UNIT_PRICES))
    quantity = draw(st.sampled_from((1, 1, 1, 2, 3)))
    paid = draw(st.sampled_from(("all", "all", "all", "all", "less", "nothing")))
    full = quantity * unit_price
    amount = {"all": full, "less": full - CENT, "nothing": ZERO}[paid]
    return Line(
        order_id=order_id,
        line_no=line_no,
        customer_id=customer_id,
        ordered_at=ordered_at,
        line_type="return" if is_return else "sale",
        sku=sku,
        product_name=NAMES.get((sku or "").strip().upper(), "其他"),
        quantity=Decimal(-quantity if is_return else quantity),
        unit_price=unit_price,
        list_price=draw(list_prices(unit_price)),
        amount=amount,
        is_clearance=draw(st.sampled_from((None, None, False, True))),
    )


@st.composite
def with_refunds(draw: st.DrawFn, lines: list[Line], *, span_weeks: int) -> list[Line]:
    """The same lines with linked refunds on sale lines: none, all, a cent less, or a part.

    A refund comes without a time, or at its order's time or later; it never exceeds its line.
    """
    kind = draw(st.sampled_from(REFUND_KINDS))
    if kind == "none":
        return lines
    ordered_at = min(line.ordered_at for line in lines)
    later = st.one_of(
        st.none(),
        st.just(ordered_at),
        moments(span_weeks + 4).map(lambda moment: max(moment, ordered_at)),
    )
    together = draw(later)
    cent_open = kind == "cent_less"
    refunded = []
    for line in lines:
        if line.line_type != "sale":
            refunded.append(line)
            continue
        amount = line.amount
        if kind == "zero_with_time":
            amount = ZERO
        elif kind == "part":
            amount = draw(st.sampled_from((ZERO, min(CENT, line.amount), line.amount)))
        elif cent_open and line.amount > 0:
            amount -= CENT
            cent_open = False
        refunded_at = draw(later) if kind in ("full_split", "part") else together
        refunded.append(replace(line, refunded_amount=amount, refunded_at=refunded_at))
    return refunded


@st.composite
def shops(draw: st.DrawFn, *, max_orders: int = 16, min_orders: int = 0) -> list[Line]:
    """Shops of up to ``max_orders`` orders over 12 to 30 weeks, some of which stay empty.

    The lines come in no order of time, and (order_id, line_no) is unique among them.
    """
    span_weeks = draw(st.integers(12, 30))
    lines: list[Line] = []
    for number in range(1, draw(st.integers(min_orders, max_orders)) + 1):
        lines += draw(order_lines(f"o{number:03}", span_weeks=span_weeks))
    return lines[::-1] if draw(st.booleans()) else lines


@st.composite
def one_order_shops(draw: st.DrawFn) -> list[Line]:
    """Shops whose customers ordered once each, without any return, and so have alike figures."""
    span_weeks = draw(st.integers(12, 30))
    lines: list[Line] = []
    for customer_id in draw(st.lists(st.sampled_from(CUSTOMERS), min_size=1, unique=True)):
        order = draw(order_lines(f"o-{customer_id}", span_weeks=span_weeks, may_return=False))
        lines += [replace(line, customer_id=customer_id) for line in order]
    return lines


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    """Rules with short spans, so that a shop of a few weeks has dormant customers."""
    dormant_after_days = draw(st.sampled_from((7, 14, 28, 42, 90)))
    lapsing_after_days = draw(st.sampled_from((7, 14, 28, 60)))
    return Rules(
        first_week=FIRST_WEEK + draw(st.sampled_from((0, 0, 5, 16))) * ONE_WEEK,
        frequency_high=draw(st.sampled_from((2, 3, 3))),
        monetary_high=draw(st.sampled_from((None, None, Decimal("5.00"), Decimal("38.85"), Decimal(200)))),
        monetary_high_quantile=Decimal(draw(st.sampled_from(("0.75", "0.75", "0.5", "0.9")))),
        dormant_after_days=dormant_after_days,
        lapsing_after_days=min(lapsing_after_days, dormant_after_days),
        bestsellers_top=draw(st.sampled_from((1, 2, 20))),
        low_price_quantile=Decimal(draw(st.sampled_from(("0.25", "0.25", "0.5")))),
        product_window_days=draw(st.sampled_from((14, 28, 70, 365))),
        weekly_capacity=draw(st.sampled_from((1, 2, 200))),
    )


def shops_with_rules(*, max_orders: int = 16) -> st.SearchStrategy[Shop]:
    """Any of the shops above, together with rules to read it by."""
    lines = st.one_of(
        shops(max_orders=max_orders),
        shops(max_orders=max_orders, min_orders=max_orders // 2),
        one_order_shops(),
    )
    return st.builds(Shop, lines, rules())


@st.composite
def with_oddities(draw: st.DrawFn, lines: list[Line]) -> list[Line]:
    """The same lines with what only a broken export holds, for SQL that is read on its own.

    Refunds dated before their order, refunds above the line's amount, and linked refunds on
    return lines. Ingestion may well refuse such rows, so no shop above has them.
    """
    times = order_times(lines)
    odd = []
    for line in lines:
        oddity = draw(st.sampled_from((None, None, None, "early", "above")))
        if oddity == "early":
            early = times[line.order_id] - draw(st.sampled_from((timedelta(seconds=1), ONE_WEEK)))
            odd.append(replace(line, refunded_amount=line.amount, refunded_at=early))
        elif oddity == "above":
            odd.append(replace(line, refunded_amount=line.amount + CENT))
        else:
            odd.append(line)
    return odd


@st.composite
def any_shops(draw: st.DrawFn) -> Shop:
    """Random shops with any order, one in three with what only a broken export holds."""
    shop = draw(shops_with_rules().filter(lambda shop: bool(shop.lines)))
    return Shop(draw(with_oddities(shop.lines)), shop.rules) if draw(st.integers(0, 2)) == 0 else shop


def to_standard_csv(lines: Sequence[Line], path: Path) -> None:
    """Write lines as UTF-8 CSV under the canonical column names; nothing stands for null.

    Timestamps are ISO with a space, decimals have no exponent, booleans are true or false.
    """
    names = [field.name for field in fields(Line)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for line in lines:
            writer.writerow([csv_text(getattr(line, name)) for name in names])


def csv_text(value: object) -> str:
    """One value as the export holds it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return str(value)
