"""What came of contacting the listed: the rows of the outcome files, held against the sealed lists.

A row is taken if it names a customer on the list of its week; the others are reported by file and row,
with what was expected there. The same contact in two files (a work list filled in in place, and its copy in
``outreach/``) counts once; two files that say different things are both kept. The whole table is made
from the files in one transaction, so files may come late, be mended, or be taken away.

Refusals hold whatever else is wrong with their row: ``contacts`` reads them, ``refusals`` keeps them.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import polars as pl

from rfm_pipeline.contacts.addresses import readable
from rfm_pipeline.contacts.order_contacts import read_order_contacts
from rfm_pipeline.contacts.outcome_files import may_be_refused, outcome, outcome_files, read_outcomes
from rfm_pipeline.contacts.people import customers_by_address, read_people
from rfm_pipeline.contacts.phones import phone_region
from rfm_pipeline.contacts.refusals import keep_refusals
from rfm_pipeline.contacts.schemas import FINDINGS, OUTREACH_FINDINGS, OUTREACH_LOG
from rfm_pipeline.contacts.sheets import Sheet
from rfm_pipeline.contacts.suppression import require_identity
from rfm_pipeline.contacts.vocabulary import CONTACT_WORDS, CUSTOMER_NAMES, OUTCOME_NAMES, REACHED
from rfm_pipeline.errors import SuppressionError
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.shop import HOLDOUT, RECALL, Shop
from rfm_pipeline.storage.atomic_files import replace_files
from rfm_pipeline.warehouse.columns import TIME
from rfm_pipeline.warehouse.duckdb import Warehouse

_TIMES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_DATE_IN_NAME = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")
_WORD_IN_NAME = re.compile(r"[a-z]+|[\u4e00-\u9fff]+")
_ROW_SCHEMA = {
    "source_file": pl.String,
    "sheet": pl.String,
    "row": pl.Int64,
    **dict.fromkeys(OUTCOME_NAMES, pl.String),
    "week_in_name": pl.Date,
    "channel_in_name": pl.String,
}
_FINDING_COLUMNS = tuple(OUTREACH_FINDINGS.schema.columns)


@dataclass(frozen=True)
class OutreachReport:
    """What :func:`write_outreach_log` did.

    Attributes:
        files: Files that hold outcomes.
        rows_read: Rows that somebody filled in.
        rows_taken: Of them, those on the list of their week.
        rows: Contacts in the table: rows taken, each once.
        customers: Customers of a list (one of two lists counts twice) by ``reached_<channel>``,
            ``not_reached`` and ``refused``.
        findings: Rows and files to look at, by reason.
        findings_file: The file that names them; None if there are none.
        new_refusals: Customers written into ``suppression/`` by this call.
    """

    files: int
    rows_read: int
    rows_taken: int
    rows: int
    customers: Mapping[str, int]
    findings: Mapping[str, int]
    findings_file: Path | None
    new_refusals: int


@dataclass
class _Outcomes:
    """What the files say."""

    files: int = 0
    sheets: list[Sheet] = field(default_factory=list)
    troubles: list[tuple[str, str, str]] = field(default_factory=list)
    """(file, reason, words) of what is wrong with a file as a whole."""


def findings_path(shop: Shop) -> Path:
    """The file that names the rows to look at; holds no customer's data."""
    return shop.out_dir / "outreach" / "to_look_at.csv"


def write_outreach_log(warehouse: Warehouse, ledger: Ledger, shop: Shop, now: datetime) -> OutreachReport:
    """Makes ``outreach_log`` and ``outreach_findings`` from the files and keeps the refusals.

    A file that can't be read is a finding like a bad row: the other files are taken. That nobody is recalled
    until it can be is ``contacts``' doing.

    Args:
        warehouse: Gets the tables.
        ledger: Holds the sealed lists.
        shop: The settings.
        now: The present moment on the shop's clock.

    Raises:
        SuppressionError: If a file of ``contacts/`` is needed to find whose a row is and can't be read.
    """
    outcomes = _read(shop)
    new_refusals = _keep(shop, ledger, outcomes)
    rows = _rows(shop, outcomes)
    judged = _judged(rows, _whose(warehouse, shop, rows), ledger, now)
    taken = judged.filter(pl.col("defect").is_null())
    findings = _findings(judged, outcomes)
    log = (
        taken.sort("source_file")
        .unique(OUTREACH_LOG.key, keep="first", maintain_order=True)
        .select(*OUTREACH_LOG.schema.columns)
    )
    with warehouse.transaction() as session, session.frames(log_rows=log, finding_rows=findings):
        session.replace(OUTREACH_LOG, "select * from log_rows")
        session.replace(OUTREACH_FINDINGS, "select * from finding_rows")
    return OutreachReport(
        files=outcomes.files,
        rows_read=rows.height,
        rows_taken=taken["number"].n_unique(),
        rows=log.height,
        customers=_customers(log),
        findings=dict(findings.group_by("reason").len().sort("reason").iter_rows()),
        findings_file=_write_findings(shop, findings),
        new_refusals=new_refusals,
    )


