"""Presets: how the columns of an export become the canonical columns, one YAML file each.

Belongs here: header names, status words, credit notes, codes that are no products, which preset a header
looks like. How values are typed is ``ingest.reading``'s. A shop's own layout is a file of the same kind in
``presets/`` of its home; ``docs/reference/presets.md`` says what may be in it.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rfm_pipeline.errors import OrderFileError, ShopFileError
from rfm_pipeline.storage.header_names import header_key

Status = Literal["paid", "unpaid", "cancelled", "closed"]
Refund = Literal["full", "none"]
LineType = Literal["sale", "return"]

CANONICAL = (
    "order_id",
    "line_no",
    "customer_id",
    "ordered_at",
    "line_type",
    "sku",
    "product_name",
    "quantity",
    "unit_price",
    "list_price",
    "amount",
    "refunded_amount",
    "refunded_at",
    "is_clearance",
)
"""The columns of an order line."""

STANDARD = (*CANONICAL, "order_status")
"""The columns of an export with the preset ``standard``."""

FROM_PLATFORMS = (
    "order_status",  # paid, unpaid, cancelled or closed, by the preset's words
    "paid_mark",  # filled when the order was paid: a time, an amount or a yes
    "cancelled_at",  # filled when the order was cancelled
    "updated_at",  # when something last happened to the order, such as its delivery
    "line_discount",  # money off this line
    "line_price",  # money of the whole line before line_discount
    "line_postage",  # postage that is part of the line's amount
    "line_id",  # the line's own number at the platform; only says how many lines a row packs
    "line_status",  # a word of the statuses: a cancelled line of a paid order is no sale
    "order_amount",  # paid for the whole order; divided over its lines
    "order_refunded",  # refunded of the whole order; divided over its lines
    "gross_amount",  # what amount was before refunds, where the export may give it net of them
    "order_total",  # the order's total, with whatever stands outside of the goods
    "order_tax",  # tax of the order
    "order_postage",  # postage of the order
    "outstanding",  # what is still to be paid of the order's total
    "currency",  # of the amounts
    "payment_method",  # how the order is paid
    "fulfilment",  # whether the order was delivered, by the preset's words
    "refund_flag",  # whether the line was refunded, where its amount is not given
    "kinds",  # how many titles are in product_name
    "phone",
    "email",
    "name",
    "accepts_marketing",
)
"""What else an export may tell, from which order lines and contacts are made."""

NO_BUYERS = (
    "this platform's exports name no buyer: totals, bestsellers and prices can be had; who comes back "
    "cannot, unless identities/ or contacts/ bring it"
)
"""What is said of a preset that hides buyers."""

ALL_COLUMNS = (*CANONICAL, *FROM_PLATFORMS)

LINE_TYPES: dict[LineType, tuple[str, ...]] = {
    "sale": (
        *("sale", "sales", "sold", "order", "purchase", "invoice", "payment", "charge", "shop_order"),
        *(
            "销售",
            "销售单",
            "销售订单",
            "销售出库",
            "销售出库单",
            "零售",
            "零售单",
            "零售出库",
            "出库",
            "出库单",
        ),
        *("订单", "普通订单", "正常", "正常订单", "正常销售", "购买", "消费", "交易", "收款", "支付", "付款"),
    ),
    "return": (
        *("return", "returns", "returned", "refund", "refunds", "refunded", "partial refund", "sales return"),
        *("credit", "credit note", "credit-note", "credit_note", "credit memo", "chargeback", "reversal"),
        *("shop_order_refund", "退货", "退货单", "退货订单", "退货入库", "退货退款", "退单", "退回", "退库"),
        *("销售退货", "销售退货单", "销售退回", "销售退单", "销售退库", "销售退款", "零售退货", "零售退货单"),
        *("退款", "退款单", "退款订单", "仅退款", "部分退款", "冲红", "红冲", "红字"),
    ),
}
"""Usual words of a column that says whether a row is a sale or a return."""

ONCE_A_ROW = (
    "quantity",
    "amount",
    "refunded_amount",
    "line_discount",
    "line_price",
    "line_postage",
    "line_status",
    "refund_flag",
    "is_clearance",
)
"""Columns that a row of several lines may give once: what adds up is divided, a word counts for all."""

PACKABLE = ("line_id", "sku", "product_name", "unit_price", "list_price", *ONCE_A_ROW)
"""Columns that may hold several values."""

_NEEDED_WORDS = {"order_status": "statuses", "line_status": "statuses", "refund_flag": "refund_words"}
_NEVER_THE_SAME = (
    ("amount", "order_amount"),
    ("amount", "refunded_amount"),
    ("amount", "quantity"),
    ("order_amount", "order_refunded"),
    ("order_id", "customer_id"),
    ("customer_id", "ordered_at"),
    ("quantity", "unit_price"),
)


class Preset(BaseModel):
    """How one platform's export is read.

    Attributes:
        name: What ``orders.preset`` calls it.
        description: Whose layout it is.
        row: What a row is: a line, or an order whose titles are in one field.
        columns: Canonical column to the header names it may stand under.
        fallback: Canonical column to further headers, looked at where the column itself is empty, masked or
            damaged by a spreadsheet (or 0, for the amount of a closed order).
        required: The canonical columns without which the file can't be read.
        fill_from_order: Columns that stand on an order's first row only.
        beside: Presets of the same platform that other files in the folder may have.
        joins_orders: Whether buyer and time may come from the platform's order list instead.
        encodings: What the platform writes.
        credit_note_prefix: Orders whose id begins with this are credit notes: all their lines are returns.
        statuses: What the words of ``order_status`` mean; ``word*`` stands for whatever begins so. A
            cancelled order that was paid counts as closed.
        refund_words: What the words of ``refund_flag`` mean.
        line_types: What the words of ``line_type`` mean; usual words of both languages where it is left out.
        partly_paid: Words of ``order_status`` of orders of which only a part was paid: the total less what is
            outstanding.
        delivered: Words of ``fulfilment`` that say that the order was delivered.
        no_sale_payments: Words of ``payment_method`` of orders that are no sale, such as a test gateway's.
        no_sale_names: Names of lines whose money is no sale, such as a gift card's.
        beside_goods: Names of lines whose money stands outside of the order's amount, such as a tip.
        title_separator: The characters that may separate titles.
        packed: Columns that may hold several values: such a row is several lines.
        packed_separator: The characters that may separate those values.
        fold_keys: Whether customers' keys that are e-mail addresses or mobile numbers have one spelling.
        hides_buyers: Whether the platform's exports name no buyer, or only an encrypted one.
        empty_words: What the platform writes where it has no value, such as ``-``.
        day_in_order_id: A pattern whose group is the day (YYMMDD) in the order's number, for an order without
            a time.
        refunds_by_line: Whether the order's refund is looked at only where no line tells its own: the
            order's may hold tax and postage.
        negative_amounts: What a negative amount means: a row to reject, or a return. With ``returns``, a
            negative refund is read without its sign, too.
        decimal_comma: Whether a comma separates the fraction of a number: ``1.299,50`` is 1299.5.
        date_order: What 1/5/2024 means, where ``orders.date_order`` leaves it to the file.
        not_products: SKUs that are no products; ``GIFT*`` means all that begin with GIFT.
        not_product_names: The same for the articles' names; ``*补差价*`` means all that hold 补差价.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    row: Literal["line", "order"] = "line"
    columns: dict[str, tuple[str, ...]]
    fallback: dict[str, tuple[str, ...]] = {}
    required: tuple[str, ...]
    fill_from_order: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    joins_orders: bool = False
    encodings: tuple[str, ...] = ("utf-8", "gb18030")
    credit_note_prefix: str | None = None
    statuses: dict[Status, tuple[str, ...]] = {}
    refund_words: dict[Refund, tuple[str, ...]] = {}
    line_types: dict[LineType, tuple[str, ...]] = LINE_TYPES
    partly_paid: tuple[str, ...] = ()
    delivered: tuple[str, ...] = ()
    no_sale_payments: tuple[str, ...] = ()
    no_sale_names: tuple[str, ...] = ()
    beside_goods: tuple[str, ...] = ()
    title_separator: str = Field(default="，", min_length=1)
    packed: tuple[str, ...] = ()
    packed_separator: str = Field(default=";；", min_length=1)
    fold_keys: bool = False
    hides_buyers: bool = False
    empty_words: tuple[str, ...] = ()
    day_in_order_id: str | None = None
    refunds_by_line: bool = False
    negative_amounts: Literal["rejected", "returns"] = "rejected"
    decimal_comma: bool = False
    date_order: Literal["told", "month_first", "day_first"] = "told"
    not_products: tuple[str, ...] = ()
    not_product_names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known_columns(self) -> "Preset":
        named = [*self.columns, *self.fallback, *self.required, *self.fill_from_order, *self.packed]
        for column in named:
            if column not in ALL_COLUMNS:
                near = difflib.get_close_matches(column, ALL_COLUMNS, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"there is no column {column!r}{hint} Known: {', '.join(ALL_COLUMNS)}")
        for column in (*self.required, *self.fill_from_order, *self.fallback, *self.packed):
            if column not in self.columns:
                raise ValueError(f"{column!r} stands under no header: name it in columns:, too")
        return self

    @field_validator("day_in_order_id")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        try:
            groups = 1 if pattern is None else re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"{pattern!r} is no pattern ({error}); write such as ^(\\d{{6}})-") from None
        if groups != 1:
            raise ValueError(
                f"{pattern!r} needs one group, which is the day as YYMMDD; write such as ^(\\d{{6}})-"
            )
        return pattern

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Preset":
        problems = [words for is_wrong, words in self._contradictions() if is_wrong]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _contradictions(self) -> Iterator[tuple[bool, str]]:
        """What can't be true at once, as whether it is there and what to do."""
        has = self.columns.keys()
        yield (
            {"amount", "line_discount"} <= has,
            "'amount' is what was paid, so 'line_discount' would come off twice: remove one of the two",
        )
        yield (
            has.isdisjoint({"amount", "order_amount", "unit_price", "line_price"}),
            "no column says how much: name 'amount', 'order_amount' or 'unit_price' in columns:",
        )
        yield (
            "order_id" not in has and not {"customer_id", "ordered_at"} <= has,
            "without 'order_id', an order is what one customer bought at one time: name 'customer_id' and "
            "'ordered_at' in columns:",
        )
        yield (
            "order_id" not in has
            and bool(self.joins_orders or self.credit_note_prefix is not None or self.fill_from_order),
            "'joins_orders', 'credit_note_prefix' and 'fill_from_order' need 'order_id' in columns:",
        )
        yield from self._packed_contradictions()
        for column, key in _NEEDED_WORDS.items():
            yield (
                column in has and not getattr(self, key),
                f"{column!r} means nothing without words: name them in {key}:",
            )
        for column in has:
            yield not self.columns[column], f"columns: {column} names no header"
        for first, second in _NEVER_THE_SAME:
            both = sorted({*self.columns.get(first, ())} & {*self.columns.get(second, ())})
            yield bool(both), f"{first!r} and {second!r} both stand under {', '.join(map(repr, both))}"
        for kind, groups in (("status", self.statuses), ("line type", self.line_types)):
            for word, meanings in _meanings(groups).items():
                yield len(meanings) > 1, f"the {kind} {word!r} means {' and '.join(meanings)}: keep one"

    def _packed_contradictions(self) -> Iterator[tuple[bool, str]]:
        """What can't be true of packed rows."""
        is_packed, has = bool(self.packed), self.columns.keys()
        beyond = [name for name in self.packed if name not in PACKABLE]
        yield (
            bool(beyond),
            f"packed: {', '.join(beyond)} can't differ within a row; may be packed: {', '.join(PACKABLE)}",
        )
        yield (
            is_packed and set(self.packed) <= {"product_name"},
            "packed: a title may contain the separator, so titles alone don't show that a row packs several "
            "lines: name 'sku', 'quantity' or another column, too",
        )
        yield (
            is_packed and self.row == "order",
            "'packed' needs row: line; titles of row: order are cut anyway",
        )
        yield is_packed and "order_id" not in has, "'packed' needs 'order_id' in columns:"
        yield (
            is_packed and "line_no" in has,
            "'packed' numbers the lines itself: remove 'line_no' from columns:",
        )
        yield (
            is_packed and "gross_amount" in has,
            "'gross_amount' is compared with one amount a row: remove it, or 'packed'",
        )

    @property
    def fingerprint(self) -> str:
        """A hash of all that it says: a changed preset reads the same file differently."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def fit(self, header: Sequence[str]) -> int:
        """How many of its columns a header holds, fallbacks not counted."""
        keys = _keys(header)
        return sum(not keys.isdisjoint(_known_keys(known)) for known in self.columns.values())

    def lacks(self, header: Sequence[str]) -> list[tuple[str, ...]]:
        """The required columns that a header doesn't hold, each as the names it may stand under."""
        keys = _keys(header)
        lacking = []
        for column in self.required:
            known = (*self.columns[column], *self.fallback.get(column, ()))
            if keys.isdisjoint(_known_keys(known)):
                lacking.append(known)
        return lacking

    def map_header(self, path: Path, header: Sequence[str]) -> dict[str, str]:
        """Finds the canonical columns in a file's header, however the names are spelled.

        Returns:
            Canonical column to the header name as it is in the file.

        Raises:
            OrderFileError: If a required column is missing, a name that is needed stands twice, or the
                customer's column isn't there.
        """
        mapping: dict[str, str] = {}
        trimmed = [clean_name(name) for name in header]
        for column, names in self.columns.items():
            found = _positions(trimmed, names)
            if len(found) > 1:
                raise OrderFileError(
                    f"{path}: the header has the column {trimmed[found[0]]!r} more than once; keep one."
                )
            if found:
                mapping[column] = header[found[0]]
        missing = self.lacks(header)
        if missing:
            free = [
                name for name, given in zip(trimmed, header, strict=True) if given not in mapping.values()
            ]
            near = [match for name in missing[0] for match in difflib.get_close_matches(name, free, n=1)]
            hint = f" (is {near[0]!r} meant?)" if near else ""
            lacks = ", ".join(" or ".join(repr(name) for name in names) for names in missing)
            raise OrderFileError(
                f"{path}: the header lacks {lacks}{hint}, which preset {self.name!r} needs; "
                f"it has: {', '.join(trimmed)}. Is orders.preset in shop.yaml the right one?"
                f"{_better(header)} Known presets: {', '.join(preset_names())}."
            )
        self._require_customer(path, trimmed)
        return mapping

    def _require_customer(self, path: Path, trimmed: Sequence[str]) -> None:
        """A preset that says who bought must find it: else every row would silently be nobody's."""
        known = (*self.columns.get("customer_id", ()), *self.fallback.get("customer_id", ()))
        if not known or self.joins_orders or self.hides_buyers or not _keys(known).isdisjoint(_keys(trimmed)):
            return
        free = [name for name in trimmed if name]
        near = [match for name in known for match in difflib.get_close_matches(name, free, n=1)]
        hint = f" (is {near[0]!r} meant?)" if near else ""
        raise OrderFileError(
            f"{path}: preset {self.name!r} looks for the customer under {' or '.join(map(repr, known))}, and "
            f"the header has no such column{hint}; it has: {', '.join(free)}. Correct customer_id in the "
            "preset. If the file names no buyer, remove customer_id: totals and bestsellers can be had "
            "then, who comes back can't."
        )

    def positions(self, header: Sequence[str], column: str) -> list[int]:
        """Where a column is in a header, fallbacks not counted."""
        return _positions([clean_name(name) for name in header], self.columns.get(column, ()))

    def fallbacks_in(self, header: Sequence[str]) -> dict[str, list[int]]:
        """The positions of the fallbacks that a header holds, in their order."""
        trimmed = [clean_name(name) for name in header]
        return {
            column: [found[0] for name in names if (found := _positions(trimmed, (name,)))]
            for column, names in self.fallback.items()
        }


