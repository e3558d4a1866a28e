"""The stages' SQL in Spark's dialect: sqlglot, and the few rules of our own where it falls short.

The SQL files are DuckDB's and are not written a second time. What a rule here changes is how a thing is said;
where the two engines would say another thing (a null's place, a rounding), the rule says which it is.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import sqlglot
from sqlglot import exp

from rfm_pipeline.weeks import week_of

Evaluate = Callable[[str], Any]
"""Answers a query that needs nothing but ``target_weeks``: its first column, as a list."""

TARGET = "target_weeks"
# a table's time from which its partition column follows
IMPLIED_WEEKS = {("order_lines", "order_at"): "week"}


def tables_of(sql: str) -> set[str]:
    """The tables that a statement reads, without those it makes itself on the way."""
    tree = sqlglot.parse_one(sql, read="duckdb")
    made = {cte.alias for cte in tree.find_all(exp.CTE)}
    return {table.name for table in tree.find_all(exp.Table)} - made - {""}


def to_spark(sql: str, params: Mapping[str, Any], evaluate: Evaluate) -> str:
    """A statement in Spark's dialect, with values in the places of its ``$names``.

    Args:
        sql: A SELECT in DuckDB's dialect.
        params: The values; those that the statement doesn't name are ignored.
        evaluate: Answers what only depends on the weeks asked for, so that Spark sees dates where
            it would see a query, and opens the partitions of those weeks only.

    Raises:
        KeyError: If the statement names a value that isn't given.
    """
    tree = sqlglot.parse_one(sql, read="duckdb")
    # the writer lays out the rows
    tree.set("order", None)
    tree = tree.transform(lambda node: _with_value(node, params))
    _answer_beforehand(tree, evaluate)
    _add_implied_weeks(tree)
    return tree.transform(_said_otherwise).sql(dialect="spark", comments=False)


# Values


def _with_value(node: exp.Expr, params: Mapping[str, Any]) -> exp.Expr:
    if isinstance(node, exp.Placeholder | exp.Parameter):
        return literal(params[node.name])
    return node


def literal(value: Any) -> exp.Expr:
    """A value as written in a statement, with its type.

    Raises:
        TypeError: If it is of a kind that no statement of ours takes.
    """
    match value:
        case None:
            return exp.Null()
        case bool():
            return exp.Boolean(this=value)
        case int() | float():
            return exp.Literal.number(value)
        case str():
            return exp.Literal.string(value)
        case Decimal():
            return _cast(format(value, "f"), _decimal_type(value))
        case datetime():
            return _cast(value.isoformat(sep=" "), "TIMESTAMP")
        case date():
            return _cast(value.isoformat(), "DATE")
    raise TypeError(f"no value of a statement: {type(value).__name__}")


def _cast(text: str, to: str) -> exp.Cast:
    return exp.cast(exp.Literal.string(text), to, dialect="duckdb")


def _decimal_type(value: Decimal) -> str:
    _, digits, exponent = value.as_tuple()
    scale = max(0, -int(exponent))
    return f"DECIMAL({max(len(digits) + max(0, int(exponent)), scale + 1)}, {scale})"


# What depends on nothing but the weeks asked for


def _answer_beforehand(tree: exp.Expr, evaluate: Evaluate) -> None:
    ctes = {cte.alias: cte for cte in tree.find_all(exp.CTE)}
    known: list[exp.CTE] = []
    for cte in ctes.values():
        if _needs_only(cte.this, {TARGET} | {other.alias for other in known}):
            known.append(cte)
    names = {TARGET} | {cte.alias for cte in known}
    for subquery in list(_asked_for_values(tree)):
        query = subquery.this if isinstance(subquery, exp.Subquery) else subquery.args["query"].this
        if _needs_only(query, names) and subquery.find_ancestor(exp.CTE) not in known:
            values = evaluate(_with_ctes(query, known))
            if isinstance(subquery, exp.Subquery):
                subquery.replace(literal(values[0]))
            else:
                subquery.set("query", None)
                subquery.set("expressions", [literal(value) for value in values])


def _asked_for_values(tree: exp.Expr) -> Iterator[exp.Expr]:
    """Subqueries that stand for a value, and those in which a value is looked for."""
    for node in tree.find_all(exp.Subquery, exp.In):
        if isinstance(node, exp.In):
            if isinstance(node.args.get("query"), exp.Subquery):
                yield node
        elif not isinstance(node.parent, exp.From | exp.Join | exp.In):
            yield node


def _needs_only(query: exp.Expr, names: set[str]) -> bool:
    used = {table.name for table in query.find_all(exp.Table)}
    return bool(used) and used <= names


def _with_ctes(query: exp.Expr, ctes: list[exp.CTE]) -> str:
    used = {table.name for table in query.find_all(exp.Table)}
    parts = [f"{cte.alias} as ({cte.this.sql('duckdb')})" for cte in ctes if cte.alias in used]
    return f"{'with ' + ', '.join(parts) if parts else ''} {query.sql('duckdb')}"


# Partitions


def _add_implied_weeks(tree: exp.Expr) -> None:
    """Says of a line between two times in which weeks it lies: other weeks' files aren't opened."""
    kinds: dict[type[exp.Expr], type[exp.Binary]] = {
        exp.GT: exp.GTE,
        exp.GTE: exp.GTE,
        exp.LT: exp.LTE,
        exp.LTE: exp.LTE,
    }
    for node in list(tree.find_all(*kinds)):
        assert isinstance(node, exp.Binary)
        day = _day_of(node.right)
        week = _week_column(node.left)
        if day is None or week is None:
            continue
        implied = kinds[type(node)](this=week, expression=literal(week_of(day)))
        node.replace(exp.Paren(this=exp.and_(node.copy(), implied)))


def _week_column(column: exp.Expr) -> exp.Column | None:
    if not isinstance(column, exp.Column):
        return None
    select = column.find_ancestor(exp.Select)
    if select is None:
        return None
    sources = [source for source in select.find_all(exp.Table) if source.parent_select is select]
    for source in sources:
        week = IMPLIED_WEEKS.get((source.name, column.name))
        if week and (column.table == source.alias_or_name or (not column.table and len(sources) == 1)):
            return exp.column(week, table=column.table or None)
    return None


def _day_of(node: exp.Expr) -> date | None:
    if not (isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal) and node.this.is_string):
        return None
    if not node.is_type("date", "timestamp"):
        return None
    return datetime.fromisoformat(node.this.name).date()


# What Spark says in other words


def _said_otherwise(node: exp.Expr) -> exp.Expr:
    match node:
        case exp.ArgMax() | exp.ArgMin():
            # DuckDB passes over rows whose wanted value is null, Spark over those whose measure is
            measured = exp.If(this=exp.Not(this=_is_null(node.this)), true=node.expression)
            node.set("expression", exp.Case(ifs=[measured]))
        case exp.Anonymous() if node.name.lower() == "hash":
            # Spark's passes over nulls: it wouldn't tell (1, null) from (null, 1)
            parts = [part for value in node.expressions for part in (value, _is_null(value))]
            return exp.Anonymous(this="xxhash64", expressions=parts)
        case exp.Concat():
            # as texts: Spark would compare the types of the parts
            node.set("expressions", [exp.cast(part, "TEXT") for part in node.expressions])
    return node


def _is_null(node: exp.Expr) -> exp.Is:
    return exp.Is(this=node.copy(), expression=exp.Null())