# --- files ------------------------------------------------------------------------------------------


def _read(shop: Shop) -> _Outcomes:
    outcomes = _Outcomes()
    region = phone_region(shop.shop.timezone)
    try:
        paths = outcome_files(shop)
    except SuppressionError as error:
        outcomes.troubles.append((f"{shop.outreach_dir.name}/", "stops_the_recall", str(error)))
        return outcomes
    for path in paths:
        outcomes.files += 1
        try:
            sheets = read_outcomes(path)
            outcomes.sheets += sheets
            for sheet in sheets:
                require_identity(sheet, sheet.frame.filter(may_be_refused()), region)
        except SuppressionError as error:
            outcomes.troubles.append((_name(shop, path), "stops_the_recall", str(error)))
    return outcomes


def _keep(shop: Shop, ledger: Ledger, outcomes: _Outcomes) -> int:
    try:
        return keep_refusals(shop, ledger, outcomes.sheets)
    except SuppressionError as error:
        outcomes.troubles.append((f"{shop.suppression_dir.name}/", "refusals_not_kept", str(error)))
        return 0


def _name(shop: Shop, path: Path) -> str:
    return path.relative_to(shop.home).as_posix()


def _rows(shop: Shop, outcomes: _Outcomes) -> pl.DataFrame:
    """The rows of all files as text, each with its number and what the file's name says."""
    frames = [
        sheet.frame.with_columns(
            pl.lit(_name(shop, sheet.path)).alias("source_file"),
            pl.lit(sheet.name).alias("sheet"),
            pl.lit(_date_in(sheet.path.stem), pl.Date).alias("week_in_name"),
            pl.lit(_channel_in(sheet.path.stem), pl.String).alias("channel_in_name"),
        ).select(pl.col(name).cast(dtype) for name, dtype in _ROW_SCHEMA.items())
        for sheet in outcomes.sheets
    ]
    return pl.concat([pl.DataFrame(schema=_ROW_SCHEMA), *frames]).with_row_index("number")


def _date_in(name: str) -> date | None:
    """The first date in a file's name, such as the week of a work list."""
    for found in _DATE_IN_NAME.finditer(name):
        try:
            return date(*map(int, found.groups()))
        except ValueError:
            continue
    return None


def _channel_in(name: str) -> str | None:
    """The channel that a file's name speaks of, such as that of a text-message platform's report."""
    words = _WORD_IN_NAME.findall(name.lower())
    found = {CONTACT_WORDS[word] for word in words if word in CONTACT_WORDS}
    return found.pop() if len(found) == 1 else None


def _moment(column: str) -> pl.Expr:
    """A time as people and spreadsheets write it, to the second; null if it is none."""
    text = pl.col(column).str.replace_all(r"[/.年月](\d)", "-$1").str.replace("日", "")
    spelled = text.str.replace(r"(\d)T(\d)", "$1 $2").str.strip_chars()
    # a spreadsheet's fractions of a second come back with dashes for points
    whole = spelled.str.replace(r"(:\d\d)-\d+$", "$1")
    return pl.coalesce(whole.str.to_datetime(form, strict=False, time_unit="us") for form in _TIMES)


# --- rows against the lists -------------------------------------------------------------------------


def _whose(warehouse: Warehouse, shop: Shop, rows: pl.DataFrame) -> pl.DataFrame:
    """(number, customer_id): the customer a row names, or else everybody with its phone or e-mail."""
    named = rows.select("number", "customer_id").drop_nulls()
    nameless = rows.filter(pl.col("customer_id").is_null())
    if nameless.is_empty():
        return named
    region = phone_region(shop.shop.timezone)
    asked = nameless.select(pl.col("number").alias("row"), *CUSTOMER_NAMES)
    order_contacts = read_order_contacts(warehouse)
    everybody = read_people(shop, order_contacts)
    found = customers_by_address(readable(asked, region), everybody, order_contacts, region)
    return pl.concat([named, found.rename({"row": "number"}).unique()])


