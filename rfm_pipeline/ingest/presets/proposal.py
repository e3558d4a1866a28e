"""A preset for an unknown export: proposed from its header and values, and from what the shop says.

Belongs here: deciding which column is what, and what is still open. What a single column may be is for
``ingest.presets.columns`` to say; the preset's text is made in ``ingest.presets.writing``.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import polars as pl

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.files import cells
from rfm_pipeline.ingest.presets import ALL_COLUMNS, LineType, Status
from rfm_pipeline.ingest.presets.columns import (
    MOST,
    Column,
    fold,
    line_type_of,
    name_score,
    synonyms,
    texts_of,
)

WHO, WHEN, HOW_MUCH = "customer_id", "ordered_at", "amount"
NONE = "none"
AMOUNT_IS, DATE_ORDER = "amount_is", "date_order"
MEANINGS: tuple[str, ...] = get_args(Status)
TYPES: tuple[str, ...] = get_args(LineType)
_MEANINGS_OF = {"order_status": MEANINGS, "line_type": TYPES}
SAID, BY_NAME = "said", "name"
_CONTACTS = ("phone", "email", "name")
_OF_ORDERS = {"order", "line"}
_FILLABLE = ("customer_id", "ordered_at", "order_status", "paid_mark", "amount", "phone", "email", "name")
_QUESTIONS = {
    WHO: "Which column says who bought (a member number, phone, e-mail address)?",
    WHEN: "Which column says when the order was placed or paid?",
    HOW_MUCH: "Which column says how much was paid?",
}
_EXPLAINED = {"order_status": " (cancelled: before payment; closed: refunded in full)"}


@dataclass(frozen=True)
class Choice:
    """A column chosen for a canonical one, and by what: its name, or because the shop says so."""

    column: Column
    by: str


@dataclass(frozen=True)
class Question:
    """Something that only the shop can say.

    Attributes:
        key: What ``--set KEY=VALUE`` calls it.
        text: The question.
        choices: The possible answers.
        suggestion: What the file makes likely; None where a guess would be as good as any other.
    """

    key: str
    text: str
    choices: tuple[str, ...]
    suggestion: str | None


@dataclass
class Proposal:
    """How an export may be read.

    Attributes:
        chosen: Canonical column to the column chosen for it.
        is_order_amount: Whether the amount is that of the whole order, repeated on its lines.
        statuses: Meaning to the words of the status that the file holds.
        line_types: ``sale`` and ``return`` to the words of the line type that the file holds.
        filled_down: Columns that stand on an order's first row only.
        has_negatives: Whether amounts or refunds below zero occur.
        decimal_comma: Whether a comma separates fractions.
        date_order: What 1/5/2024 means, if the shop had to say it.
        questions: What is open.
    """

    chosen: dict[str, Choice]
    is_order_amount: bool = False
    statuses: dict[str, list[str]] = field(default_factory=dict)
    line_types: dict[str, list[str]] = field(default_factory=dict)
    filled_down: tuple[str, ...] = ()
    has_negatives: bool = False
    decimal_comma: bool = False
    date_order: str | None = None
    questions: list[Question] = field(default_factory=list)

    def column(self, role: str) -> Column | None:
        """The column chosen for a canonical one, None if there is none."""
        choice = self.chosen.get(role)
        return None if choice is None else choice.column


def propose(
    columns: Sequence[Column],
    sample: pl.DataFrame,
    said: Mapping[str, str],
    *,
    asks_date_order: bool = False,
) -> Proposal:
    """Proposes how an export is read.

    Args:
        columns: Its columns, from :func:`~rfm_pipeline.ingest.presets.columns.look`.
        sample: Its first rows as texts, a column a position.
        said: What the shop says: canonical column to a header name (or ``none``), ``amount_is`` (``order`` or
            ``line``), ``date_order``, ``order_status.WORD`` and ``line_type.WORD`` to a meaning.
        asks_date_order: Whether its days may begin with the day or the month.

    Raises:
        OrderFileError: If the shop says something that the file or a preset can't hold.
    """
    _require_known(said, columns)
    chosen = _chosen(columns, said)
    proposal = Proposal(chosen)
    proposal.questions.extend(_needed(proposal, columns, said))
    _decide_words(proposal, "line_type", said, line_type_of, proposal.line_types)
    orders = _orders(proposal, sample)
    proposal.filled_down = _filled_down(proposal, sample, orders)
    _decide_amount(proposal, sample, orders, said)
    _decide_words(proposal, "order_status", said, meaning_of, proposal.statuses)
    money = [proposal.column(role) for role in ("amount", "unit_price", "refunded_amount")]
    proposal.has_negatives = any(
        column is not None and (column.lowest or 0) < 0
        for column in (proposal.column("amount"), proposal.column("refunded_amount"))
    )
    proposal.decimal_comma = any(column is not None and column.comma_decimals for column in money)
    proposal.date_order = said.get(DATE_ORDER)
    if asks_date_order and proposal.date_order is None:
        proposal.questions.append(
            Question(
                DATE_ORDER,
                "Days such as 1/5/2024 may begin with the month or the day, and no value shows which. Which?",
                ("month_first", "day_first"),
                None,
            )
        )
    return proposal


def _require_known(said: Mapping[str, str], columns: Sequence[Column]) -> None:
    for key, value in said.items():
        role, dot, _ = key.partition(".")
        if dot and role in _MEANINGS_OF:
            allowed: Sequence[str] = _MEANINGS_OF[role]
        elif key == AMOUNT_IS:
            allowed = sorted(_OF_ORDERS)
        elif key == DATE_ORDER:
            allowed = ("month_first", "day_first")
        elif key in ALL_COLUMNS:
            allowed = [NONE, *(column.name for column in columns)]
        else:
            keys = [*ALL_COLUMNS, AMOUNT_IS, DATE_ORDER]
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise OrderFileError(f"--set {key}: there is no such column.{hint} Known: {', '.join(keys)}.")
        if value not in allowed and fold(value) not in {fold(name) for name in allowed}:
            raise OrderFileError(
                f"--set {key}={value}: must be one of {', '.join(name for name in allowed if name)}."
            )


def find_column(columns: Sequence[Column], name: str) -> Column | None:
    """The column of a name: as the header has it, else in another spelling of it."""
    exact = [column for column in columns if column.name == name]
    alike = [column for column in columns if fold(column.name) == fold(name)]
    return next(iter([*exact, *alike]), None)


def _chosen(columns: Sequence[Column], said: Mapping[str, str]) -> dict[str, Choice]:
    """The columns that are said, then those whose names say it best; each column once."""
    chosen: dict[str, Choice] = {}
    for role in ALL_COLUMNS:
        column = find_column(columns, said[role]) if said.get(role, NONE) != NONE else None
        if column is not None:
            chosen[role] = Choice(column, SAID)
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1 and any(name_score(name, role) for role in (WHO, WHEN, HOW_MUCH)):
            raise OrderFileError(f"the header has the column {name!r} more than once; keep one.")
    free = [column for column in columns if column.name and names.count(column.name) == 1]
    scored = sorted(
        (
            (_score(column, role), column, role)
            for column in free
            for role in synonyms()["columns"]
            if role not in said and role not in _CONTACTS
        ),
        key=lambda found: -found[0],
    )
    taken = {choice.column.position for choice in chosen.values()}
    for score, column, role in scored:
        if score <= 0 or role in chosen or column.position in taken:
            continue
        chosen[role] = Choice(column, BY_NAME)
        taken.add(column.position)
    _settle(chosen, said)
    _add_contacts(chosen, free, said)
    return chosen


def _score(column: Column, role: str) -> float:
    score = name_score(column.name, role)
    if not score or not column.may_be(role):
        return 0
    if role == WHO:
        # a key that hides itself or is mostly empty knows nobody
        return score - 600 * (column.masked > 0.5) - 200 * (1 - column.filled / column.rows)
    return score


def _settle(chosen: dict[str, Choice], said: Mapping[str, str]) -> None:
    """What the columns mean to each other."""
    mark = chosen.get("paid_mark")
    if mark is not None and WHEN not in {*chosen, *said} and mark.column.may_be(WHEN):
        chosen[WHEN] = mark
    if WHEN in chosen and "paid_mark" not in {*chosen, *said}:
        column = chosen[WHEN].column
        # an order without its time of payment was not paid
        if name_score(column.name, "paid_mark") and column.filled < column.rows:
            chosen["paid_mark"] = chosen[WHEN]
    if "order_amount" in chosen and HOW_MUCH not in chosen:
        chosen[HOW_MUCH] = chosen.pop("order_amount")
    if HOW_MUCH not in chosen and "quantity" not in chosen and "unit_price" in chosen:
        chosen[HOW_MUCH] = chosen.pop("unit_price")
    if HOW_MUCH in chosen:
        # what was paid is known, so nothing comes off it
        chosen.pop("line_discount", None)
    if "refunded_amount" in chosen:
        chosen.pop("refund_flag", None)


def _add_contacts(chosen: dict[str, Choice], free: Sequence[Column], said: Mapping[str, str]) -> None:
    for role in _CONTACTS:
        if role in {*chosen, *said}:
            continue
        scored = [(name_score(column.name, role), column) for column in free if column.filled]
        best = max(scored, key=lambda found: found[0], default=None)
        if best is not None and best[0] > 0 and best[1].masked < 0.5:
            chosen[role] = Choice(best[1], BY_NAME)


def _needed(proposal: Proposal, columns: Sequence[Column], said: Mapping[str, str]) -> Iterator[Question]:
    """Questions for who, when and how much, where the names leave them open."""
    taken = {choice.column.position for choice in proposal.chosen.values()}
    free = [column for column in columns if column.filled and column.position not in taken]
    names = tuple(column.name for column in columns if column.name)
    for role in (WHO, WHEN, HOW_MUCH):
        is_priced = role == HOW_MUCH and {"unit_price", "quantity"} <= proposal.chosen.keys()
        if role in proposal.chosen or is_priced or (role in said and role == WHO):
            continue
        guess = _by_values(role, free)
        answers = (*names, NONE) if role == WHO else names
        yield Question(role, _QUESTIONS[role], answers, None if guess is None else guess.name)


def _by_values(role: str, free: Sequence[Column]) -> Column | None:
    """The free column whose values alone make it likely."""
    if role == WHEN:
        return next((column for column in free if column.may_be(WHEN) and column.numbers < MOST), None)
    if role == WHO:
        free = [column for column in free if column.times < MOST]
        ranked = sorted(free, key=lambda column: (-round(column.emails), -round(column.phones)))
        return next((column for column in ranked if max(column.emails, column.phones) >= MOST), None)
    sums = [column for column in free if column.may_be(HOW_MUCH) and column.decimals > 0]
    return sums[0] if len(sums) == 1 else None


def _orders(proposal: Proposal, sample: pl.DataFrame) -> pl.DataFrame | None:
    """The sample's chosen columns by order: ``order``, ``nth`` (row of its order, from 0), ``role`` texts.

    Returns are left out: they may bear the number of the order that they give back.

    None without an order number, or where every order is one row.
    """
    column = proposal.column("order_id")
    if column is None:
        return None
    texts = sample.select(
        texts_of(sample[f"{choice.column.position}"]).alias(role) for role, choice in proposal.chosen.items()
    ).with_columns(pl.col("order_id").alias("order"))
    if "line_type" in texts.columns:
        kind = cells.meaning(cells.word(pl.col("line_type")), proposal.line_types, pl.String)
        texts = texts.filter((kind != "return").fill_null(True))
    grouped = texts.filter(pl.col("order").is_not_null()).with_columns(
        pl.len().over("order").alias("rows"), pl.int_range(pl.len()).over("order").alias("nth")
    )
    several = grouped.filter(pl.col("rows") > 1)
    return None if several.is_empty() else several


def _filled_down(proposal: Proposal, sample: pl.DataFrame, orders: pl.DataFrame | None) -> tuple[str, ...]:
    """The columns that only an order's first row holds."""
    if orders is None:
        return ()
    first, further = orders.filter(pl.col("nth") == 0), orders.filter(pl.col("nth") > 0)
    return tuple(
        role
        for role in _FILLABLE
        if role in proposal.chosen
        and first[role].null_count() <= 0.1 * first.height
        and further[role].null_count() >= 0.9 * further.height
    )


