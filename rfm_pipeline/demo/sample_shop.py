"""A made-up home-goods shop, the same to the last byte for the same seed.

Belongs here: everything ``rfm sample`` lays out, that is order exports, opt-outs and contacts of
customers who don't exist, with the troubles of real exports: guests, late refunds, loose returns,
unpaid orders, hand-keyed rows that can't be read. Doesn't belong here: reading any of it back.

All draws are whole numbers from one generator and all arithmetic is on integers (money in cents,
time in seconds since the first day), so no machine rounds differently. Work on customers, orders
and lines is vectorised; only days, months and products are looped over.
"""

import gzip
import io
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from rfm_pipeline.home.layout import make_home, shop_file_text
from rfm_pipeline.ingest.presets import STANDARD
from rfm_pipeline.shop import Shop

SHOP_NAME = "木之序家居"
NOT_PRODUCTS = ("YF", "GIFT*")

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DAY = 86_400
NOBODY = -1  # the customer of a guest order, the live stream of an ordinary one

# SKU, name, list price in yuan, how often it is bought, and the half year it belongs to, if any.
CATALOGUE = """
BED101 60支长绒棉四件套      899  50
BED102 80支天丝四件套       1299  21
BED103 水洗棉四件套          499  28
BED104 桑蚕丝夏被           1599   9 夏
BED105 白鹅绒冬被           2699   8 冬
BED106 乳胶护颈枕            329  37
BED107 全棉防螨床笠          189  11
BED108 荞麦助眠枕            129  10
BED109 藤编凉席三件套        459  10 夏
BED110 羊羔绒盖毯            269  12 冬
THR201 针织流苏沙发毯        239  42
THR202 美利奴羊毛沙发毯      799  14
THR203 棉麻沙发垫三人位      369  16
THR204 雪尼尔防滑沙发巾      219  11
THR205 羊毛绒抱枕套           99   9
THR206 提花亚麻抱枕          159  17
THR207 麂皮绒腰靠            139   7
THR208 灯芯绒坐垫             89   8
SCE301 白茶香薰蜡烛          158  45
SCE302 雪松无火香薰          198  24
SCE303 桂花香薰蜡烛          158  12
SCE304 陶瓷香薰机            359  11
SCE305 柑橘衣柜香片           49  12
SCE306 檀木线香礼盒          268  10
SCE307 车载扩香石             79   9
SCE308 香薰精油补充装         69  12
TAB401 手绘青花餐具十六件    699  23
TAB402 骨瓷西餐盘两只        259  12
TAB403 釉下彩饭碗四只        128  32
TAB404 原木隔热垫             45  10
TAB405 不锈钢餐具礼盒        299  11
TAB406 水晶红酒杯两只        328   9
TAB407 日式汤面碗             59  11
TAB408 竹编餐垫四片           89   9
TAB409 珐琅铸铁锅           1099  12
TAB410 橡木砧板              169  16
LAM501 云朵阅读台灯          429  25
LAM502 胡桃木落地灯         1399   9
LAM503 藤编吊灯              669   8
LAM504 无线小夜灯             79  12
LAM505 月影床头灯            299  19
LAM506 北欧陶瓷台灯          559   9
LAM507 餐厅三头吊灯         1199   6
LAM508 感应衣柜灯条           69  10
STO601 棉麻收纳箱三件        149  27
STO602 胡桃木首饰盒          359   9
STO603 竹制桌面收纳架        119  11
STO604 真空压缩袋六只         59  10
STO605 藤编脏衣篮            199  15
STO606 亚克力化妆盒           99   9
STO607 实木衣帽架            599   7
STO608 抽屉分隔盒             39  12
STO609 布艺换季收纳袋         55   8
RUG701 新西兰羊毛地毯       2999   7
RUG702 黄麻手编地毯          899  12
RUG703 棉线可水洗地垫        149  19
RUG704 短绒客厅地毯         1199  10
RUG705 厨房防油地垫           99   9
RUG706 硅藻泥浴室垫           79  11
RUG707 圆形床边毯            299  10
TEA801 汝窑盖碗茶具          599  17
TEA802 宜兴紫砂壶           1699   6
TEA803 耐热玻璃茶壶          139  15
TEA804 竹制茶盘              289   9
TEA805 旅行快客杯             99  11
TEA806 锡制茶叶罐            459   6
TEA807 日式铸铁壶            699   6
TEA808 品茗杯六只            168   9
BAT901 埃及棉浴巾            169  32
BAT902 华夫格浴袍            399  12
BAT903 长绒棉毛巾三条         99  12
BAT904 实木浴室凳            359   6
BAT905 陶瓷卫浴五件          269   8
BAT906 珊瑚绒干发帽           45   9
BAT907 香氛洗手液两瓶         78  10
DEC111 手工吹制花瓶          239  16
DEC112 干花香氛花束          129  11
DEC113 黄铜烛台              189   9
DEC114 黑胡桃挂钟            469  10
DEC115 装饰画两联            399  10
DEC116 亚麻遮光窗帘          759  13
DEC117 木质相框三只          119   9
DEC118 陶瓷摆件              149   8
DEC119 日历台历礼盒           69   8 冬
OUT121 露营折叠椅            389   9 夏
OUT122 户外藤编茶几          999   5 夏
OUT123 遮阳伞                559   5 夏
OUT124 防水野餐垫            129   9 夏
OUT125 便携炭火炉            349   6 冬
YF     运费补差               15   0
GIFT-200 礼品卡200元         200   0
GIFT-500 礼品卡500元         500   0
"""