def _judged(rows: pl.DataFrame, whose: pl.DataFrame, ledger: Ledger, now: datetime) -> pl.DataFrame:
    """The rows with week, customer_id, arm, outcome, channel and reached_at, and what is wrong with each.

    ``defect`` is null for a row that is taken. A row of several customers stands there once for each of them.
    """
    listed = ledger.assignments(columns=("week", "customer_id", "arm", "coupon_code"))
    weeks = listed.select("week").unique()
    by_coupon = listed.select("coupon_code", pl.col("week").alias("week_of_coupon")).drop_nulls()
    dated = rows.join(by_coupon, on="coupon_code", how="left").with_columns(
        pl.when(pl.col("week").is_not_null())
        .then(_moment("week").dt.date())
        .otherwise(pl.coalesce("week_in_name", "week_of_coupon"))
        .alias("week")
    )
    arms = listed.select("week", "customer_id", "arm")
    people = dated.select("number", "week").join(whose, on="number").join(arms, on=["week", "customer_id"])
    # a phone that two customers share was called for the one who is to be contacted
    meant = people.filter((pl.col("arm") == RECALL) | (pl.col("arm") == HOLDOUT).all().over("number")).drop(
        "week"
    )
    read = (
        dated.drop("customer_id")
        .join(meant, on="number", how="left")
        .with_columns(
            outcome().alias("outcome"),
            pl.coalesce("channel", "channel_in_name")
            .str.to_lowercase()
            .replace_strict(CONTACT_WORDS, default=None)
            .alias("channel"),
            pl.col("reached_at").is_not_null().alias("has_time"),
            _moment("reached_at").alias("reached_at"),
        )
    )
    opens = pl.col("week").cast(TIME) + pl.duration(days=7)
    return read.with_columns(
        pl.coalesce(
            _if(~pl.col("week").is_in(weeks["week"].implode()).fill_null(False), "unknown_week"),
            _if(pl.col("arm").is_null(), "not_on_the_list"),
            _if(pl.col("outcome").is_null(), "outcome_not_understood"),
            _if(pl.col("channel").is_null(), "channel_not_understood"),
            _if(pl.col("has_time") & pl.col("reached_at").is_null(), "time_not_understood"),
            _if(pl.col("reached_at") < opens, "before_the_list"),
            _if(pl.col("reached_at") > now, "in_the_future"),
        ).alias("defect")
    )


def _if(condition: pl.Expr, reason: str) -> pl.Expr:
    return pl.when(condition).then(pl.lit(reason))


def _findings(judged: pl.DataFrame, outcomes: _Outcomes) -> pl.DataFrame:
    """What somebody must look at: rows not taken, contacts of the hold-out, files that can't be read."""
    # a hold-out customer who was contacted is the alarm, whatever else is wrong
    reason = pl.when(pl.col("arm") == HOLDOUT).then(pl.lit("holdout")).otherwise(pl.col("defect"))
    columns = {name: where for name, (where, _) in FINDINGS.items()}
    expected = {name: words for name, (_, words) in FINDINGS.items()}
    rows = judged.with_columns(reason.alias("reason")).filter(pl.col("reason").is_not_null())
    bad_rows = rows.with_columns(
        pl.col("row").alias("row_no"),
        pl.col("reason").replace_strict(columns, return_dtype=pl.String).alias("column_name"),
        pl.col("reason").replace_strict(expected, return_dtype=pl.String).alias("expected"),
    ).select(*_FINDING_COLUMNS)
    bad_files = pl.DataFrame(
        [
            {"source_file": name, "sheet": "", "row_no": 0, "reason": reason, "expected": words}
            for name, reason, words in outcomes.troubles
        ],
        schema={name: bad_rows.schema[name] for name in _FINDING_COLUMNS},
    )
    return pl.concat([bad_files, bad_rows]).sort("source_file", "sheet", "row_no")


def _customers(log: pl.DataFrame) -> dict[str, int]:
    """Customers of a list by what came of it; who was reached, by channel."""
    pairs = log.with_columns(
        pl.when(pl.col("outcome") == REACHED)
        .then(pl.concat_str(pl.lit("reached_"), "channel"))
        .otherwise(pl.col("outcome"))
        .alias("what")
    )
    counted = pairs.unique(["week", "customer_id", "what"]).group_by("what").len().sort("what")
    return dict(counted.iter_rows())


def _write_findings(shop: Shop, findings: pl.DataFrame) -> Path | None:
    """Writes which rows to look at, 0600; the file goes when there are none."""
    path = findings_path(shop)
    if findings.is_empty():
        path.unlink(missing_ok=True)
        return None
    shown = findings.select("source_file", "sheet", "row_no", "column_name", "reason", "expected").unique(
        maintain_order=True
    )
    buffer = io.BytesIO()
    shown.write_csv(buffer, include_bom=True)
    replace_files(shop.out_dir, {path: buffer.getvalue()}, mode=0o600)
    return path