def _decide_amount(
    proposal: Proposal, sample: pl.DataFrame, orders: pl.DataFrame | None, said: Mapping[str, str]
) -> None:
    """Whether the amount is the line's or the whole order's."""
    if AMOUNT_IS in said or "order_amount" in said:
        proposal.is_order_amount = said.get(AMOUNT_IS, "order") == "order"
        return
    if orders is None or proposal.column(HOW_MUCH) is None:
        return
    if HOW_MUCH in proposal.filled_down:
        proposal.is_order_amount = True
        return
    numbers = _numbers(proposal, orders)
    by_order = numbers.group_by("order").agg(
        (pl.col("amount").n_unique() == 1).alias("is_constant"),
        pl.col("amount").first().alias("amount"),
        pl.col("price").sum().alias("priced"),
    )
    if not by_order["is_constant"].all():
        return
    if numbers["price"].null_count() == 0:
        of_line = (numbers["amount"] - numbers["price"]).abs() < 0.005
        of_order = (by_order["amount"] - by_order["priced"]).abs() < 0.005
        if of_line.all() or of_order.all():
            proposal.is_order_amount = not of_line.all()
            return
        # discounts: the order's total is nearer to the sum of its lines than to any of them
        is_nearer = (by_order["amount"] > 0.5 * by_order["priced"]).drop_nulls()
        proposal.is_order_amount = 2 * int(is_nearer.sum()) > len(is_nearer)
        return
    proposal.is_order_amount = True
    column = proposal.column(HOW_MUCH)
    assert column is not None
    proposal.questions.append(
        Question(
            AMOUNT_IS,
            f"{column.name!r} is the same on all rows of an order. Is it the whole order's, or each line's?",
            ("order", "line"),
            "order",
        )
    )


