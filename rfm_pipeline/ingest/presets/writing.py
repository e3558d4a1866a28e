"""The text of a proposed preset: a YAML file in which every line explains itself.

Belongs here: turning a proposal into ``presets/NAME.yaml``. Proposing is ``ingest.presets.proposal``'s.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from rfm_pipeline.ingest.files import cells
from rfm_pipeline.ingest.presets import ALL_COLUMNS, LINE_TYPES, load_preset
from rfm_pipeline.ingest.presets.columns import synonyms
from rfm_pipeline.ingest.presets.proposal import BY_NAME, SAID, Proposal

_WHY = {SAID: "as you said", BY_NAME: "by its name"}
_MADE_FROM = {"order_amount": "amount", "order_refunded": "refunded_amount"}
_MEANINGS = {
    "paid": "counts",
    "unpaid": "not paid: no sale",
    "cancelled": "cancelled before payment: no sale",
    "closed": "closed after payment: counts as refunded in full",
}
_FURTHER = {
    "decimal_comma": "a comma separates the fraction: 1.299,50 is 1299.50",
    "negative_amounts": "a negative amount is a return",
    "fold_keys": "+86 138-0000-0001 and 13800000001 are one customer, and so are A@b.cn and a@b.cn",
    "date_order": "what 1/5/2024 means",
    "fill_from_order": "stand on an order's first row only",
    "encodings": "what the file is written in, the likeliest first",
}


def preset_content(proposal: Proposal, encoding: str | None) -> dict[str, Any]:
    """What the preset says.

    Args:
        proposal: Which column is what.
        encoding: What the file is written in; None for a workbook or Parquet.
    """
    chosen = proposal.chosen
    columns = {role: [chosen[role].column.name] for role in ALL_COLUMNS if role in chosen}
    fallback: dict[str, list[str]] = {}
    is_whole_order = proposal.is_order_amount and "unit_price" not in columns
    if proposal.is_order_amount and not is_whole_order:
        columns["order_amount"] = columns.pop("amount")
        if "refunded_amount" in columns:
            columns["order_refunded"] = columns.pop("refunded_amount")
    if "product_name" in columns:
        if "sku" in columns:
            fallback["sku"] = columns["product_name"]
        else:
            columns["sku"] = columns["product_name"]
    content: dict[str, Any] = {
        "row": "order" if is_whole_order else "line",
        "columns": columns,
        "fallback": fallback,
        "required": _required(columns),
        "fill_from_order": _filled_down(proposal, columns),
        "fold_keys": True,
    }
    if encoding is not None:
        content["encodings"] = list(dict.fromkeys([encoding, "utf-8", "gb18030"]))
    if "order_status" in columns:
        usual = {meaning: words["exact"] for meaning, words in synonyms()["statuses"].items()}
        content["statuses"] = _with_usual(proposal.statuses, {key: usual[key] for key in _MEANINGS})
    if "line_type" in columns:
        content["line_types"] = _with_usual(proposal.line_types, LINE_TYPES)
    if "refund_flag" in columns:
        content["refund_words"] = synonyms()["refunds"]
    if proposal.has_negatives:
        content["negative_amounts"] = "returns"
    if proposal.decimal_comma:
        content["decimal_comma"] = True
    if proposal.date_order is not None:
        content["date_order"] = proposal.date_order
    if "product_name" in columns:
        content["not_product_names"] = list(load_preset("youzan").not_product_names)
    return {key: value for key, value in content.items() if value not in ([], {})}


def _required(columns: Mapping[str, Sequence[str]]) -> list[str]:
    money = next((name for name in ("amount", "order_amount") if name in columns), None)
    needed = [money] if money else ["unit_price", "quantity"]
    return [name for name in ("order_id", "customer_id", "ordered_at", *needed) if name in columns]


def _filled_down(proposal: Proposal, columns: Mapping[str, Sequence[str]]) -> list[str]:
    # an order's amount on its first row is found there; one below zero says what each of its rows is
    further = ["order_amount"] if proposal.has_negatives and "amount" in proposal.filled_down else []
    return [role for role in (*proposal.filled_down, *further) if role in columns]


def _with_usual(
    found: Mapping[str, Sequence[str]], usual: Mapping[Any, Sequence[str]]
) -> dict[str, list[str]]:
    """The words of the file, then the usual ones: next month's export may hold them."""
    seen = {cells.one_word(word) for words in found.values() for word in words}
    return {
        meaning: [*found.get(meaning, ()), *(word for word in words if cells.one_word(word) not in seen)]
        for meaning, words in usual.items()
    }


def preset_text(name: str, files: Sequence[str], proposal: Proposal, content: Mapping[str, Any]) -> str:
    """The file ``presets/NAME.yaml``.

    Args:
        name: The preset's name.
        files: The names of the exports it was made from.
        proposal: Why each column was chosen.
        content: What the preset says, from :func:`preset_content`.
    """
    lines = [
        f"# {name}: made by `rfm preset new` from {', '.join(files)}.".replace("\n", " "),
        "# What else may stand here: docs/reference/presets.md. What a file is read as: rfm check FILE.",
        f"description: {_inline('own layout ' + name)}",
        f"row: {content['row']}  # {_row(content['row'])}",
        "columns:  # our column: the name in the header",
        *(f"  {role}: {_inline(names)}{_why(proposal, role)}" for role, names in content["columns"].items()),
    ]
    if "fallback" in content:
        lines.append("fallback:  # looked at where the column itself is empty")
        lines += [f"  {role}: {_inline(names)}" for role, names in content["fallback"].items()]
    lines.append(f"required: {_inline(content['required'])}  # without these a file is refused")
    if "order_id" not in content["columns"]:
        lines.append("# no order number: rows of one customer at one time are one order")
    if "sku" not in content["columns"]:
        lines.append(
            "# no articles: every silent customer is of class C, since nobody's bestsellers are known"
        )
    for key, why in _FURTHER.items():
        if key in content:
            lines.append(f"{key}: {_inline(content[key])}  # {why}")
    if "statuses" in content:
        lines.append("statuses:  # what the words of order_status mean; the file's own come first")
        lines += [
            f"  {key}: {_inline(words)}  # {_MEANINGS[key]}" for key, words in content["statuses"].items()
        ]
    if "line_types" in content:
        lines.append("line_types:  # which words of line_type mean a return, whatever the sign of its amount")
        lines += [f"  {key}: {_inline(words)}" for key, words in content["line_types"].items()]
    if "refund_words" in content:
        lines.append("refund_words:  # full: the whole row was given back")
        lines += [f"  {key}: {_inline(words)}" for key, words in content["refund_words"].items()]
    if "not_product_names" in content:
        lines.append(
            "# money, but no products: postage, samples, price differences; * is whatever may be there"
        )
        lines.append(f"not_product_names: {_inline(content['not_product_names'])}")
    return "\n".join(lines) + "\n"


def _row(kind: str) -> str:
    return (
        "a row is a whole order"
        if kind == "order"
        else "a row is a line; lines of one order share its number"
    )


def _why(proposal: Proposal, role: str) -> str:
    choice = proposal.chosen.get(_MADE_FROM.get(role, role))
    return f"  # {_WHY[choice.by]}" if choice is not None else ""


def _inline(value: object) -> str:
    """A value as it stands on one line of YAML."""
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, width=1_000_000)
    return text.removesuffix("\n").removesuffix("...").strip()