# Kinds of customers. Share of all; further orders per 1,000 days; days they stay, from and to.
STREAM = 5  # those who came with a live stream
KIND_SHARE = np.array([50, 120, 130, 250, 280, 170])  # loyal, regular, seasonal, occasional, …
KIND_RATE = np.array([33, 13, 3, 6, 0, 1])
KIND_STAYS_FROM = np.array([200, 120, 400, 60, 1, 200])
KIND_STAYS_TO = np.array([900, 500, 900, 240, 2, 500])

HOUR_WEIGHTS = np.array(
    [12, 5, 2, 1, 1, 2, 6, 16, 32, 52, 66, 60, 58, 54, 52, 50, 48, 46, 48, 62, 86, 98, 80, 40]
)
STREAM_HOUR_WEIGHTS = np.array([0] * 20 + [4, 5, 3, 0])
WEEKDAY_WEIGHTS = (92, 90, 94, 98, 106, 118, 112)
NEW_YEARS = (date(2024, 2, 10), date(2025, 1, 29), date(2026, 2, 17), date(2027, 2, 6))
CLEARANCE_FROM = {1: 9, 6: 23, 11: 22}  # month: first of five days
CLEARANCE_PICKS = 14
STREAM_PICKS = 3

LINES_WEIGHTS = np.array([60, 27, 10, 3])
QUANTITY_WEIGHTS = np.array([86, 10, 1, 2, 0, 1])
# what is paid of the list price, in percent, and how often
USUAL_PERCENT, USUAL_WEIGHTS = np.array([100, 95, 90, 85]), np.array([45, 20, 20, 15])
PEAK_PERCENT, PEAK_WEIGHTS = np.array([90, 85, 80, 75]), np.array([20, 30, 30, 20])
CLEARANCE_PERCENT, CLEARANCE_WEIGHTS = np.array([50, 45, 40, 35]), np.array([40, 25, 25, 10])
STREAM_PERCENT, STREAM_WEIGHTS = np.array([69, 59, 50, 45]), np.array([20, 25, 35, 20])

STATUSES = ("paid", "unpaid", "cancelled", "closed")
STATUS_WEIGHTS = np.array([955, 30, 10, 5])
REFUND_DELAYS = np.array([8, 12, 14, 12, 10, 9, 8, 6, 4, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1])

# Hand-keyed rows that no reader can make sense of: a column and its text.
BAD_CELLS = (
    ("order_id", None),
    ("unit_price", "面议"),
    ("quantity", "0"),
    ("ordered_at", "待补录"),
    ("quantity", "一套"),
    ("amount", "见备注"),
)
BAD_ROWS = 14

