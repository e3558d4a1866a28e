"""Reading a shop's changed orders from its database, beside the database's own client with the same rows.

Both write a file on the same disk, from the same server in the same run: ``fetch_changes`` as a run of the
pipeline calls it, with its counts before the read, and ``psql \\copy`` or ``mariadb --batch --quick`` with
the query for exactly those rows.
"""

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import Timing, alternate, comparison, machine, say, timed, write
from rfm_pipeline.ingest.databases.incremental import fetch_changes
from rfm_pipeline.shop import DatabaseSection
from rfm_pipeline_tests.ingest.databases.servers import DATABASE, PASSWORD, SERVERS, USER, Server

ZONE = "Asia/Shanghai"
URL = "RFM_ORDERS_URL"
NAMES = {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}
CLIENTS = {"postgresql": "`psql \\copy … csv`", "mariadb": "`mariadb --batch --quick`"}
LINES_AN_ORDER = 3
COLUMNS = (
    "order_id, line_no, customer_id, ordered_at, line_type, sku, product_name, quantity, unit_price, "
    "list_price, amount, refunded_amount, refunded_at, is_clearance, order_status"
)
FIRST = "timestamp '2024-01-01 00:00:00'"
SECONDS_AN_ORDER = 90
TABLES = {
    "postgresql": """
        create table order_items as
        select
            'O' || lpad((i / 3)::text, 9, '0') as order_id,
            (i % 3 + 1)::int as line_no,
            'C' || lpad((i / 3 * 7919 % 250000)::text, 7, '0') as customer_id,
            {first} + (i / 3) * interval '{seconds} seconds' as ordered_at,
            'sale'::varchar(10) as line_type,
            'SKU-' || (i * 31 % 5000) as sku,
            '手工陶瓷茶具 No. ' || (i * 31 % 5000) || '，"青"色, 250ml' as product_name,
            (i % 4 + 1)::int as quantity,
            ((i * 17 % 90000 + 100) / 100.0)::numeric(12, 2) as unit_price,
            ((i * 17 % 90000 + 100) / 80.0)::numeric(12, 2) as list_price,
            ((i * 17 % 90000 + 100) * (i % 4 + 1) / 100.0)::numeric(12, 2) as amount,
            (case when i % 20 = 0 then 1 else 0 end)::numeric(12, 2) as refunded_amount,
            case when i % 20 = 0 then {first} + (i / 3) * interval '{seconds} seconds' end as refunded_at,
            (i % 9 = 0)::int as is_clearance,
            'paid'::varchar(10) as order_status,
            {first} + (i / 3) * interval '{seconds} seconds' as updated_at
        from generate_series(0::bigint, {rows} - 1) i
    """,
    "mariadb": """
        create table order_items as
        select
            concat('O', lpad(seq div 3, 9, '0')) as order_id,
            seq % 3 + 1 as line_no,
            concat('C', lpad(seq div 3 * 7919 % 250000, 7, '0')) as customer_id,
            {first} + interval (seq div 3) * {seconds} second as ordered_at,
            cast('sale' as char(10)) as line_type,
            concat('SKU-', seq * 31 % 5000) as sku,
            concat('手工陶瓷茶具 No. ', seq * 31 % 5000, '，"青"色, 250ml') as product_name,
            seq % 4 + 1 as quantity,
            cast((seq * 17 % 90000 + 100) / 100.0 as decimal(12, 2)) as unit_price,
            cast((seq * 17 % 90000 + 100) / 80.0 as decimal(12, 2)) as list_price,
            cast((seq * 17 % 90000 + 100) * (seq % 4 + 1) / 100.0 as decimal(12, 2)) as amount,
            cast(seq % 20 = 0 as decimal(12, 2)) as refunded_amount,
            if(seq % 20 = 0, {first} + interval (seq div 3) * {seconds} second, null) as refunded_at,
            seq % 9 = 0 as is_clearance,
            cast('paid' as char(10)) as order_status,
            {first} + interval (seq div 3) * {seconds} second as updated_at
        from seq_0_to_{last}
    """,
}
INDEXES = (
    "create index order_items_order on order_items (order_id)",
    "create index order_items_updated on order_items (updated_at)",
)
ANALYZE = {"postgresql": "vacuum analyze order_items", "mariadb": "analyze table order_items"}
CHANGED = (
    f"select {COLUMNS} from order_items where order_id in "
    "(select order_id from order_items where updated_at >= '{bound}')"
)


