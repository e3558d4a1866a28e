"""One order export as typed rows, streaming: every row ends up accepted, unpaid or rejected with a reason.

Belongs here: what the columns of a row mean together. Opening files is ``ingest.texts``', typing single
values ``ingest.cells``', and the warehouse ``ingest.loading``'s.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import duckdb
import polars as pl

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.files import cells, packed
from rfm_pipeline.ingest.files.archives import DEFAULT_LIMITS, Limits
from rfm_pipeline.ingest.files.days import DaySigns
from rfm_pipeline.ingest.files.texts import (
    A_TOTAL,
    PROBLEM,
    ROW_TEXT,
    TOTALS,
    Layout,
    peek,
    planned_sheets,
    text_rows,
)
from rfm_pipeline.ingest.presets import (
    CANONICAL,
    FROM_PLATFORMS,
    Preset,
    best_fit,
    best_preset,
    not_product_pattern,
)
from rfm_pipeline.ingest.presets.columns import require_names
from rfm_pipeline.warehouse.columns import MONEY, QUANTITY, TIME

ACCEPTED, UNPAID, REJECTED = "accepted", "unpaid", "rejected"
LINE, ORDER = "line", "order"
KEY_MASKED, KEY_DAMAGED = "masked", "damaged"
EXTRA_COLUMNS = (
    "row_kind",
    "is_reckoned",
    "is_no_sale",
    "order_amount",
    "order_refunded",
    "kinds",
    "phone",
    "email",
    "name",
    "accepts_marketing",
)
"""What a row tells beside the canonical columns: of its order as a whole, and of who bought."""

EVENT_TIMES = ("cancelled_at", "updated_at", "paid_at")
"""Times of a row that no order line has; they tell how new its file is."""

ROW_FACTS = ("currency", "is_other_currency", "was_net", "is_unpaid_delivered", "payment_method")
"""What is counted of the rows, and is in no order line."""

_BEGINS_LIKE_A_DAY = r"^\d{4}[-/年]|^\d{1,2}[/.-]\d{1,2}[/.-]"
_BOOLEANS = {True: ["true", "1", "yes"], False: ["false", "0", "no"]}
_NOT_PAID = ["否", "无", "no", "false", "0", "0.0", "0.00", "未付款", "待付款"]
_MOBILE = r"^(?:\+?86|0086)?[- ]?(1[3-9]\d)[- ]?(\d{4})[- ]?(\d{4})$"
_MONEY_COLUMNS = (
    "unit_price",
    "list_price",
    "amount",
    "refunded_amount",
    "line_discount",
    "line_price",
    "line_postage",
)
_NO_AMOUNT = "neither an amount nor a price is given"
_ORDER_MONEY = ("order_amount", "order_refunded")
_ORDER_FACTS = ("gross_amount", "order_total", "order_tax", "order_postage", "outstanding")
_CENT = pl.lit("0.005").cast(MONEY)
AUTO = "auto"
"""The currency that most rows of the first frame name is the shop's."""
_CURRENCIES = {"RMB": "CNY", "CNH": "CNY", "人民币": "CNY", "元": "CNY", "￥": "CNY", "¥": "CNY"}
OTHER_CURRENCY = "currency is not the shop's"
_TIME_COLUMNS = ("ordered_at", "refunded_at", "cancelled_at", "updated_at", "paid_mark")
_WORDS = (
    "line_type",
    "is_clearance",
    "order_status",
    "line_status",
    "refund_flag",
    "accepts_marketing",
    "paid_mark",
)
_IDS = ("order_id", "customer_id", "sku")


@dataclass(frozen=True)
class Rules:
    """What the shop's settings say of reading.

    Attributes:
        currency: The currency of the shop's orders; ``AUTO`` for that of the file's first rows; None if any
            goes.
        date_order: What 1/5/2024 means: ``month_first``, ``day_first``, ``iso`` (nothing), or ``told``: what
            the whole file shows.
        paid_on_delivery: Payment methods whose orders are paid once they are delivered; ``*`` as in presets.
    """

    currency: str | None = None
    date_order: str = "told"
    paid_on_delivery: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """An order export whose header fits a preset.

    Attributes:
        path: The file.
        preset: How it is read.
        layout: How it is cut into fields.
        mapping: Canonical column to the name in the header.
        further: The other sheets of a workbook that are read, too.
    """

    path: Path
    preset: Preset
    layout: Layout
    mapping: dict[str, str]
    further: tuple["Source", ...] = ()

    @property
    def header(self) -> tuple[str, ...]:
        """The file's column names as they are in it."""
        return self.layout.header

    @property
    def parts(self) -> "tuple[Source, ...]":
        """The source itself, and the other sheets."""
        return (self, *self.further)