STAFF = ("chenyue", "linxi", "zhouning", "wangshu", "heqing", "suyan", "liangmo", "fangke")
OPTOUT_CHANNELS = np.array(["sms", "email", "wecom", "all"])
OPTOUT_SOURCES = np.array(["短信回复R", "邮件退订", "企微删除好友", "客服登记"])


@dataclass(frozen=True)
class _Products:
    """The catalogue, one entry a SKU; postage and gift cards stand at the end."""

    sku: pl.Series
    name: pl.Series
    list_yuan: Ints
    popularity: Ints
    season: tuple[str, ...]

    @property
    def real(self) -> Ints:
        """The products that are products."""
        return np.flatnonzero(self.popularity)

    @property
    def slow(self) -> Ints:
        """What clearance events and live streams have to offer, never bestsellers."""
        return np.flatnonzero((self.popularity > 0) & (self.popularity <= 12))

    def weights(self, out_of_season: str) -> Ints:
        """Popularity in one half of the year, when the other half's goods hardly sell."""
        factor = [1 if season == out_of_season else 6 for season in self.season]
        weights: Ints = self.popularity * np.array(factor)
        return weights


@dataclass(frozen=True)
class _Calendar:
    """What each day of the sample is like; arrays have one entry a day."""

    first_day: date
    weights: Ints
    month: Ints
    months: tuple[str, ...]
    is_peak: Bools
    is_clearance: Bools
    is_summer: Bools

    @property
    def days(self) -> int:
        return len(self.weights)

    @property
    def last_day(self) -> date:
        return self.first_day + timedelta(days=self.days - 1)


@dataclass(frozen=True)
class _Members:
    """Customers in the order of their first order; ``stream`` is the live stream it was made in."""

    first_day: Ints
    stream: Ints
    extra_orders: Ints
    last_day: Ints


@dataclass(frozen=True)
class _Orders:
    """Orders in the order of their time; ``moment`` is seconds since the first day 00:00."""

    moment: Ints
    customer: Ints
    stream: Ints
    status: Ints

    @property
    def day(self) -> Ints:
        return self.moment // DAY

    @property
    def is_paid(self) -> Bools:
        paid: Bools = self.status == STATUSES.index("paid")
        return paid