def best_fit(family: Sequence[Preset], header: Sequence[str]) -> int:
    """How many columns of a header the preset knows that knows most."""
    return max(preset.fit(header) for preset in family)


def best_preset(family: Sequence[Preset], header: Sequence[str]) -> Preset | None:
    """Of the presets whose needed columns a header holds, the one that knows most of it."""
    fitting = [preset for preset in family if not preset.lacks(header)]
    return max(fitting, key=lambda one: one.fit(header), default=None)


def _meanings(groups: Mapping[Any, Sequence[str]]) -> dict[str, list[str]]:
    """Words, each with all that it means."""
    found: dict[str, list[str]] = {}
    for meaning, words in groups.items():
        for word in dict.fromkeys(words):
            found.setdefault(word, []).append(meaning)
    return found


def clean_name(name: str) -> str:
    """A header name without what exports wrap around it."""
    name = name.replace("\ufeff", "").strip()
    if name.startswith('="') and name.endswith('"'):
        name = name[2:-1]
    return name.removeprefix("'").strip()


def _keys(names: Iterable[str]) -> set[str]:
    """Names so that their spellings are equal; without those of columns that have none."""
    return {header_key(clean_name(name)) for name in names} - {""}


@lru_cache(4096)
def _known_keys(names: tuple[str, ...]) -> frozenset[str]:
    """:func:`_keys` of what a preset knows."""
    return frozenset(_keys(names))