def _numbers(proposal: Proposal, orders: pl.DataFrame) -> pl.DataFrame:
    def typed(role: str) -> pl.Series:
        if role not in orders.columns:
            return pl.Series(role, [None] * orders.height, dtype=pl.Float64)
        column = proposal.chosen[role].column
        texts = orders[role]
        texts = cells.decimal_points(texts) if column.comma_decimals else texts
        return cells.numbers(texts, pl.Decimal(18, 4)).cast(pl.Float64).alias(role)

    priced = typed("unit_price") * typed("quantity")
    return pl.DataFrame({"order": orders["order"], "amount": typed("amount"), "price": priced})


def meaning_of(word: str) -> str | None:
    """What a word of a status usually means; None if it is no usual one."""
    plain = cells.one_word(word).replace("_", "").replace("-", "")

    def spelled(words: Sequence[str]) -> list[str]:
        return [cells.one_word(one).replace("_", "").replace("-", "") for one in words]

    groups: Mapping[str, Mapping[str, Sequence[str]]] = synonyms()["statuses"]
    for meaning, words in groups.items():
        if plain in spelled(words["exact"]):
            return meaning
    for meaning in ("paid", "unpaid", "cancelled", "closed"):
        if any(part in plain for part in spelled(groups[meaning]["holds"])):
            return meaning
    return None


def _decide_words(
    proposal: Proposal,
    role: str,
    said: Mapping[str, str],
    usual: Callable[[str], str | None],
    found: dict[str, list[str]],
) -> None:
    """What the words of a column mean; asks for those that nobody knows, the first meaning suggested.

    Args:
        proposal: Gets the questions.
        role: The canonical column.
        said: What the shop says, as ``role.WORD``.
        usual: What a word usually means.
        found: Meaning to words; filled here.
    """
    column = proposal.column(role)
    if column is None:
        return
    for word in column.words:
        meaning = said.get(f"{role}.{word}") or usual(word)
        if meaning is None:
            text = f"What does the word {word!r} in {column.name!r} mean?{_EXPLAINED.get(role, '')}"
            meanings = _MEANINGS_OF[role]
            proposal.questions.append(Question(f"{role}.{word}", text, meanings, meanings[0]))
        else:
            found.setdefault(meaning, []).append(word)