def make_sample(
    home: Path,
    *,
    customers: int = 6000,
    weeks: int = 78,
    seed: int = 7,
    last_week: date = date(2026, 6, 29),
) -> Shop:
    """Lays out the home of a made-up shop: settings, order exports, opt-outs and contacts.

    The first third of the weeks is history before the shop's weekly grid. Time and memory grow
    linearly with the customers.

    Args:
        home: The folder to make; it must not hold a ``shop.yaml`` yet.
        customers: How many customers order at least once, guests aside.
        weeks: How many weeks of orders, the last of them ``last_week``.
        seed: The same seed makes the same files. (The one ``.csv.gz`` holds the same text; its
            compressed bytes are those of the zlib that Python was built with.)
        last_week: The Monday of the last week; orders end on its Sunday.

    Raises:
        ShopFileError: If the home already has a ``shop.yaml``.
        ValueError: If ``customers`` or ``weeks`` is less than 1 or ``last_week`` is no Monday.
    """
    if customers < 1 or weeks < 1:
        raise ValueError("A sample needs at least one customer and one week.")
    if last_week.weekday() != 0:
        raise ValueError(f"{last_week} is a {last_week:%A}; a week is named by its Monday.")
    first_day = last_week - timedelta(weeks=weeks - 1)
    settings = shop_file_text(
        name=SHOP_NAME,
        timezone="Asia/Shanghai",
        currency="CNY",
        preset="standard",
        first_week=first_day + timedelta(weeks=weeks // 3),
        last_week=last_week,
        not_products=NOT_PRODUCTS,
    )
    shop = make_home(home, settings)

    rng = np.random.default_rng(seed)
    calendar = _calendar(first_day, weeks * 7)
    products = _products()
    streams = _stream_days(rng, calendar.days)
    members = _members(rng, calendar, streams, customers)
    orders = _orders(rng, calendar, members)
    lines = _lines(rng, calendar, products, orders, len(streams))
    _write_exports(shop.orders_dir, _exports(lines, calendar), products, calendar)
    _write_optouts(rng, shop.suppression_dir / "optouts.csv", members, calendar)
    _write_contacts(rng, shop.contacts_dir / "contacts.csv", customers)
    return shop


def _pick(rng: Generator, weights: Ints, size: int) -> Ints:
    """Draws indices in proportion to whole-number weights."""
    draws = rng.integers(0, int(weights.sum()), size)
    return np.searchsorted(np.cumsum(weights), draws, side="right")


def _chance(rng: Generator, per_mille: int, size: int) -> Bools:
    """True so many times in a thousand."""
    return rng.integers(0, 1000, size) < per_mille


def _time_of_day(rng: Generator, hour_weights: Ints, size: int) -> Ints:
    """Seconds since midnight at hours at which people shop."""
    return _pick(rng, hour_weights, size) * 3600 + rng.integers(0, 3600, size)


# The shop and its days


def _products() -> _Products:
    """Reads the catalogue."""
    rows = [line.split() for line in CATALOGUE.strip().splitlines()]
    return _Products(
        sku=pl.Series([row[0] for row in rows]),
        name=pl.Series([row[1] for row in rows]),
        list_yuan=np.array([int(row[2]) for row in rows]),
        popularity=np.array([int(row[3]) for row in rows]),
        season=tuple(row[4] if len(row) > 4 else "" for row in rows),
    )


def _calendar(first_day: date, days: int) -> _Calendar:
    """Lays out the days with their weekdays, sales and holidays."""
    dates = [first_day + timedelta(days=offset) for offset in range(days)]
    labels = [f"{day:%Y-%m}" for day in dates]
    months = tuple(sorted(set(labels)))
    return _Calendar(
        first_day=first_day,
        weights=np.array([_day_weight(day) for day in dates]),
        month=np.array([months.index(label) for label in labels]),
        months=months,
        is_peak=np.array([_peak_percent(day) > 100 for day in dates]),
        is_clearance=np.array([_is_clearance(day) for day in dates]),
        is_summer=np.array([4 <= day.month <= 9 for day in dates]),
    )


def _day_weight(day: date) -> int:
    """How busy a day is: a usual one is about 10,000."""
    weight = WEEKDAY_WEIGHTS[day.weekday()] * _peak_percent(day)
    if _is_clearance(day):
        weight = weight * 14 // 10
    if any(-3 <= (day - new_year).days <= 5 for new_year in NEW_YEARS):
        weight = weight * 4 // 10
    return weight


def _peak_percent(day: date) -> int:
    """The pull of 618 and 双11, in percent of a usual day."""
    if (day.month, day.day) in {(6, 18), (11, 11)}:
        return 300
    if (day.month, day.day) in {(6, 1), (6, 17), (11, 1), (11, 10)}:
        return 170
    if (day.month == 6 and day.day <= 20) or (day.month == 11 and day.day <= 11):
        return 125
    return 100


def _is_clearance(day: date) -> bool:
    """Whether a clearance event is on."""
    first = CLEARANCE_FROM.get(day.month)
    return first is not None and first <= day.day < first + 5


def _stream_days(rng: Generator, days: int) -> Ints:
    """The days with a live stream, about two a month."""
    starts = np.arange(2, days, 15)
    drawn: Ints = np.minimum(starts + rng.integers(0, 6, len(starts)), days - 1)
    return drawn


# Customers and orders


def _members(rng: Generator, calendar: _Calendar, streams: Ints, customers: int) -> _Members:
    """Draws who comes when, how long they stay and how often they come back."""
    kind = _pick(rng, KIND_SHARE, customers)
    visit = rng.integers(0, len(streams), customers)
    first_day = np.where(kind == STREAM, streams[visit], _pick(rng, calendar.weights, customers))
    stays = rng.integers(KIND_STAYS_FROM[kind], KIND_STAYS_TO[kind] + 1)
    last_day = np.minimum(first_day + stays, calendar.days - 1)
    # everyone has a pace of their own, half to one and a half times their kind's
    pace = KIND_RATE[kind] * rng.integers(500, 1500, customers)
    expected_millionths = (last_day - first_day) * pace
    extra_orders = (expected_millionths + rng.integers(0, 1_000_000, customers)) // 1_000_000
    extra_orders[last_day - first_day < 3] = 0
    by_age = np.argsort(first_day, kind="stable")
    return _Members(
        first_day=first_day[by_age],
        stream=np.where(kind == STREAM, visit, NOBODY)[by_age],
        extra_orders=extra_orders[by_age],
        last_day=last_day[by_age],
    )


def _orders(rng: Generator, calendar: _Calendar, members: _Members) -> _Orders:
    """Places every order in time: first ones, further ones, and those of guests."""
    customers = len(members.first_day)
    returning = np.repeat(np.arange(customers), members.extra_orders)
    customer = np.concatenate([np.arange(customers), returning])
    day = np.concatenate([members.first_day, _later_days(rng, calendar, members, returning)])
    stream = np.concatenate([members.stream, np.full(len(returning), NOBODY)])
    status = _pick(rng, STATUS_WEIGHTS, len(day))

    guest_days = _guest_days(rng, calendar, day[status == 0], len(day) // 24)
    no_one = np.full(len(guest_days), NOBODY)
    customer = np.concatenate([customer, no_one])
    day = np.concatenate([day, guest_days])
    stream = np.concatenate([stream, no_one])
    status = np.concatenate([status, np.zeros(len(guest_days), dtype=np.int64)])

    seconds = np.where(
        stream == NOBODY,
        _time_of_day(rng, HOUR_WEIGHTS, len(day)),
        _time_of_day(rng, STREAM_HOUR_WEIGHTS, len(day)),
    )
    moment = day * DAY + seconds
    in_time = np.argsort(moment, kind="stable")
    return _Orders(moment[in_time], customer[in_time], stream[in_time], status[in_time])


def _later_days(rng: Generator, calendar: _Calendar, members: _Members, returning: Ints) -> Ints:
    """A day for each further order, three days after the first or later; busy days are likelier."""
    until = np.concatenate([[0], np.cumsum(calendar.weights)])
    low = until[members.first_day[returning] + 3]
    high = until[members.last_day[returning] + 1]
    return np.searchsorted(until, rng.integers(low, high), side="right") - 1


def _guest_days(rng: Generator, calendar: _Calendar, paid_days: Ints, guests: int) -> Ints:
    """Days of guest orders; a day on which nobody else paid gets one, so that none stays empty."""
    empty = np.flatnonzero(np.bincount(paid_days, minlength=calendar.days) == 0)
    return np.concatenate([_pick(rng, calendar.weights, guests), empty])


# Lines


def _lines(
    rng: Generator, calendar: _Calendar, products: _Products, orders: _Orders, streams: int
) -> pl.DataFrame:
    """All lines of the shop, sales and returns, as numbers.

    Returns:
        Columns moment, order, line_no, customer, is_return, product, quantity, price, list_price,
        amount, refunded, refunded_moment (all integers; money in cents) and is_clearance, status.
    """
    order, product, percent, cleared = _baskets(rng, calendar, products, orders, streams)
    size = len(order)
    is_product = products.popularity[product] > 0
    list_yuan = products.list_yuan[product]
    several = is_product & (list_yuan < 300)
    quantity = np.where(several, _pick(rng, QUANTITY_WEIGHTS, size) + 1, 1)
    price = list_yuan * percent
    # a clearance sale is flagged, or shows by its list price only; the latter must not be lost
    flagged = cleared & _chance(rng, 600, size)
    has_list = is_product & (cleared | ~_chance(rng, 50, size))
    has_flag = is_product & (flagged | ~_chance(rng, 250, size))
    sales = pl.DataFrame(
        {
            "moment": orders.moment[order],
            "order": order,
            "line_no": np.arange(size) - np.searchsorted(order, order) + 1,
            "customer": orders.customer[order],
            "product": product,
            "quantity": quantity,
            "price": price,
            "list_price": pl.Series(list_yuan * 100).set(pl.Series(~has_list), None),
            "amount": quantity * price,
            "is_clearance": pl.Series(flagged).set(pl.Series(~has_flag), None),
            "status": orders.status[order],
        }
    ).with_columns(is_return=pl.lit(False))
    sales = _with_refunds(rng, sales, orders, calendar)
    return pl.concat([sales, _returns(rng, sales, calendar)])


def _baskets(
    rng: Generator, calendar: _Calendar, products: _Products, orders: _Orders, streams: int
) -> tuple[Ints, Ints, Ints, Bools]:
    """What is in each order.

    Returns:
        One entry a line, by order: order, product, percent of the list price paid, and whether it
        is a clearance sale.
    """
    from_stream = orders.stream != NOBODY
    count = 1 + np.where(
        from_stream,
        _chance(rng, 300, len(from_stream)),
        _pick(rng, LINES_WEIGHTS, len(from_stream)),
    )
    order = np.repeat(np.arange(len(count)), count)
    size = len(order)
    day = orders.day[order]
    product = np.where(
        calendar.is_summer[day],
        _pick(rng, products.weights("冬"), size),
        _pick(rng, products.weights("夏"), size),
    )
    percent = np.where(
        calendar.is_peak[day],
        PEAK_PERCENT[_pick(rng, PEAK_WEIGHTS, size)],
        USUAL_PERCENT[_pick(rng, USUAL_WEIGHTS, size)],
    )

    promoted = from_stream[order] & _chance(rng, 880, size)
    offers = _selections(rng, products.slow, streams, STREAM_PICKS)
    offer = offers[orders.stream[order], rng.integers(0, STREAM_PICKS, size)]
    product = np.where(promoted, offer, product)
    percent = np.where(promoted, STREAM_PERCENT[_pick(rng, STREAM_WEIGHTS, size)], percent)

    event = _chance(rng, 600, size) & calendar.is_clearance[day]
    cleared = ~promoted & (event | _chance(rng, 20, size))
    offers = _selections(rng, products.slow, len(calendar.months), CLEARANCE_PICKS)
    offer = offers[calendar.month[day], rng.integers(0, CLEARANCE_PICKS, size)]
    product = np.where(cleared, offer, product)
    percent = np.where(cleared, CLEARANCE_PERCENT[_pick(rng, CLEARANCE_WEIGHTS, size)], percent)
    return _with_extras(rng, products, len(count), (order, product, percent, cleared))


def _selections(rng: Generator, choice: Ints, rows: int, picks: int) -> Ints:
    """So many different products for each event, an array (rows, picks)."""
    return rng.permuted(np.tile(choice, (rows, 1)), axis=1)[:, :picks]


def _with_extras(
    rng: Generator,
    products: _Products,
    orders: int,
    baskets: tuple[Ints, Ints, Ints, Bools],
) -> tuple[Ints, Ints, Ints, Bools]:
    """Adds what is no product: a postage line to some orders, gift cards to a few."""
    order, product, percent, cleared = baskets
    postage = np.flatnonzero(_chance(rng, 30, orders))
    gift = np.flatnonzero(_chance(rng, 7, orders))
    first = len(products.real)
    extra = np.concatenate([np.full(len(postage), first), first + 1 + rng.integers(0, 2, len(gift))])
    order = np.concatenate([order, postage, gift])
    by_order = np.argsort(order, kind="stable")
    return (
        order[by_order],
        np.concatenate([product, extra])[by_order],
        np.concatenate([percent, np.full(len(extra), 100)])[by_order],
        np.concatenate([cleared, np.zeros(len(extra), dtype=np.bool_)])[by_order],
    )


def _with_refunds(rng: Generator, sales: pl.DataFrame, orders: _Orders, calendar: _Calendar) -> pl.DataFrame:
    """Adds linked refunds: what is refunded of one order is refunded at one moment."""
    size = sales.height
    order = sales["order"].to_numpy()
    number = len(orders.moment)
    delay = 1 + _pick(rng, REFUND_DELAYS, number)
    refund_day = orders.day + delay
    moment = refund_day * DAY + _time_of_day(rng, HOUR_WEIGHTS, number)
    known = orders.is_paid & (refund_day < calendar.days)
    refunded = known[order] & _chance(rng, 40, size)
    share = np.where(_chance(rng, 620, size), 100, rng.integers(2, 9, size) * 10)
    timed = ~_chance(rng, 40, number)
    return sales.with_columns(
        refunded=pl.when(pl.Series(refunded)).then(pl.col("amount") * pl.Series(share) // 100),
        refunded_moment=pl.when(pl.Series(refunded & timed[order])).then(pl.Series(moment[order])),
    )


def _returns(rng: Generator, sales: pl.DataFrame, calendar: _Calendar) -> pl.DataFrame:
    """Returns that name no order: credit notes of their own, days after the sale."""
    chosen = sales.filter(
        pl.Series(_chance(rng, 11, sales.height))
        & (pl.col("status") == STATUSES.index("paid"))
        & pl.col("refunded").is_null()
        & pl.col("list_price").is_not_null()
    )
    size = chosen.height
    day = (chosen["moment"] // DAY).to_numpy() + 2 + _pick(rng, REFUND_DELAYS, size)
    moment = day * DAY + _time_of_day(rng, HOUR_WEIGHTS, size)
    return chosen.with_columns(
        moment=pl.Series(moment),
        order=pl.int_range(1, size + 1),
        line_no=pl.lit(1, pl.Int64),
        quantity=-pl.col("quantity"),
        is_clearance=pl.lit(None, pl.Boolean),
        is_return=pl.lit(True),
    ).filter(pl.col("moment") < calendar.days * DAY)


# Files


def _exports(lines: pl.DataFrame, calendar: _Calendar) -> pl.DataFrame:
    """Adds the month in whose export a line stands.

    An order whose refund came in a later month stands twice: in its own month without the refund,
    and as a whole in the refund's month with it.
    """
    months = pl.Series(calendar.month)
    lines = lines.with_columns(
        export=months.gather(lines["moment"] // DAY),
        refund_export=months.gather(lines["refunded_moment"] // DAY),
    ).with_columns(
        order_export=pl.max_horizontal("export", pl.col("refund_export").max().over("order", "is_return"))
    )
    is_late = pl.col("order_export") > pl.col("export")
    nothing = pl.lit(None, pl.Int64)
    first = lines.with_columns(
        refunded=pl.when(is_late).then(nothing).otherwise("refunded"),
        refunded_moment=pl.when(is_late).then(nothing).otherwise("refunded_moment"),
    )
    again = lines.filter(is_late).with_columns(export=pl.col("order_export"))
    return (
        pl.concat([first, again])
        .drop("refund_export", "order_export")
        .sort("export", "moment", "is_return", "order", "line_no", maintain_order=True)
    )


def _write_exports(folder: Path, exports: pl.DataFrame, products: _Products, calendar: _Calendar) -> None:
    """Writes one file a month: the first compressed, the second with a byte order mark."""
    for number, month in enumerate(calendar.months):
        numbers = exports.filter(pl.col("export") == number)
        text = _rendered(numbers, products, calendar)
        text = pl.concat([text, *_bad_rows(text, number, len(calendar.months))])
        path = folder / f"orders_{month}.csv"
        if number == 0:
            _write_gzip(path.with_suffix(".csv.gz"), text)
        else:
            text.write_csv(path, include_bom=number == 1)


def _write_gzip(path: Path, text: pl.DataFrame) -> None:
    """Writes a CSV.GZ that carries neither name nor time, so that it is the same every time."""
    content = io.BytesIO()
    text.write_csv(content)
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed,
    ):
        packed.write(content.getvalue())


def _rendered(numbers: pl.DataFrame, products: _Products, calendar: _Calendar) -> pl.DataFrame:
    """The lines as a shop system exports them: text throughout, empty for null."""
    start = datetime.combine(calendar.first_day, time.min)
    is_return = pl.col("is_return")
    ordered_at = pl.lit(start) + pl.duration(seconds="moment")
    return numbers.select(
        order_id=pl.format(
            "{}{}{}",
            pl.when(is_return).then(pl.lit("TH")).otherwise(pl.lit("")),
            ordered_at.dt.strftime("%Y%m%d"),
            _digits("order", 7),
        ),
        line_no=pl.col("line_no").cast(pl.String),
        customer_id=pl.when(pl.col("customer") != NOBODY).then(_customer_id("customer")),
        ordered_at=ordered_at.dt.strftime("%Y-%m-%d %H:%M:%S"),
        line_type=pl.when(is_return).then(pl.lit("return")).otherwise(pl.lit("sale")),
        sku=products.sku.gather(numbers["product"]),
        product_name=products.name.gather(numbers["product"]),
        quantity=pl.col("quantity").cast(pl.String),
        unit_price=_money("price"),
        list_price=_money("list_price"),
        amount=_money("amount"),
        refunded_amount=_money("refunded"),
        refunded_at=(pl.lit(start) + pl.duration(seconds="refunded_moment")).dt.strftime("%Y-%m-%d %H:%M:%S"),
        is_clearance=pl.col("is_clearance").cast(pl.String),
        order_status=pl.Series(STATUSES).gather(numbers["status"]),
    ).select(STANDARD)


def _digits(column: str, width: int) -> pl.Expr:
    """A number with leading zeros."""
    return pl.col(column).cast(pl.String).str.zfill(width)


def _customer_id(column: str) -> pl.Expr:
    """Customers are numbered from 1 in the order of their first order."""
    return pl.format("M{}", (pl.col(column) + 1).cast(pl.String).str.zfill(6))


def _money(column: str) -> pl.Expr:
    """Cents as yuan with two decimals, without ever being a float."""
    cents = pl.col(column)
    return pl.format("{}.{}", cents // 100, (cents % 100).cast(pl.String).str.zfill(2))


def _bad_rows(text: pl.DataFrame, month: int, months: int) -> list[pl.DataFrame]:
    """The hand-keyed rows of a month, each with one cell that can't be read."""
    rows = []
    for number in range(month, BAD_ROWS, months):
        column, content = BAD_CELLS[number % len(BAD_CELLS)]
        row = text.filter(pl.col("line_type") == "sale", pl.col("line_no") == "1").slice(number, 1)
        rows.append(
            row.with_columns(
                pl.lit(f"SG{number + 1:04d}").alias("order_id"),
                pl.lit("paid").alias("order_status"),
                pl.lit(None, pl.String).alias("refunded_amount"),
                pl.lit(None, pl.String).alias("refunded_at"),
            ).with_columns(pl.lit(content, pl.String).alias(column))
        )
    return rows


def _write_optouts(rng: Generator, path: Path, members: _Members, calendar: _Calendar) -> None:
    """Writes who asked not to be contacted, on which channel and since when."""
    customer = np.flatnonzero(_chance(rng, 25, len(members.first_day)))
    first_day = members.first_day[customer]
    since = rng.integers(first_day, calendar.days)
    channel = _pick(rng, np.array([5, 2, 2, 1]), len(customer))
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"customer": customer, "since": since}).select(
        customer_id=_customer_id("customer"),
        channel=pl.Series(OPTOUT_CHANNELS[channel].tolist(), dtype=pl.String),
        since=pl.lit(calendar.first_day) + pl.duration(days="since"),
        source=pl.Series(OPTOUT_SOURCES[channel].tolist(), dtype=pl.String),
    ).write_csv(path)


def _write_contacts(rng: Generator, path: Path, customers: int) -> None:
    """Writes how customers can be reached: fictitious numbers, example.com, some not at all."""
    known = np.flatnonzero(~_chance(rng, 20, customers))
    size = len(known)
    reachable = {
        "sms": _chance(rng, 860, size),
        "email": _chance(rng, 430, size),
        "wecom": _chance(rng, 560, size),
    }
    consents = {channel: _chance(rng, 880, size) for channel in reachable}
    staff = rng.integers(0, len(STAFF), size)
    by_sms, by_email, by_wecom = (pl.Series(has) for has in reachable.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"customer": known}).select(
        customer_id=_customer_id("customer"),
        phone=pl.when(by_sms).then(pl.format("1990{}", _digits("customer", 7))),
        email=pl.when(by_email).then(
            pl.format("{}@example.com", _customer_id("customer").str.to_lowercase())
        ),
        wecom_userid=pl.when(by_wecom).then(pl.Series(STAFF).gather(staff)),
        wecom_external_userid=pl.when(by_wecom).then(pl.format("wmDEMO{}", _digits("customer", 8))),
        **{
            f"consent_{channel}": pl.when(pl.Series(has)).then(pl.Series(consents[channel]))
            for channel, has in reachable.items()
        },
    ).write_csv(path)