def make_orders(server: Server, rows: int) -> None:
    statement = TABLES[server.scheme].format(first=FIRST, seconds=SECONDS_AN_ORDER, rows=rows, last=rows - 1)
    wall, _ = timed(lambda: server.execute(statement, *INDEXES, ANALYZE[server.scheme]))
    say(f"{server.scheme}: {rows:,} rows made in {wall:.1f} s")


def bound_before(server: Server, unchanged: int) -> str:
    """The time from which on all rows but the first ones count as changed."""
    order = unchanged // LINES_AN_ORDER
    step = (
        f"interval '{order * SECONDS_AN_ORDER} seconds'"
        if server.scheme == "postgresql"
        else f"interval {order * SECONDS_AN_ORDER} second"
    )
    function = "to_char({}, 'YYYY-MM-DD HH24:MI:SS')" if server.scheme == "postgresql" else "cast({} as char)"
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute(f"select {function.format(f'{FIRST} + {step}')}")
        return str(cursor.fetchone()[0])


def client(server: Server, query: str, target: Path) -> Callable[[], object]:
    """The database's own command-line client, exporting a query into a file."""
    if server.scheme == "postgresql":
        copy = f"\\copy ({query}) to '{target}' with (format csv, header)"
        command = ["psql", server.url(), "--no-psqlrc", "--quiet", "--command", copy]
        return lambda: subprocess.run(command, check=True)
    command = ["mariadb", "--no-defaults", "--batch", "--quick", "--default-character-set=utf8mb4"]
    command += ["--host=127.0.0.1", f"--port={server.port}", f"--user={USER}", DATABASE, "--execute", query]

    def export() -> None:
        with target.open("wb") as file:
            subprocess.run(command, check=True, stdout=file, env=os.environ | {"MYSQL_PWD": PASSWORD})

    return export


def lines_of(path: Path) -> int:
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))


def compare(server: Server, folder: Path, bound: str | None, rows: int, rounds: int) -> list[Timing]:
    """Times both ways, and requires that both give as many rows as there are.

    Args:
        server: With its table made.
        folder: For the files.
        bound: The time from which on a row counts as changed; None for all rows.
        rows: How many there are.
        rounds: How often.
    """
    os.environ[URL] = server.url()
    section = DatabaseSection(table="order_items", overlap_minutes=0)
    exported = folder / "exported"
    query = f"select {COLUMNS} from order_items" if bound is None else CHANGED.format(bound=bound)
    timings = alternate(
        {
            CLIENTS[server.scheme]: client(server, query, exported),
            "`fetch_changes`": lambda: fetch_changes(section, ZONE, bound, folder, say),
        },
        rounds,
    )
    for path in (exported, folder / "orders_from_database.csv"):
        if (found := lines_of(path)) != rows + 1:
            raise SystemExit(f"{path.name} has {found - 1:,} rows, not {rows:,}")
    return timings


def text_of(server: Server, folder: Path, rows: int, changed: int, rounds: int) -> str:
    """Makes the table and times both reads."""
    make_orders(server, rows)
    parts = [f"## {version_of(server)}"]
    bound = bound_before(server, rows - changed)
    for title, since, count in (
        (f"{changed:,} changed rows of {rows:,}", bound, changed),
        (f"The first read: all {rows:,} rows", None, rows),
    ):
        timings = compare(server, folder, since, count, rounds)
        parts.append(f"{title}:\n\n{comparison(timings, base=timings[0])}")
    return "\n\n".join(parts)


def version_of(server: Server) -> str:
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("select version()")
        version = str(cursor.fetchone()[0])
    number = next(word for word in version.replace("-", " ").split() if word[0].isdigit())
    return f"{NAMES[server.scheme]} {number}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_500_000, help="order lines in the table")
    parser.add_argument("--changed", type=int, default=1_000_000, help="of them, those that changed")
    parser.add_argument("--rounds", type=int, default=5, help="times that each way is run")
    arguments = parser.parse_args()
    rows, changed = (
        count // LINES_AN_ORDER * LINES_AN_ORDER for count in (arguments.rows, arguments.changed)
    )
    parts = [
        "# Databases",
        machine("psycopg", "pymysql"),
        f"{COLUMNS.count(',') + 1} columns, three rows an order, an index on order_id and one on updated_at; "
        f"{arguments.rounds} rounds in turn. The server runs on the same machine; processor time is the "
        "reader's alone, not the server's.",
    ]
    for start in SERVERS.values():
        with tempfile.TemporaryDirectory() as folder, start() as server:
            parts.append(text_of(server, Path(folder), rows, changed, arguments.rounds))
    write("databases", "\n\n".join(parts))


if __name__ == "__main__":
    main()
