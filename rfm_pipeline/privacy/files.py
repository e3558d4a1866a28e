"""One person in files that people open: ``contacts/``, ``outreach/`` and ``out/``.

A CSV file loses the person's rows in one step and keeps the rest as it was. What can't be written so is
named for somebody to see to (workbooks of contacts and outcomes, also work lists that the team wrote into),
or goes as a whole, because a run makes it again (outputs).
"""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from rfm_pipeline.contacts.outcome_files import outcome_files
from rfm_pipeline.contacts.phones import normalised_phones
from rfm_pipeline.contacts.sheets import Sheet, known_columns, read_sheets, replace_csv, sheet_files
from rfm_pipeline.contacts.vocabulary import CONTACT_NAMES
from rfm_pipeline.errors import SuppressionError
from rfm_pipeline.privacy.person import Person
from rfm_pipeline.shop import Shop
from rfm_pipeline.storage.atomic_files import staging_folder

ROW_TEXT = "row_text"
"""The column of a list of rejected rows that holds what stood in a row."""


@dataclass(frozen=True)
class InContacts:
    """One person in what the shop wrote itself: ``contacts/``, ``outreach/``, work lists filled in in place.

    Attributes:
        rows: Rows that go, by CSV file.
        in_workbooks: Rows in workbooks, by file: to be removed by hand.
        unreadable: Files in which nobody can be looked for.
    """

    rows: dict[Path, int] = field(default_factory=dict)
    in_workbooks: dict[Path, int] = field(default_factory=dict)
    unreadable: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class InOutputs:
    """One person in ``out/``.

    Attributes:
        rows: Rows that go, by CSV file.
        whole: Files of other kinds that name the person: they go as a whole.
    """

    rows: dict[Path, int] = field(default_factory=dict)
    whole: list[Path] = field(default_factory=list)


# --- contacts ---------------------------------------------------------------------------------------


def _contact_sheets(shop: Shop) -> tuple[list[Sheet], list[Path]]:
    """The tables of ``outreach/`` and ``contacts/``, and the files that can't be read.

    The contacts last: by the addresses in them the person is found in the others.
    """
    sheets: list[Sheet] = []
    unreadable = []
    for path in [*outcome_files(shop), *sheet_files(shop.contacts_dir)]:
        found = _sheets_of(path)
        sheets += found
        if not found:
            unreadable.append(path)
    return sheets, unreadable


def _sheets_of(path: Path) -> list[Sheet]:
    """The tables of a file whose columns are known; none if it can't be read."""
    try:
        sheets = read_sheets(path)
        for sheet in sheets:
            known_columns(sheet, CONTACT_NAMES)
    except SuppressionError:
        return []
    return sheets


def addresses_in_contacts(shop: Shop, customer_id: str, region: str) -> list[pl.Series]:
    """The phones and e-mails that ``contacts/`` and ``outreach/`` have of a customer, as they stand there."""
    nameless = Person(customer_id)
    return [
        _column(sheet, name).filter(_mine(sheet, nameless, region))
        for sheet in _contact_sheets(shop)[0]
        for name in ("phone", "email")
    ]


def find_in_contacts(shop: Shop, person: Person, region: str) -> InContacts:
    """Counts a person's rows in the files of contacts and outcomes."""
    sheets, unreadable = _contact_sheets(shop)
    rows: dict[Path, int] = {}
    workbooks: dict[Path, int] = {}
    for sheet in sheets:
        n = int(_mine(sheet, person, region).sum())
        if n:
            of_kind = workbooks if sheet.dialect is None else rows
            of_kind[sheet.path] = of_kind.get(sheet.path, 0) + n
    return InContacts(rows, workbooks, unreadable)


def clear_contacts(found: InContacts, person: Person, region: str) -> None:
    """Takes the person's rows out of the CSV files of ``outreach/`` and ``contacts/``."""
    for path in found.rows:
        _remove_rows(path, path.parent, person, region)


# --- outputs ----------------------------------------------------------------------------------------


def find_in_outputs(shop: Shop, person: Person, region: str) -> InOutputs:
    """Counts a person's rows in the CSV files of ``out/`` and finds the other files that name the person."""
    rows: dict[Path, int] = {}
    whole = []
    written_into = set(outcome_files(shop))
    for path in sorted(shop.out_dir.rglob("*")):
        if not path.is_file() or ".staging" in path.parts or path in written_into:
            continue
        sheets = _sheets_of(path) if path.suffix.lower() == ".csv" else []
        if sheets and _is_by_rows(sheets[0]):
            n = int(_mine(sheets[0], person, region).sum())
            if n:
                rows[path] = n
        elif any(person.is_in(text) for text in _texts_of(path)):
            whole.append(path)
    return InOutputs(rows, whole)


def _is_by_rows(sheet: Sheet) -> bool:
    """Whether each row of a table names its person."""
    return ROW_TEXT in sheet.frame.columns or "customer_id" in known_columns(sheet, CONTACT_NAMES)


def _texts_of(path: Path) -> Iterator[str]:
    """What can be read in a file as text: its own, or its parts' if it is a workbook or another archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            contents = [archive.read(name) for name in archive.namelist()]
    else:
        contents = [path.read_bytes()]
    for content in contents:
        if b"\0" not in content:
            yield content.decode("utf-8", errors="replace")


def clear_outputs(shop: Shop, found: InOutputs, person: Person, region: str) -> None:
    """Takes the person's rows out of the CSV files of ``out/`` and deletes the other files that name them."""
    if (shop.out_dir / ".staging").exists():
        with staging_folder(shop.out_dir):
            # what killed processes left there is gone now
            pass
    for path in found.rows:
        _remove_rows(path, shop.out_dir, person, region)
    for path in found.whole:
        path.unlink(missing_ok=True)


# --- tables of either -------------------------------------------------------------------------------


def _column(sheet: Sheet, name: str) -> pl.Series:
    """A column by our name, all null if the table has none such."""
    column = known_columns(sheet, CONTACT_NAMES).get(name)
    if column is None:
        return pl.repeat(None, sheet.frame.height, dtype=pl.String, eager=True).alias(name)
    return sheet.frame[column].str.strip_chars().replace("", None).alias(name)


def _mine(sheet: Sheet, person: Person, region: str) -> pl.Series:
    """Which rows of a table are the person's: by id, by address where a row has no id, or by their text."""
    if ROW_TEXT in sheet.frame.columns:
        return person.is_in_any(sheet.frame[ROW_TEXT])
    columns = pl.DataFrame([_column(sheet, name) for name in ("customer_id", "phone", "email")])
    ids = pl.col("customer_id")
    by_address = _any_ends("phone", person.digits) | pl.col("email").str.to_lowercase().is_in(person.emails)
    mine = (ids == person.customer_id) | (ids.is_null() & by_address.fill_null(False))
    spelled = columns.with_columns(normalised_phones(columns["phone"], region))
    return spelled.select(mine.fill_null(False).alias("mine"))["mine"]


def _any_ends(column: str, ends: Sequence[str]) -> pl.Expr:
    return pl.any_horizontal(pl.lit(False), *(pl.col(column).str.ends_with(end) for end in ends))


def _remove_rows(path: Path, beside: Path, person: Person, region: str) -> None:
    """Takes the person's rows out of a CSV file; the rest stays as it was."""
    [sheet] = read_sheets(path)
    replace_csv(replace(sheet, frame=sheet.frame.filter(~_mine(sheet, person, region))), beside)
