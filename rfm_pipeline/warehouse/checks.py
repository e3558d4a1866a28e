"""Data-quality checks as SQL, and their stored verdicts.

A check is one query that counts what is wrong. Its verdict is kept in the table ``data_checks``, so that
code that acts on the data re-reads it instead of trusting that the check ran. The checks themselves are in
the stages' ``checks.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from rfm_pipeline.warehouse.duckdb import Session
from rfm_pipeline.warehouse.schema import Table

MINE = "week in (select week from target_weeks)"
"""The condition by which a check of a weekly table looks at the weeks asked for."""

_VERDICTS = """
create table if not exists data_checks (
    table_name varchar not null, check_name varchar not null, week date,
    passed boolean not null, blocking boolean not null, figure double not null
)
"""


@dataclass(frozen=True)
class TableCheck:
    """A question to a table that a number answers.

    Attributes:
        table: The table it is about.
        name: What it is called in the UI.
        description: What must hold, in a sentence.
        sql: A SELECT of one row. Its first column is the number that is judged, further columns are
            figures to show. Finds the weeks in ``target_weeks``.
        blocking: Whether nothing downstream may run, and nothing may be sent, when it fails.
        limit: The check passes while the number is at most this.
    """

    table: str
    name: str
    description: str
    sql: str
    blocking: bool = True
    limit: float = 0


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        check: The check.
        passed: Whether it holds.
        figures: Every column of its row by name.
    """

    check: TableCheck
    passed: bool
    figures: dict[str, Any]


def unique_key(table: Table, beside: Table | None = None, only: str | None = None) -> TableCheck:
    """No two rows of a table have the same key.

    Args:
        table: The table.
        beside: The table whose asset makes it, if it is a side table.
        only: A condition on the rows to look at; by default all, of a weekly table those of its weeks.
    """
    key = ", ".join(table.key)
    condition = only or (MINE if table.weekly else None)
    where = f"where {condition}" if condition else ""
    return TableCheck(
        table=(beside or table).name,
        name=f"{table.name}_unique_key" if beside else "unique_key",
        description=f"No two rows of {table.name} have the same {key}.",
        sql=f"""
            select coalesce(sum(n) - count(*), 0) as duplicated_rows
            from (select count(*) as n from {table.name} {where} group by {key} having count(*) > 1)
        """,
    )


def run_checks(
    session: Session, checks: Sequence[TableCheck], weeks: Sequence[date], params: Mapping[str, Any]
) -> list[Verdict]:
    """Answers the checks and stores their verdicts, for every week asked for.

    Args:
        session: An open transaction.
        checks: The checks of one table.
        weeks: The weeks in ``target_weeks``; empty for a table that isn't weekly.
        params: Values for the queries' ``$names``.
    """
    session.target(weeks)
    session.execute(_VERDICTS)
    verdicts = []
    for check in checks:
        figures = session.answer(check.sql, params)
        number = float(next(iter(figures.values())) or 0)
        verdict = Verdict(check, number <= check.limit, figures)
        verdicts.append(verdict)
        _store(session, verdict, number, weeks)
    return verdicts


def _store(session: Session, verdict: Verdict, number: float, weeks: Sequence[date]) -> None:
    row = {
        "table_name": verdict.check.table,
        "check_name": verdict.check.name,
        "passed": verdict.passed,
        "blocking": verdict.check.blocking,
        "figure": number,
    }
    mine = "table_name = $table_name and check_name = $check_name"
    if weeks:
        session.execute(f"delete from data_checks where {mine} and {MINE}", row)
        session.execute(
            "insert into data_checks by name select $table_name as table_name, $check_name as check_name, "
            "week, $passed as passed, $blocking as blocking, $figure as figure from target_weeks",
            row,
        )
    else:
        session.execute(f"delete from data_checks where {mine}", row)
        session.execute(
            "insert into data_checks by name select $table_name as table_name, $check_name as check_name, "
            "null::date as week, $passed as passed, $blocking as blocking, $figure as figure",
            row,
        )


def stored_verdicts(session: Session, week: date) -> dict[tuple[str, str], bool]:
    """The verdicts that count for a week: its own, and those of the tables that aren't weekly."""
    if not session.has("data_checks"):
        return {}
    rows = session.execute(
        "select table_name, check_name, passed from data_checks where week is null or week = $week",
        {"week": week},
    )
    return {(table, check): passed for table, check, passed in rows.fetchall()}