def open_source(
    path: Path,
    presets: Preset | Sequence[Preset],
    encoding: str | None = None,
    delimiter: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Source:
    """Checks a file's header against the presets, before any row is read.

    Args:
        path: The file.
        presets: The shop's preset, and those that other files of the same platform may have; of those whose
            needed columns are all there, the one that knows most of the header is taken.
        encoding: What the shop says it is; None to find out.
        delimiter: The same.
        limits: How large the file may be once it is unpacked.

    Returns:
        The source. Of a workbook every sheet that fits is read, in the order of the presets.

    Raises:
        OrderFileError: If the file can't be opened, is empty, has no header, lacks a needed column, or is too
            large.
    """
    family = [presets] if isinstance(presets, Preset) else list(presets)
    sheets = planned_sheets(path, family, limits)
    if sheets:
        parts = [
            Source(path, preset, layout, preset.map_header(path, layout.header)) for preset, layout in sheets
        ]
        return replace(parts[0], further=tuple(parts[1:]))
    encodings = tuple(dict.fromkeys(name for preset in family for name in preset.encodings))
    layout = peek(path, partial(best_fit, family), encoding, delimiter, encodings, limits)
    preset = best_preset(family, layout.header)
    if preset is None:
        require_names(path, layout.header)
        # it says what the header lacks
        preset = family[0]
    return Source(path, preset, layout, preset.map_header(path, layout.header))


def read_rows(source: Source, zone: str, folder: Path, rules: Rules | None = None) -> Iterator[pl.DataFrame]:
    """The rows of an export, typed and judged, in the file's order, in frames of bounded size.

    Args:
        source: The file.
        zone: The shop's IANA time zone.
        folder: For an unpacked or rewritten copy; made if it isn't there, emptied by the caller.
        rules: What the settings say.

    Yields:
        Frames with ``row_no`` (1 is the first row below the header; several sheets are
        numbered through; the lines that an accepted row packs share it), the canonical columns, those of
        ``EXTRA_COLUMNS``, ``disposition`` (accepted, unpaid or rejected), ``reason`` and ``row_text``
        (rejected rows only), ``key_state`` (masked or damaged, where the customer's key was),
        ``key_is_fallback``, the times of ``EVENT_TIMES`` and the facts of ``ROW_FACTS``.

    Raises:
        OrderFileError: If the file as a whole can't be read, or doesn't show what 1/5/2024 means.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rules = rules or Rules()
    if not source.further:
        yield from _read_part(source, zone, folder, rules, 0)
        return
    before = 0
    seen: dict[str, pl.DataFrame] = {}
    for part in source.parts:
        orders = []
        for rows in _read_part(part, zone, folder, rules, before):
            # the numbers ascend
            before = next(iter(rows["row_no"].tail(1)), before)
            orders.append(rows.select("order_id").unique())
            yield _with_sheet(rows, part)
        _require_other_orders(part, orders, seen)


def _with_sheet(rows: pl.DataFrame, part: Source) -> pl.DataFrame:
    """Names the sheet in the reasons of rejected rows: their numbers go on from sheet to sheet."""
    return rows.with_columns(pl.col("reason") + f" (sheet {part.layout.sheet})")


def _require_other_orders(part: Source, orders: list[pl.DataFrame], seen: dict[str, pl.DataFrame]) -> None:
    """Refuses two sheets of one kind with the same orders: nothing says which of them counts."""
    if not orders:
        return
    here = pl.concat(orders).drop_nulls().unique()
    kind = part.preset.row
    if kind in seen:
        twice = here.join(seen[kind], on="order_id", how="semi").height
        if twice:
            raise OrderFileError(
                f"{part.path}: {twice:,} orders of the sheet {part.layout.sheet!r} are in an earlier "
                "sheet, too; nothing of the file was loaded. Keep each order in one sheet, or save the "
                "sheets as files of their own."
            )
        here = pl.concat([seen[kind], here])
    seen[kind] = here


def _read_part(source: Source, zone: str, folder: Path, rules: Rules, before: int) -> Iterator[pl.DataFrame]:
    """The rows of a file, or of a sheet; those before it are counted already."""
    if rules.date_order == "told" and source.preset.date_order != "told":
        rules = replace(rules, date_order=source.preset.date_order)
    rows = text_rows(source.path, source.layout, zone, folder, source.preset.fit)
    begun = list(islice(rows.batches, 1))
    reader = _Reader(source, rows.layout, rows.dirt, zone, rules, before)
    if rules.date_order == "told" and begun and reader.signs_of(begun).slashed:
        # one day above 12 anywhere tells: such a file is read twice
        signs = reader.signs_of(chain(begun, rows.batches))
        reader.date_order = _order_shown(source, signs)
        rows, begun = text_rows(source.path, source.layout, zone, folder, source.preset.fit), []
    for batch in chain(begun, rows.batches):
        yield reader.read(batch)


def _order_shown(source: Source, signs: DaySigns) -> str:
    if signs.order is None:
        raise OrderFileError(
            f"{source.path}: days such as 1/5/2024 may begin with the month or the day, and no value of the "
            "file shows which. Write orders.date_order: month_first or day_first into shop.yaml; run again."
        )
    return signs.order


class _Reader:
    """Reads the frames of one file; knows how many rows came before, and the order they ended in."""

    def __init__(
        self, source: Source, layout: Layout, dirt: cells.Dirt, zone: str, rules: Rules, before: int = 0
    ) -> None:
        self._rules = rules
        self._currency = rules.currency
        self.date_order = "clear" if rules.date_order == "told" else rules.date_order
        self._preset = source.preset
        self._dirt = dirt
        self._zone = zone
        header = layout.header
        mapping = source.preset.map_header(source.path, header)
        position = {column: header.index(name) for column, name in mapping.items()}
        fallbacks = source.preset.fallbacks_in(header)
        self._positions: dict[str, list[int]] = {
            column: [*([position[column]] if column in position else []), *fallbacks.get(column, [])]
            for column in (*CANONICAL, *FROM_PLATFORMS)
        }
        self._has = {column: bool(positions) for column, positions in self._positions.items()}
        self._fields = [f"{i}" for i in range(len(header))]
        self._numeric = layout.numeric
        self._is_workbook = layout.sheet is not None
        self._read = self._lines = before
        self._before: pl.DataFrame | None = None
        self._packing = packed.Packing(source.preset, header, self._positions)

    def read(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Types and judges a frame of texts."""
        first, self._read = self._read + 1, self._read + batch.height
        numbered = batch.with_columns(pl.int_range(first, self._read + 1, dtype=pl.Int64).alias("row_no"))
        frame = self._filled(numbered) if self._preset.fill_from_order else numbered
        frame = self._packing.unpacked(frame)
        frame = self._texts(frame)
        frame = self._typed(frame)
        frame = packed.with_pieces(frame) if packed.is_cut(frame) else frame
        frame = self._one_currency(frame)
        frame = frame.with_columns(self._status())
        frame = frame.with_columns(self._payment())
        frame = frame.with_columns(self._amounts())
        frame = packed.with_amounts(frame) if packed.is_cut(frame) else frame
        given_back = frame["refunded_amount"]
        frame = frame.with_columns(self._refunds())
        frame = packed.with_refunds(frame, given_back) if packed.is_cut(frame) else frame
        if not self._has["order_id"]:
            frame = frame.with_columns(_made_order_ids(frame))
        return self._judged(frame, batch)

    def signs_of(self, batches: Iterable[pl.DataFrame]) -> DaySigns:
        """What the time columns of some frames of texts show of the order of day and month."""
        signs = DaySigns()
        positions = sorted({f"{i}" for name in _TIME_COLUMNS for i in self._positions[name]})
        for batch in batches:
            signs.look(batch[name] for name in positions)
        return signs

    def _one_currency(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Marks the rows in another currency than the shop's."""
        given = cells.half_width(pl.col("_currency")).str.to_uppercase().str.strip_chars()
        frame = frame.with_columns(given.replace(_CURRENCIES).alias("currency"))
        if self._currency == AUTO:
            named = frame["currency"].drop_nulls()
            self._currency = str(named.mode().sort()[0]) if len(named) else AUTO
        is_judged = self._currency not in (None, AUTO)
        other = pl.col("currency") != pl.lit(self._currency) if is_judged else pl.lit(False)
        return frame.with_columns(other.fill_null(False).alias("is_other_currency"))

    def _filled(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Hands the fields that stand on an order's first row down to its further rows."""
        order = f"{self._positions['order_id'][0]}"
        filled = {
            f"{position}" for column in self._preset.fill_from_order for position in self._positions[column]
        } - {order}
        blank = [pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name)) for name in sorted(filled)]
        # a row that can't be read hands nothing down
        rows = rows.with_columns(
            pl.when(pl.col(PROBLEM).is_null()).then(text).alias(name)
            for name, text in zip(sorted(filled), blank, strict=True)
        )
        joined = rows if self._before is None else pl.concat([self._before, rows])
        joined = joined.with_columns(pl.col(name).forward_fill().over(order) for name in sorted(filled))
        self._before = joined.tail(1)
        return joined.tail(rows.height)

    def _texts(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The texts of the canonical columns, as ``_name``; what the row as a whole is."""
        dirt = self._dirt
        texts: list[pl.Expr] = []
        candidates: dict[str, list[pl.Expr]] = {}
        for column, positions in self._positions.items():
            candidates[column] = [
                cells.plain(pl.col(f"{i}"), dirt, self._preset.empty_words) for i in positions
            ]
            if dirt.full_width and column in (*_IDS, "phone", "email"):
                # a title that stands for a missing SKU keeps its punctuation
                candidates[column] = [
                    text if i in self._positions["product_name"] else cells.half_width(text)
                    for i, text in zip(positions, candidates[column], strict=True)
                ]
            if column not in ("customer_id", "sku", "amount", "order_amount"):
                texts.append(_first(candidates[column]).alias(f"_{column}"))
        for column in ("amount", "order_amount"):
            given = candidates[column]
            texts.append(_first(given).alias(f"_{column}"))
            texts.extend(text.alias(f"_{column}_{i}") for i, text in enumerate(given[1:], start=1))
        texts.extend(self._keys(candidates))
        is_total = pl.lit(False)
        if dirt.totals:
            firsts = (cells.plain(pl.col("0"), dirt), _first(candidates["order_id"]))
            is_total = pl.any_horizontal(text.str.contains(TOTALS).fill_null(False) for text in firsts)
        frame = frame.select(
            "row_no",
            *texts,
            *packed.cut_columns(frame),
            pl.col(PROBLEM),
            is_total.alias("is_total"),
        )
        return frame.with_columns(
            cells.whole_numbers(frame[name]).alias(name) for name in ("_order_id", "_customer_id")
        )

    def _keys(self, candidates: dict[str, list[pl.Expr]]) -> list[pl.Expr]:
        """Customer and SKU: the first candidate that names one, and what was wrong with the first of all."""
        dirt = self._dirt

        def damaged(column: str, number: int) -> pl.Expr:
            is_number = self._positions[column][number] in self._numeric
            return cells.is_damaged(candidates[column][number], is_number).fill_null(False)

        usable = {"customer_id": list(candidates["customer_id"]), "sku": list(candidates["sku"])}
        state = pl.lit(None, pl.String)
        if dirt.exponents:
            for column, texts in usable.items():
                for i, text in enumerate(texts):
                    texts[i] = pl.when(~damaged(column, i)).then(text)
            if usable["customer_id"]:
                state = pl.when(damaged("customer_id", 0)).then(pl.lit(KEY_DAMAGED))
        if dirt.stars:
            masked = [cells.is_masked(text).fill_null(False) for text in candidates["customer_id"]]
            usable["customer_id"] = [
                pl.when(~hidden).then(text)
                for hidden, text in zip(masked, usable["customer_id"], strict=True)
            ]
            if masked:
                state = pl.when(masked[0]).then(pl.lit(KEY_MASKED)).otherwise(state)
        hidden_shapes = [
            (i, self._is_cipher(text, position))
            for i, (position, text) in enumerate(
                zip(self._positions["customer_id"], candidates["customer_id"], strict=True)
            )
        ]
        for i, hidden in hidden_shapes:
            if hidden is not None:
                usable["customer_id"][i] = pl.when(~hidden).then(usable["customer_id"][i])
                state = pl.when(hidden).then(pl.lit(KEY_MASKED)).otherwise(state) if i == 0 else state
        customer = _first(usable["customer_id"])
        if self._preset.fold_keys:
            customer = customer.str.replace(_MOBILE, "$1$2$3")
            is_address = customer.str.contains("@", literal=True)
            customer = pl.when(is_address).then(customer.str.to_lowercase()).otherwise(customer)
        order_is_damaged = pl.lit(False)
        if dirt.exponents and self._has["order_id"]:
            order_is_damaged = damaged("order_id", 0)
        is_fallback = pl.lit(False)
        if len(usable["customer_id"]) > 1:
            is_fallback = usable["customer_id"][0].is_null() & customer.is_not_null()
        return [
            customer.alias("_customer_id"),
            _first(usable["sku"]).alias("_sku"),
            state.alias("key_state"),
            is_fallback.alias("key_is_fallback"),
            order_is_damaged.alias("order_is_damaged"),
        ]

    def _is_cipher(self, text: pl.Expr, position: int) -> pl.Expr | None:
        """Whether a key is encrypted; None where it surely isn't."""
        shapes = [cells.is_cipher(text)] if self._dirt.ciphers else []
        if position in (*self._positions["phone"], *self._positions["name"]):
            shapes += [cells.looks_like_base64(text), cells.is_relay_number(text)]
        return pl.any_horizontal(shape.fill_null(False) for shape in shapes) if shapes else None

    def _typed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The texts as values; null where a text means nothing of its kind."""
        zone, is_workbook = self._zone, self._is_workbook
        more = [name for name in frame.columns if name.startswith(("_amount_", "_order_amount_"))]
        money = [*_MONEY_COLUMNS, *_ORDER_MONEY, *_ORDER_FACTS, *(name.removeprefix("_") for name in more)]
        kinds = dict.fromkeys(money, MONEY) | {
            "quantity": QUANTITY,
            "line_no": pl.Int64,
            "kinds": pl.Int64,
        }
        if self._preset.decimal_comma:
            frame = frame.with_columns(
                cells.decimal_points(frame[f"_{name}"]).alias(f"_{name}")
                for name in kinds
                if self._is_given(name)
            )
        typed = {
            name: cells.numbers(frame[f"_{name}"], dtype) if self._is_given(name) else _nulls(frame, dtype)
            for name, dtype in kinds.items()
        }
        for name in ("ordered_at", "refunded_at", "cancelled_at", "updated_at"):
            given = self._is_given(name)
            typed[name] = (
                cells.times(frame[f"_{name}"], zone, has_serials=is_workbook, date_order=self.date_order)
                if given
                else _nulls(frame, TIME)
            )
        if self._preset.day_in_order_id is not None:
            typed["ordered_at"] = typed["ordered_at"].fill_null(
                frame.select(
                    pl.when(pl.col("_ordered_at").is_null()).then(
                        _day_in(pl.col("_order_id"), self._preset.day_in_order_id)
                    )
                ).to_series()
            )
        # a mark of payment may be a yes or an amount, too
        payment = frame["_paid_mark"].str.contains(_BEGINS_LIKE_A_DAY).fill_null(False)
        typed["paid_at"] = (
            cells.times(frame["_paid_mark"].set(~payment, None), zone, date_order=self.date_order)
            if payment.any()
            else _nulls(frame, TIME)
        )
        words = [cells.word(pl.col(f"_{name}")).alias(f"_{name}") for name in _WORDS if self._is_given(name)]
        dirty = self._dirt.stars
        phone, email = pl.col("_phone"), pl.col("_email")
        if self._dirt.ciphers:
            phone = pl.when(~cells.is_cipher(phone)).then(phone)
        phone = pl.when(~cells.looks_like_base64(phone) & ~cells.is_relay_number(phone)).then(phone)
        if dirty:
            phone = pl.when(~cells.is_masked(phone)).then(phone)
            email = pl.when(~cells.is_masked(email)).then(email)
        if self._preset.negative_amounts == "returns":
            typed |= {name: typed[name].abs() for name in ("refunded_amount", "order_refunded")}
        return frame.with_columns(
            *words,
            *(series.alias(name) for name, series in typed.items()),
            *(pl.col(f"_{name}").alias(name) for name in (*_IDS, "product_name", "name")),
            pl.when(~cells.is_damaged(phone)).then(phone).alias("phone"),
            pl.when(email.str.contains("@", literal=True)).then(email.str.to_lowercase()).alias("email"),
        ).with_columns(
            cells.meaning(pl.col("_line_type"), self._preset.line_types, pl.String).alias("given_type"),
            cells.meaning(pl.col("_is_clearance"), _BOOLEANS, pl.Boolean).alias("is_clearance"),
            cells.meaning(pl.col("_accepts_marketing"), _BOOLEANS, pl.Boolean).alias("accepts_marketing"),
            cells.meaning(pl.col("_order_status"), self._preset.statuses, pl.String).alias("given_status"),
        )

    def _is_given(self, name: str) -> bool:
        return self._has.get(name, True)

    def _status(self) -> list[pl.Expr]:
        """Whether the order was paid, from its status, its mark of payment and its cancellation."""
        status = pl.col("given_status")
        was_paid = self._came_back()
        if self._has["paid_mark"]:
            mark = pl.col("_paid_mark")
            marked = (mark.is_not_null() & ~mark.is_in(_NOT_PAID)).fill_null(False)
            by_mark = pl.when(marked).then(pl.lit("paid")).otherwise(pl.lit(UNPAID))
            status = pl.when(pl.col("_order_status").is_null()).then(by_mark).otherwise(status)
            was_paid = was_paid | marked
        is_cancelled = (pl.col("given_status") == "cancelled").fill_null(False)
        status = pl.when(is_cancelled & was_paid).then(pl.lit("closed")).otherwise(status)
        if self._has["cancelled_at"]:
            back = pl.max_horizontal(pl.col("refunded_amount"), pl.col("order_refunded")).fill_null(0)
            was_paid = (status == "paid") & pl.col("_cancelled_at").is_not_null() & (back == 0)
            status = pl.when(was_paid.fill_null(False)).then(pl.lit("closed")).otherwise(status)
        if self._has["order_total"]:
            total = pl.col("order_total")
            is_all = (status == "paid") & (total > 0) & (pl.col("order_refunded") >= total)
            status = pl.when(is_all.fill_null(False)).then(pl.lit("closed")).otherwise(status)
        if self._has["line_status"]:
            of_line = cells.meaning(pl.col("_line_status"), self._preset.statuses, pl.String)
            status = pl.when(of_line == "cancelled").then(of_line).otherwise(status)
        return [status.alias("status")]

    def _came_back(self) -> pl.Expr:
        """Whether money came back, which shows that it was paid."""
        back = pl.max_horizontal("refunded_amount", "order_refunded").fill_null(0)
        return (back > 0) | self._is_flagged()

    def _is_flagged(self) -> pl.Expr:
        """Whether a word says that the row was refunded in full."""
        flag = cells.meaning(pl.col("_refund_flag"), self._preset.refund_words, pl.String)
        return (flag == "full").fill_null(False)

    def _payment(self) -> list[pl.Expr]:
        """The status, seen with how the order is paid and whether it was delivered."""
        preset, status = self._preset, pl.col("status")
        method = cells.word(pl.col("_payment_method"))
        if preset.no_sale_payments and self._has["payment_method"]:
            is_none = _matches(method, preset.no_sale_payments)
            status = pl.when(is_none).then(pl.lit(UNPAID)).otherwise(status)
        is_waiting = pl.lit(False)
        if preset.delivered and self._has["fulfilment"]:
            words = [cells.one_word(word) for word in preset.delivered]
            delivered = cells.word(pl.col("_fulfilment")).is_in(words).fill_null(False)
            is_waiting = (
                delivered
                & (pl.col("status") == UNPAID).fill_null(False)
                & (status == UNPAID).fill_null(False)
                & pl.col("_cancelled_at").is_null()
            )
            if preset.no_sale_payments and self._has["payment_method"]:
                is_waiting = is_waiting & ~_matches(method, preset.no_sale_payments)
            if self._rules.paid_on_delivery and self._has["payment_method"]:
                counts = is_waiting & _matches(method, self._rules.paid_on_delivery)
                status = pl.when(counts).then(pl.lit("paid")).otherwise(status)
                is_waiting = is_waiting & ~counts
        return [
            status.alias("status"),
            is_waiting.alias("is_unpaid_delivered"),
            self._goods().alias("goods"),
            pl.col("_payment_method").alias("payment_method"),
        ]

    def _goods(self) -> pl.Expr:
        """What an order's goods cost, without tax and postage."""
        if self._has["order_amount"]:
            return pl.col("order_amount")
        beside = pl.col("order_tax").fill_null(0) + pl.col("order_postage").fill_null(0)
        return (pl.col("order_total") - beside).cast(MONEY)

    def _amounts(self) -> list[pl.Expr]:
        """The line's type, its quantity, its price and what was paid for it."""
        preset = self._preset
        quantity = pl.col("quantity")
        if preset.row == ORDER:
            given = pl.coalesce(pl.col("kinds").cast(QUANTITY), pl.lit(1, QUANTITY))
            quantity = pl.when(pl.col("_quantity").is_null()).then(given).otherwise(quantity)
        elif not self._has["quantity"]:
            quantity = pl.lit(1, QUANTITY)
        is_below_zero = pl.lit(False)
        if preset.negative_amounts == "returns":
            is_below_zero = pl.any_horizontal(
                (pl.col(name) < 0).fill_null(False) for name in ("amount", "order_amount")
            )
            quantity = pl.when(is_below_zero).then(-quantity.abs()).otherwise(quantity)
        is_named_return = (pl.col("given_type") == "return").fill_null(False)
        is_return = (quantity < 0) | is_named_return
        if preset.credit_note_prefix is not None:
            is_return = is_return | pl.col("order_id").str.starts_with(preset.credit_note_prefix)
        computed = (quantity.abs() * pl.col("unit_price")).round(4).cast(MONEY, strict=False)
        if self._has["line_price"]:
            computed = pl.coalesce(pl.col("line_price"), computed)
        if self._has["line_discount"]:
            left = computed - pl.col("line_discount").fill_null(0)
            computed = pl.max_horizontal(left, pl.lit(0, MONEY))
        own = self._paid("amount")
        if self._has["line_postage"]:
            own = pl.max_horizontal(own - pl.col("line_postage").fill_null(0), pl.lit(0, MONEY))
        if preset.row == LINE or preset.negative_amounts == "returns":
            # exports give a return's amount with and without a sign
            own = pl.when((quantity < 0) | is_named_return).then(own.abs()).otherwise(own)
        amount = pl.when(pl.col("_amount").is_null()).then(computed).otherwise(own).cast(MONEY)
        was_net = self._was_net(amount)
        amount = pl.when(was_net).then(amount + pl.col("refunded_amount")).otherwise(amount).cast(MONEY)
        # an order list names all titles of an order at once
        is_line = preset.row == LINE
        is_beside = _matches(_name(), preset.beside_goods if is_line else ())
        is_no_sale = _matches(_name(), preset.no_sale_names if is_line else ())
        is_apart = is_beside | is_no_sale
        of_no_order = is_no_sale & pl.col("order_amount").is_null()
        amount = pl.when(is_beside | of_no_order).then(pl.lit(0, MONEY)).otherwise(amount)
        price = pl.col("unit_price")
        if "unit_price" not in preset.required:
            whole = pl.coalesce(pl.col("line_price"), amount)
            each = whole.cast(pl.Float64) / quantity.abs().cast(pl.Float64)
            is_open = pl.col("_unit_price").is_null() & (quantity != 0) & (amount >= 0)
            price = pl.when(is_open).then(each.round(4).cast(MONEY, strict=False)).otherwise(price)
        line_type = pl.when(is_return.fill_null(False)).then(pl.lit("return")).otherwise(pl.lit("sale"))
        # a line that has its own amount needs no share of the order's
        whole_order = self._part_paid(self._paid("order_amount"))
        whole_order = pl.when(is_below_zero).then(whole_order.abs()).otherwise(whole_order)
        of_order = pl.when(pl.col("_amount").is_null()).then(whole_order)
        return [
            quantity.alias("quantity"),
            line_type.alias("line_type"),
            amount.alias("amount"),
            price.alias("unit_price"),
            of_order.cast(MONEY).alias("order_amount"),
            (pl.col("_amount").is_null() & ~is_apart).alias("is_reckoned"),
            is_no_sale.alias("is_no_sale"),
            was_net.alias("was_net"),
        ]

    def _was_net(self, amount: pl.Expr) -> pl.Expr:
        """Whether what was paid is given after its refund: the two make up what it was before."""
        if not self._has["gross_amount"]:
            return pl.lit(False)
        back = pl.col("refunded_amount")
        total = pl.col("gross_amount")
        makes_up = (amount + back - total).abs() < _CENT
        # more came back than is left: it is net, unless both make more than the order's total
        is_left = (amount < back) & (total.is_null() | (amount + back < total + _CENT))
        is_open = (pl.col("status") != "closed").fill_null(True)
        return ((back > 0) & (makes_up | is_left) & is_open).fill_null(False)

    def _part_paid(self, amount: pl.Expr) -> pl.Expr:
        """What was paid of an order's goods, where a part is still outstanding."""
        if not (self._preset.partly_paid and self._has["outstanding"] and self._has["order_total"]):
            return amount
        words = [cells.one_word(word) for word in self._preset.partly_paid]
        paid = (pl.col("order_total") - pl.col("outstanding")).clip(lower_bound=0)
        is_part = pl.col("_order_status").is_in(words) & paid.is_not_null()
        goods = pl.min_horizontal(_goods_part(paid), amount)
        return pl.when(is_part.fill_null(False)).then(goods).otherwise(amount)

    def _order_back(self) -> pl.Expr:
        """What an order's refund gives back of its goods: nothing of the postage alone, no tax."""
        back = pl.col("order_refunded")
        if not self._has["order_total"]:
            return back
        postage = pl.col("order_postage").fill_null(0)
        is_postage = ((postage > 0) & (back == postage)).fill_null(False)
        return pl.when(is_postage).then(pl.lit(0, MONEY)).otherwise(_goods_part(back)).cast(MONEY)

    def _paid(self, column: str) -> pl.Expr:
        """An amount paid; of a closed order or refunded line, which exports set to 0, what it had been."""
        amount = pl.col(column)
        others = [pl.col(f"{column}_{i}") for i in range(1, len(self._positions[column]))]
        if not others:
            return amount
        had_been = pl.coalesce([pl.when(other > 0).then(other) for other in others] + [amount])
        is_closed = (pl.col("status") == "closed").fill_null(False) | self._is_flagged()
        return pl.when(is_closed & (amount == 0)).then(had_been).otherwise(amount)

    def _refunds(self) -> list[pl.Expr]:
        """What was given back of the line, and when, as far as the row tells."""
        closed = (pl.col("status") == "closed").fill_null(False)
        is_unsaid = pl.col("refunded_amount").fill_null(0) == 0
        refunded = (
            pl.when(closed | (self._is_flagged() & is_unsaid))
            .then(pl.col("amount"))
            .when(pl.col("_refunded_amount").is_null())
            .then(pl.lit(0, MONEY))
            .otherwise(pl.col("refunded_amount"))
        )
        at = pl.when(closed & pl.col("refunded_at").is_null()).then("cancelled_at").otherwise("refunded_at")
        of_order = self._order_back()
        if self._preset.refunds_by_line:
            # 0 beside a line's own refund: the lines say it all
            of_order = pl.when(refunded > 0).then(pl.lit(0, MONEY)).otherwise(of_order)
        return [
            refunded.alias("refunded_amount"),
            at.alias("refunded_at"),
            of_order.alias("order_refunded"),
        ]

    def _judged(self, frame: pl.DataFrame, batch: pl.DataFrame) -> pl.DataFrame:
        """Adds disposition, reason and text; reasons are only sought where something is wrong."""
        whole, single = _whole_row_rules(), _value_rules(self._preset, self._has)
        is_cut = packed.is_cut(frame)
        if is_cut:
            single = [*packed.rules(), *single]
        frame = frame.with_columns(
            _any(condition for condition, _ in whole).alias("row_is_bad"),
            _any(condition for condition, _ in single).alias("value_is_bad"),
        )
        never_paid = pl.col("status").is_in([UNPAID, "cancelled"]).fill_null(False)
        frame = frame.with_columns(
            pl.when(pl.col("row_is_bad"))
            .then(pl.lit(REJECTED))
            .when(never_paid)
            .then(pl.lit(UNPAID))
            .when(pl.col("value_is_bad"))
            .then(pl.lit(REJECTED))
            .otherwise(pl.lit(ACCEPTED))
            .alias("disposition"),
            pl.lit(self._preset.row).alias("row_kind"),
        )
        wrong = (frame["disposition"] == REJECTED).arg_true()
        reasons, texts = _nulls(frame, pl.String), _nulls(frame, pl.String)
        if not wrong.is_empty():
            # a batch that is all good costs nothing here
            reasons = reasons.scatter(wrong, frame[wrong].select(_reason([*whole, *single])).to_series())
            rows = frame["row_no"][wrong] - (self._read - batch.height + 1)
            texts = texts.scatter(wrong, batch[rows].select(self._row_text()).to_series())
        frame = frame.with_columns(self._line_numbers(frame).alias("line_no"))
        judged = frame.select(
            "row_no",
            *CANONICAL,
            *EXTRA_COLUMNS,
            "disposition",
            reasons.alias("reason"),
            texts.alias("row_text"),
            "key_state",
            "key_is_fallback",
            *EVENT_TIMES,
            *ROW_FACTS,
        )
        return packed.one_judgement(judged) if is_cut else judged

    def _line_numbers(self, frame: pl.DataFrame) -> pl.Expr:
        """The lines' own numbers; else that of the row, with the lines that rows before it pack counted."""
        first, self._lines = self._lines + 1, self._lines + frame.height
        return pl.coalesce("line_no", pl.int_range(first, self._lines + 1, dtype=pl.Int64))

    def _row_text(self) -> pl.Expr:
        fields = pl.concat_str([pl.col(name).fill_null("") for name in self._fields], separator=",")
        return pl.coalesce(pl.col(ROW_TEXT), fields).alias("row_text")


def _no_time() -> tuple[pl.Expr, str]:
    """No time is given, and none follows from the order's number."""
    return pl.col("_ordered_at").is_null() & pl.col("ordered_at").is_null(), "ordered_at is missing"


def _day_in(order: pl.Expr, pattern: str) -> pl.Expr:
    """The day (YYMMDD) in an order's number, as its time; null where there is none."""
    day = pl.lit("20") + order.str.extract(pattern, 1)
    return day.str.to_datetime("%Y%m%d", strict=False, time_unit="us")


def _made_order_ids(frame: pl.DataFrame) -> pl.Series:
    """Order numbers for a file that has none: rows of one customer at one time are one order.

    They are the same in every export that holds the row, and a hash, so that they name nobody. A row without
    a customer is an order of its own, known by what it says.
    """
    parts = ["customer_id", *(f"_{name}" for name in ("sku", "product_name", "quantity", "amount"))]
    is_named = pl.col("customer_id").is_not_null()
    texts = frame.select(
        pl.col("ordered_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f").alias("at"),
        *(
            pl.when(is_named).then(pl.lit("")).otherwise(pl.col(name).fill_null("")).alias(name)
            if name != "customer_id"
            else pl.col(name).fill_null("")
            for name in parts
        ),
    )
    joined = texts.select(pl.concat_str(pl.all(), separator="\x1f").alias("text"))
    # Polars' own hash may change with its version, and an order must keep its number
    with duckdb.connect() as connection:
        connection.register("joined", joined)
        made = connection.sql(
            "select strftime(cast(text[:10] as date), '%Y%m%d-') || sha256(text)[:20] as order_id from joined"
        ).to_arrow_table()
    return pl.Series("order_id", made["order_id"], dtype=pl.String)


def _name() -> pl.Expr:
    return pl.col("_product_name").str.strip_chars().str.to_uppercase()


def _matches(text: pl.Expr, words: Sequence[str]) -> pl.Expr:
    """Whether a text in one spelling is one of some words; ``*`` stands for whatever may be there."""
    if not words:
        return pl.lit(False)
    spelled = text.str.to_uppercase().str.replace_all(" ", "", literal=True)
    pattern = not_product_pattern([cells.one_word(word) for word in words])
    return spelled.str.contains(pattern).fill_null(False)


def _goods_part(money: pl.Expr) -> pl.Expr:
    """The part of an order's money that is its goods': in proportion, where tax stands outside of them."""
    goods, total, tax = pl.col("goods"), pl.col("order_total"), pl.col("order_tax").fill_null(0)
    outside = total - goods - pl.col("order_postage").fill_null(0)
    has_tax = ((tax > 0) & (outside - tax > -_CENT) & (total > 0)).fill_null(False)
    part = money.cast(pl.Float64) * goods.cast(pl.Float64) / total.cast(pl.Float64)
    # half a cent goes up, whatever binary fractions make of it
    in_cents = (part + 1e-9).round(2).cast(MONEY, strict=False)
    return pl.when(has_tax).then(in_cents).otherwise(money)


def _first(texts: Sequence[pl.Expr]) -> pl.Expr:
    return pl.coalesce(texts) if texts else pl.lit(None, pl.String)


def _nulls(frame: pl.DataFrame, dtype: object) -> pl.Series:
    return pl.Series([None], dtype=dtype).new_from_index(0, frame.height)  # type: ignore[arg-type]


def _any(conditions: Iterator[pl.Expr] | Sequence[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(condition.fill_null(False) for condition in conditions)


def _whole_row_rules() -> list[tuple[pl.Expr, str]]:
    """What is wrong with a row as a row: none of its values can be trusted then."""
    everything = [pl.col(f"_{name}").is_null() for name in (*CANONICAL, "order_status", "order_amount")]
    return [
        (pl.col(PROBLEM).is_not_null(), ""),
        (pl.all_horizontal(everything), "the row is empty"),
        (pl.col("is_total"), A_TOTAL),
    ]


def _value_rules(preset: Preset, has: dict[str, bool]) -> list[tuple[pl.Expr, str]]:
    """What may be wrong with a row's values, first things first."""

    def missing(column: str) -> tuple[pl.Expr, str]:
        return pl.col(f"_{column}").is_null(), f"{column} is missing"

    def unreadable(column: str, kind: str, typed: str | None = None) -> tuple[pl.Expr, str]:
        given = pl.col(f"_{column}").is_not_null() & pl.col(typed or column).is_null()
        return given, f"{column} is no {kind}"

    statuses = ", ".join(word for group in preset.statuses.values() for word in group)
    money = [name for name in (*_MONEY_COLUMNS, *_ORDER_MONEY) if has[name]]
    rules = [
        *([missing("order_id")] if has["order_id"] else []),
        (pl.col("order_is_damaged"), "order_id was damaged by a spreadsheet (1.2E+18); export it as text"),
        *([] if preset.joins_orders else [_no_time()]),
        (pl.col("is_other_currency"), f"{OTHER_CURRENCY} (shop.currency)"),
        unreadable("ordered_at", "date and time"),
        unreadable("line_no", "whole number"),
        *([missing("quantity")] if preset.row == LINE and has["quantity"] else []),
        unreadable("quantity", "number"),
        (pl.col("quantity") == 0, "quantity is 0"),
        *([missing("unit_price")] if "unit_price" in preset.required else []),
        *(unreadable(column, "amount of money") for column in money),
        *(
            (pl.col(column) < 0, f"{column} is negative; a return has a negative quantity")
            for column in money
        ),
        (
            pl.col("amount").is_null() & pl.col("_amount").is_null() & pl.col("_unit_price").is_null(),
            _NO_AMOUNT,
        ),
        (pl.col("amount").is_null(), "amount is too large"),
        (pl.col("unit_price").is_null(), _NO_AMOUNT),
        unreadable("refunded_at", "date and time"),
        unreadable("line_type", "line type (sale or return)", "given_type"),
        unreadable("is_clearance", "yes or no (true or false)"),
        unreadable("order_status", f"known status ({statuses})", "given_status"),
    ]
    return rules


def _reason(rules: Sequence[tuple[pl.Expr, str]]) -> pl.Expr:
    """The first thing that is wrong with a row; a problem of the row as a whole has its own words."""
    expression = pl.lit(None, pl.String)
    for condition, reason in reversed(rules):
        words = pl.lit(reason) if reason else pl.col(PROBLEM)
        expression = pl.when(condition).then(words).otherwise(expression)
    return expression.alias("reason")