def _positions(trimmed: Sequence[str], names: Sequence[str]) -> list[int]:
    """Where some names are in a header: as they are spelled, else in another spelling."""
    exact = [i for i, name in enumerate(trimmed) if name in names]
    keys = _known_keys(tuple(names))
    return exact or [i for i, name in enumerate(trimmed) if header_key(name) in keys]


def preset_names() -> list[str]:
    """The shipped presets."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def own_preset_names(home: Path | None) -> list[str]:
    """The presets in a shop's own home."""
    folder = None if home is None else home / "presets"
    return sorted(path.stem for path in folder.glob("*.yaml")) if folder and folder.is_dir() else []


def load_preset(name: str, home: Path | None = None) -> Preset:
    """Reads a preset: the shop's own of that name, else a shipped one.

    Args:
        name: Its name.
        home: The shop's folder, whose ``presets/`` may hold own ones.

    Raises:
        ShopFileError: If there is none of that name, or it says something that can't be.
    """
    own = own_preset_names(home)
    if name in own:
        assert home is not None
        return _read_preset(name, home / "presets" / f"{name}.yaml")
    known = [*own, *preset_names()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ShopFileError(
            f"there is no preset {name!r}.{hint} Known presets: {', '.join(known)} "
            "(orders.preset in shop.yaml)."
        )
    with resources.as_file(resources.files(__package__).joinpath(f"{name}.yaml")) as path:
        return _read_preset(name, path)


def _read_preset(name: str, path: Path) -> Preset:
    try:
        content: Any = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ShopFileError(f"{path} can't be read as YAML: {error}") from None
    if not isinstance(content, dict):
        raise ShopFileError(f"{path} must hold columns: and required:, such as the shipped presets do.")
    try:
        return Preset(**{"description": name, **content, "name": name})
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise ShopFileError(f"{path}: {'; '.join(problems)}") from None


def load_family(name: str, home: Path | None = None) -> list[Preset]:
    """A preset and those of the same platform that other files beside it may have."""
    first = load_preset(name, home)
    return [first, *(load_preset(other, home) for other in first.beside)]


@dataclass(frozen=True)
class Guess:
    """How well a preset fits a header.

    Attributes:
        preset: The preset.
        known: How many of the header's names it knows.
        names: How many names the header has.
        lacks: How many columns that the preset needs are missing.
        confidence: ``sure``, ``likely``, ``possible``, or ``no fit`` if a needed column is missing.
    """

    preset: Preset
    known: int
    names: int
    lacks: int
    confidence: str


def guess_presets(header: Sequence[str], home: Path | None = None) -> list[Guess]:
    """The presets that a header may be of, best first; those that lack a needed column come last.

    One that fits is sure if it knows at least six of the names and twice as many as any other that fits;
    likely from four names on.
    """
    names = _keys(header)
    presets = [load_preset(name, home) for name in (*own_preset_names(home), *preset_names())]
    counted = sorted(
        ((preset, len(names & _all_names(preset)), len(preset.lacks(header))) for preset in presets),
        key=lambda found: (found[2] > 0, -found[1], found[2]),
    )
    fitting = [known for _, known, lacks in counted if not lacks]
    second = fitting[1] if len(fitting) > 1 else 0
    return [
        Guess(preset, known, len(names), lacks, _confidence(known, lacks, second, position))
        for position, (preset, known, lacks) in enumerate(counted)
    ]


def _better(header: Sequence[str]) -> str:
    """Which shipped preset fits a header, as a sentence; empty if none does."""
    best = guess_presets(header)[0]
    return "" if best.lacks else f" It looks like {best.preset.name!r} ({best.confidence})."


def _confidence(known: int, lacks: int, second: int, position: int) -> str:
    if lacks:
        return "no fit"
    if position == 0 and known >= 6 and known >= 2 * second:
        return "sure"
    return "likely" if position == 0 and known >= 4 else "possible"


def _all_names(preset: Preset) -> set[str]:
    groups = (*preset.columns.values(), *preset.fallback.values())
    return _keys(name for group in groups for name in group)


def not_product_names(family: Sequence[Preset]) -> str:
    """The names of articles that are no products, as :func:`not_product_pattern` of all presets of a shop."""
    return not_product_pattern(
        [
            name
            for preset in family
            for name in (*preset.not_product_names, *preset.no_sale_names, *preset.beside_goods)
        ]
    )


def not_product_pattern(codes: Sequence[str]) -> str:
    """The codes or names that are no products as one regular expression for texts in upper case.

    Args:
        codes: Codes in any case; a ``*`` before or behind stands for whatever may be there.
    """
    parts = []
    for code in sorted({code.strip().upper() for code in codes}):
        before = ".*" if code.startswith("*") else ""
        behind = ".*" if code.endswith("*") else ""
        parts.append(before + re.escape(code.strip("*")) + behind)
    return f"^({'|'.join(parts)})$" if parts else "^$"
