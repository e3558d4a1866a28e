"""Commands about presets: ``rfm preset new`` makes one for an export that fits no known preset."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_pipeline.cli.home_option import Home, home_folder
from rfm_pipeline.errors import OrderFileError, RfmError

if TYPE_CHECKING:
    import polars as pl

    from rfm_pipeline.ingest.files.texts import Layout
    from rfm_pipeline.ingest.presets.columns import Column
    from rfm_pipeline.ingest.presets.preview import Preview
    from rfm_pipeline.ingest.presets.proposal import Proposal, Question
    from rfm_pipeline.shop import Shop

preset = typer.Typer(name="preset", no_args_is_help=True, help="Makes presets for exports of one's own.")

_ENCODINGS = ("utf-8", "gb18030", "cp1252")


@preset.command("new")
def new(
    files: Annotated[list[Path], typer.Argument(help="Order exports of one layout.")],
    name: Annotated[
        str | None, typer.Option(help="The preset's name; from the file's name if left out.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="What is known, such as customer_id=会员号, sku=none, amount_is=order, "
            "order_status.已核销=paid or date_order=day_first; may be given several times.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take what the file makes likely; ask nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a preset of that name.")] = False,
    home: Home = None,
) -> None:
    """Writes a preset for an export that fits no known one: `presets/NAME.yaml` in the home.

    Looks at header and values, asks what they leave open, and shows ten rows as they would be read and the
    money by month. Needed are who, when and how much.
    """
    from rfm_pipeline.ingest.presets import load_preset
    from rfm_pipeline.ingest.presets.preview import preview
    from rfm_pipeline.ingest.presets.writing import preset_content, preset_text
    from rfm_pipeline.storage.atomic_files import replace_files

    folder = home_folder(home)
    shop = _shop_in(folder)
    called = _name(name, files)
    path = folder / "presets" / f"{called}.yaml"
    if path.exists() and not force:
        raise RfmError(f"{path} exists already; choose another --name, or say --force to replace it.")
    zone = shop.shop.timezone if shop else "Asia/Shanghai"
    layout, columns, sample, asks_order = _look(files, zone, shop)
    proposal = _settled(columns, sample, _said(settings or []), asks_order=asks_order, yes=yes)
    content = preset_content(proposal, layout.encoding)
    text = preset_text(called, [file.name for file in files], proposal, content)
    with TemporaryDirectory() as trial:
        replace_files(Path(trial), {Path(trial) / "presets" / path.name: text.encode()})
        read = preview(files, load_preset(called, Path(trial)), zone, _rules(shop))
    _print(proposal, content, read)
    if not read.rows["accepted"]:
        raise OrderFileError(
            f"{files[0]}: no row could be read this way, so no preset was written. Say which column is what "
            "with --set, such as --set amount=HEADER."
        )
    folder.mkdir(parents=True, exist_ok=True)
    replace_files(folder, {path: text.encode()})
    typer.echo(f"made {path}")
    typer.echo("compare the totals with what the shop knows; to change something, edit the file or use --set")
    if shop is None:
        typer.echo(
            f"next: rfm init {folder} --preset {called}, then drop the exports into {folder / 'orders'}"
        )
    else:
        typer.echo(f"next: write orders.preset: {called} into {folder / 'shop.yaml'}")


def _shop_in(folder: Path) -> "Shop | None":
    from rfm_pipeline.shop import load_shop

    return load_shop(folder) if (folder / "shop.yaml").exists() else None


def _rules(shop: "Shop | None") -> Any:
    from rfm_pipeline.ingest.files.reading import AUTO, Rules
    from rfm_pipeline.ingest.loading import reading_rules

    return reading_rules(shop) if shop else Rules(AUTO)


def _name(name: str | None, files: Sequence[Path]) -> str:
    from rfm_pipeline.ingest.presets import preset_names

    if name is None:
        stem = re.sub(r"[^a-z0-9]+", "_", files[0].name.split(".")[0].lower()).strip("_")
        stem = re.sub(r"^[\d_]+$|(_\d+)+$", "", stem) or "mine"
        return f"{stem}_own" if stem in preset_names() else stem
    if not re.fullmatch(r"\w+", name):
        raise RfmError(f"{name!r} is no name for a preset: use letters, digits and _.")
    return name


def _said(settings: Sequence[str]) -> dict[str, str]:
    said = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise RfmError(f"--set {setting}: write KEY=VALUE, such as --set customer_id=会员号.")
        said[key.strip()] = value.strip()
    return said


def _look(
    files: Sequence[Path], zone: str, shop: "Shop | None"
) -> "tuple[Layout, list[Column], pl.DataFrame, bool]":
    """Layout, columns and first rows of the first file; whether day and month may be either way round."""
    import polars as pl

    from rfm_pipeline.ingest.files.texts import peek, text_rows
    from rfm_pipeline.ingest.presets.columns import known_names, look, require_names
    from rfm_pipeline.ingest.report import require_export

    encoding = shop.orders.encoding if shop else None
    delimiter = shop.orders.delimiter if shop else None
    begun = []
    for file in files:
        require_export(file)
        layout = peek(file, known_names, encoding, delimiter, _ENCODINGS)
        require_names(file, layout.header)
        with TemporaryDirectory() as folder:
            rows = text_rows(file, layout, zone, Path(folder), known_names)
            begun.append((rows.layout, next(iter(rows.batches), None)))
        if begun[-1][0].header != begun[0][0].header:
            raise OrderFileError(
                f"{file}: its header is another than that of {files[0]}; make a preset of each."
            )
    layout = begun[0][0]
    parts = [part for _, part in begun if part is not None]
    sample = pl.concat(parts) if parts else None
    if sample is None or sample.is_empty():
        raise OrderFileError(
            f"{files[0]}: there is no row below the header; give an export that holds orders."
        )
    columns = look(sample, layout.header, zone, layout.sheet is not None)
    is_open = bool(shop is None or shop.orders.date_order == "told") and _is_order_open(sample, columns)
    return layout, columns, sample, is_open


def _is_order_open(sample: "pl.DataFrame", columns: "Sequence[Column]") -> bool:
    from rfm_pipeline.ingest.files.days import DaySigns
    from rfm_pipeline.ingest.presets.columns import MOST

    signs = DaySigns()
    signs.look(sample[f"{column.position}"] for column in columns if column.times >= MOST)
    return signs.order is None


def _settled(
    columns: "Sequence[Column]",
    sample: "pl.DataFrame",
    said: dict[str, str],
    *,
    asks_order: bool,
    yes: bool,
) -> "Proposal":
    """A proposal without open questions: each is answered by its suggestion, or asked."""
    from rfm_pipeline.ingest.presets.proposal import propose

    while True:
        proposal = propose(columns, sample, said, asks_date_order=asks_order)
        if not proposal.questions:
            return proposal
        question = proposal.questions[0]
        if not yes:
            said[question.key] = _ask(question)
        elif question.suggestion is not None:
            said[question.key] = question.suggestion
        else:
            raise RfmError(f"{question.text} Say --set {question.key}=… ({', '.join(question.choices)}).")


def _ask(question: "Question") -> str:
    """Asks until the answer is one of the choices, by its number or as it stands there."""
    typer.echo(question.text)
    for number, choice in enumerate(question.choices, start=1):
        typer.echo(f"  {number}  {choice}")
    while True:
        try:
            answer = str(typer.prompt("number or name", default=question.suggestion)).strip()
        except typer.Abort:
            raise RfmError(
                f"no answer; say --set {question.key}=… ({', '.join(question.choices)})."
            ) from None
        if answer in question.choices:
            return answer
        if answer.isdecimal() and 1 <= int(answer) <= len(question.choices):
            return question.choices[int(answer) - 1]
        typer.echo(f"{answer!r} is none of them")


def _print(proposal: "Proposal", content: Mapping[str, Any], read: "Preview") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    columns = Table(title="which column is what", title_justify="left", show_header=False)
    for role, names in content["columns"].items():
        columns.add_row(role, escape(", ".join(names)))
    console.print(columns)
    for meaning, words in proposal.statuses.items():
        console.print(f"status {meaning}: {escape(', '.join(words))}", highlight=False)
    for note in _notes(content):
        console.print(note, highlight=False)
    console.print(_table("as they would be read", read.first.drop_nulls("disposition")))
    console.print(_table("by month of the order", read.months))
    counts = ", ".join(f"{name} {count:,}" for name, count in read.rows.items())
    console.print(f"rows: {counts}; without a customer {read.without_customer:,}", highlight=False)
    for reason, count in read.rejected.most_common(5):
        console.print(f"  {count:,} rejected: {escape(reason)}", highlight=False)
    if not read.months.is_empty():
        console.print(f"total: {read.net:,.2f}", highlight=False)


def _notes(content: Mapping[str, Any]) -> list[str]:
    notes = []
    if "order_id" not in content["columns"]:
        notes.append("no order number: rows of one customer at one time are one order")
    if "sku" not in content["columns"]:
        notes.append("no articles: bestsellers can't be known, so every silent customer is of class C")
    if "customer_id" not in content["columns"]:
        notes.append("no customer: totals can be had, who comes back can't")
    return notes


def _table(title: str, frame: "pl.DataFrame") -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(*("" if value is None else escape(_shown(value)) for value in row))
    return table


def _shown(value: Any) -> str:
    from decimal import Decimal

    return f"{value:,.2f}" if isinstance(value, Decimal) else str(value)
