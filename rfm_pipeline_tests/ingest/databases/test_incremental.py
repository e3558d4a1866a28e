"""The shop's own database as a source, on real servers: what is read, when, as which text, and what fails."""

import csv
import random
import re
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rfm_pipeline.errors import OrderDatabaseError
from rfm_pipeline.ingest.databases import incremental as database_module
from rfm_pipeline.ingest.databases.incremental import Changes, fetch_changes
from rfm_pipeline.ingest.files.reading import open_source, read_rows
from rfm_pipeline.ingest.presets import load_preset
from rfm_pipeline.shop import DatabaseSection
from rfm_pipeline_tests.ingest.databases.servers import EACH_SERVER, PASSWORD, SERVERS, USER, Server

ZONE = "Asia/Shanghai"
URL = "RFM_ORDERS_URL"
NAMES = count(1)
HAVE_LONDON: set[Path] = set()
TIME_TYPES = {
    "postgresql": {"local": "timestamp", "instant": "timestamptz"},
    "mariadb": {"local": "datetime(6)", "instant": "timestamp(6) null"},
}
IN_UTC = {"postgresql": "set time zone 'UTC'", "mariadb": "set time_zone = '+00:00'"}
NOON = datetime(2024, 5, 6, 12, 0)


@pytest.fixture(params=EACH_SERVER)
def server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(autouse=True)
def _url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is set for every test that has a server."""
    monkeypatch.delenv(URL, raising=False)
    if "server" in request.fixturenames:
        monkeypatch.setenv(URL, request.getfixturevalue("server").url())


@dataclass
class Read:
    changes: Changes
    rows: list[dict[str, str]]
    said: list[str]

    def column(self, name: str) -> list[str]:
        return sorted(row[name] for row in self.rows)


def fetch(folder: Path, since: str | None = None, zone: str = ZONE, **settings: Any) -> Read:
    said: list[str] = []
    changes = fetch_changes(DatabaseSection(**settings), zone, since, folder / "landing", said.append)
    with changes.path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert changes.rows == len(rows)
    return Read(changes, rows, said)


def failure(folder: Path, say: Callable[[str], None] = print, **settings: Any) -> str:
    """What a read that can't work tells; no file is left, no secret in the traceback."""
    with pytest.raises(OrderDatabaseError) as caught:
        fetch_changes(DatabaseSection(**settings), ZONE, None, folder / "landing", say)
    message = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert PASSWORD not in message
    assert "hush" not in message
    assert not list((folder / "landing").glob("*"))
    assert not list((folder / "landing").glob(".*"))
    return str(caught.value)


def sql_value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, int | Decimal):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def make_table(server: Server, columns: str, rows: Sequence[Sequence[object]], name: str = "") -> str:
    """A table that only this test knows."""
    name = name or f"orders_{next(NAMES)}"
    server.execute(f"create table {name} ({columns})")
    add(server, name, rows)
    return name


def add(server: Server, name: str, rows: Sequence[Sequence[object]]) -> None:
    values = ", ".join(f"({', '.join(sql_value(value) for value in row)})" for row in rows)
    if rows:
        server.execute(IN_UTC[server.scheme], f"insert into {name} values {values}")


def lines_table(server: Server, rows: Sequence[Sequence[object]], kind: str = "local") -> str:
    """A table of order_id, sku, updated_at."""
    columns = f"order_id varchar(20), sku varchar(20), updated_at {TIME_TYPES[server.scheme][kind]}"
    return make_table(server, columns, rows)


def at(minutes: float) -> str:
    """A time near noon, to the microsecond."""
    return (NOON + timedelta(minutes=minutes)).isoformat(" ", "microseconds")


class TestWhatIsRead:
    def test_the_first_read_takes_every_row(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [("o1", "TEA", at(0)), ("o1", "CUP", at(1.5)), ("o2", "TEA", None)])
        read = fetch(tmp_path, table=table)
        assert read.changes.path.read_text("utf-8").splitlines()[0] == "order_id,sku,updated_at"
        assert [(row["order_id"], row["sku"]) for row in read.rows] == [
            ("o1", "TEA"),
            ("o1", "CUP"),
            ("o2", "TEA"),
        ]
        assert datetime.fromisoformat(read.changes.watermark or "") == NOON + timedelta(minutes=1.5)

    def test_the_next_read_takes_the_whole_of_each_changed_order(
        self, server: Server, tmp_path: Path
    ) -> None:
        rows = [("o1", "TEA", at(-600)), ("o1", "CUP", at(-600)), ("o2", "TEA", at(-600))]
        table = lines_table(server, rows)
        first = fetch(tmp_path, table=table, overlap_minutes=0)
        server.execute(f"update {table} set sku = 'POT', updated_at = '{at(0)}' where sku = 'CUP'")
        add(server, table, [("o3", "JAR", at(1))])
        since = at(-1)  # not the watermark, at which all of the first rows stand
        second = fetch(tmp_path, table=table, overlap_minutes=0, since=since)
        assert second.column("sku") == ["JAR", "POT", "TEA"]
        assert second.column("order_id") == ["o1", "o1", "o3"]
        assert first.changes.watermark is not None
        assert datetime.fromisoformat(second.changes.watermark or "") == NOON + timedelta(minutes=1)

    @pytest.mark.parametrize("kind", ["local", "instant"])
    def test_a_row_counts_as_changed_from_the_watermark_less_the_overlap_on(
        self, server: Server, tmp_path: Path, kind: str
    ) -> None:
        since = at(0) + ("+00:00" if kind == "instant" else "")
        rows = [("before", "A", at(-30 - 1e-6 / 60)), ("bound", "A", at(-30)), ("after", "A", at(0))]
        table = lines_table(server, rows, kind)
        read = fetch(tmp_path, table=table, overlap_minutes=30, since=since)
        assert read.column("order_id") == ["after", "bound"]
        assert read.changes.watermark is not None
        assert datetime.fromisoformat(read.changes.watermark) == datetime.fromisoformat(since)

    @pytest.mark.parametrize("since", ["2024-05-06", "2024-05-06 00:00:00"])
    def test_a_date_stands_for_its_whole_day(self, server: Server, tmp_path: Path, since: str) -> None:
        rows = [("before", "2024-05-04"), ("bound", "2024-05-05"), ("after", "2024-05-06")]
        table = make_table(server, "order_id varchar(20), updated_at date", rows)
        read = fetch(tmp_path, table=table, overlap_minutes=60, since=since)
        assert read.column("order_id") == ["after", "bound"]
        assert read.changes.watermark == "2024-05-06"
        assert fetch(tmp_path, table=table, overlap_minutes=0, since=since).column("order_id") == ["after"]

    @pytest.mark.parametrize("seed", range(4))
    def test_random_changes_read_as_a_plain_reading_does(
        self, server: Server, tmp_path: Path, seed: int
    ) -> None:
        draw = random.Random(seed)
        rows: list[tuple[str | None, str, datetime | None]] = [
            (
                None if draw.random() < 0.1 else f"o{draw.randrange(40)}",
                f"s{number}",
                None if draw.random() < 0.2 else NOON + timedelta(microseconds=draw.randrange(3 * 10**8)),
            )
            for number in range(200)
        ]
        table = lines_table(server, rows)
        for since in (NOON + timedelta(seconds=draw.randrange(60, 400)) for _ in range(5)):
            bound = since - timedelta(minutes=1)
            changed = {order for order, _, updated in rows if updated is not None and updated >= bound}
            expected = sorted(
                sku
                for order, sku, updated in rows
                if (order in changed if order else updated is not None and updated >= bound)
            )
            read = fetch(tmp_path, table=table, overlap_minutes=1, since=since.isoformat())
            assert read.column("sku") == expected
            # the newest of those that were read, which are all that are newer than the bound
            newest = max((updated for _, _, updated in rows if updated and updated >= bound), default=since)
            assert datetime.fromisoformat(read.changes.watermark or "") == newest

    def test_a_row_committed_late_is_found(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [("o1", "TEA", at(0))])
        with closing(server.admin()) as late, late.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute(f"insert into {table} values ('late', 'CUP', '{at(1)}')")
            with closing(server.admin()) as quick, quick.cursor() as other:
                other.execute("begin")
                other.execute(f"insert into {table} values ('quick', 'POT', '{at(2)}')")
                other.execute("commit")
            first = fetch(tmp_path, table=table)
            assert first.column("order_id") == ["o1", "quick"]
            cursor.execute("commit")
        since = first.changes.watermark
        assert "late" in fetch(tmp_path, table=table, since=since).column("order_id")
        # without an overlap it would be lost, so the test can fail
        assert "late" not in fetch(tmp_path, table=table, since=since, overlap_minutes=0).column("order_id")

    def test_reading_again_gives_the_same_text(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [(f"o{n % 700}", f"s{n}", at(n / 100)) for n in range(2000)])
        first = fetch(tmp_path, table=table)
        text = first.changes.path.read_bytes()
        assert fetch(tmp_path, table=table).changes.path.read_bytes() == text
        since = first.changes.watermark
        again = fetch(tmp_path, table=table, since=since, overlap_minutes=5)
        assert 0 < again.changes.rows < 2000
        assert again.changes.watermark == since
        text = again.changes.path.read_bytes()
        assert fetch(tmp_path, table=table, since=since, overlap_minutes=5).changes.path.read_bytes() == text

    def test_where_nothing_changed_the_watermark_stays(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [("o1", "TEA", at(0))])
        read = fetch(tmp_path, table=table, since="2024-05-07 00:00:00")
        assert read.rows == []
        assert read.changes.watermark == "2024-05-07 00:00:00"
        assert read.changes.path.read_text("utf-8") == "order_id,sku,updated_at\n"

    def test_an_empty_table_has_no_watermark(self, server: Server, tmp_path: Path) -> None:
        read = fetch(tmp_path, table=lines_table(server, []))
        assert (read.changes.rows, read.changes.watermark, read.said) == (0, None, [])

    @pytest.mark.parametrize("kind", ["table", "query"])
    def test_rows_without_a_time_come_with_their_order_and_are_told_once(
        self, server: Server, tmp_path: Path, kind: str
    ) -> None:
        rows = [("o1", "TEA", at(0)), ("o1", "CUP", None), ("o2", "POT", None)]
        name = lines_table(server, rows)
        source = {"table": name} if kind == "table" else {"query": f"select * from {name}"}
        first = fetch(tmp_path, **source)
        assert first.column("sku") == ["CUP", "POT", "TEA"]
        assert [text.partition(";")[0] for text in first.said] == ["rows without updated_at: 2"]
        later = fetch(tmp_path, since=first.changes.watermark, **source)
        assert later.column("sku") == ["CUP", "TEA"]
        assert len(later.said) == 1

    @pytest.mark.parametrize("kind", ["table", "query"])
    def test_a_time_in_the_future_does_not_stop_later_reads(
        self, server: Server, tmp_path: Path, kind: str
    ) -> None:
        name = lines_table(server, [("o1", "TEA", at(0)), ("o2", "CUP", "2199-01-01 00:00:00")])
        source = {"table": name} if kind == "table" else {"query": f"select * from {name}"}
        first = fetch(tmp_path, **source)
        assert datetime.fromisoformat(first.changes.watermark or "") == NOON
        assert [text.partition(";")[0] for text in first.said] == [
            "rows whose updated_at lies more than a day in the future: 1"
        ]
        add(server, name, [("o3", "POT", at(90))])
        later = fetch(tmp_path, since=first.changes.watermark, **source)
        assert later.column("order_id") == ["o1", "o2", "o3"]
        assert datetime.fromisoformat(later.changes.watermark or "") == NOON + timedelta(minutes=90)

    @pytest.mark.parametrize("since", ["2024-05-06 12:00:00+00:00", "yesterday"])
    def test_a_watermark_of_another_kind_reads_everything(
        self, server: Server, tmp_path: Path, since: str
    ) -> None:
        table = lines_table(server, [("o1", "TEA", at(-9999)), ("o2", "CUP", at(0))])
        read = fetch(tmp_path, table=table, since=since)
        assert read.column("order_id") == ["o1", "o2"]
        assert "everything is read again" in read.said[0]

    def test_one_read_sees_one_state_of_the_data(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [("o1", "TEA", at(0)), ("o2", "CUP", None)])
        said: list[str] = []

        def say(text: str) -> None:  # between the watermark and the rows
            said.append(text)
            add(server, table, [("o3", "POT", at(5))])

        changes = fetch_changes(DatabaseSection(table=table), ZONE, None, tmp_path, say)
        assert said
        assert changes.rows == 2
        later = fetch(tmp_path, table=table, since=changes.watermark)
        assert "o3" in later.column("order_id")


class TestColumns:
    def test_columns_are_mapped_by_settings_or_by_name(self, server: Server, tmp_path: Path) -> None:
        q = '"' if server.scheme == "postgresql" else "`"
        columns = (
            f"{q}订单 号{q} varchar(20), {q}we'ird,na{q}{q}me{q} varchar(20), "
            f"{q}Quantity{q} int, other int, {q}Changed{q} {TIME_TYPES[server.scheme]['local']}"
        )
        table = make_table(server, columns, [("o1", "TEA", 2, 7, at(0))])
        read = fetch(
            tmp_path,
            table=table,
            columns={"order_id": "订单 号", "sku": f"we'ird,na{q}me"},
            updated_at="changed",
        )
        assert read.rows == [{"order_id": "o1", "sku": "TEA", "quantity": "2"}]

    def test_a_table_may_be_named_with_its_schema(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [("o1", "TEA", at(0))])
        schema = "public" if server.scheme == "postgresql" else "shop"
        assert fetch(tmp_path, table=f"{schema}.{table}").column("order_id") == ["o1"]

    @pytest.mark.parametrize(
        "query",
        [
            "select order_id, sku, updated_at from {}",
            "  SELECT * FROM {} ; \n",
            "-- what we sell\nselect * from {} -- all of it",
            "/* note */ with kept as (select * from {}) select * from kept",
            "(select * from {})",
            "select order_id, '100%s' as sku, updated_at from {} where order_id like 'o%'",
        ],
    )
    def test_a_query_is_read_as_a_table_is(self, server: Server, tmp_path: Path, query: str) -> None:
        table = lines_table(server, [("o1", "TEA", at(-999)), ("o2", "CUP", at(0))])
        assert fetch(tmp_path, query=query.format(table)).column("order_id") == ["o1", "o2"]
        assert fetch(tmp_path, query=query.format(table), since=at(0)).column("order_id") == ["o2"]

    def test_only_the_granted_columns_are_needed(self, server: Server, tmp_path: Path) -> None:
        columns = f"order_id varchar(9), phone varchar(9), updated_at {TIME_TYPES[server.scheme]['local']}"
        table = make_table(server, columns, [("o1", "hush", at(0))])
        with granted(server, table, "order_id, updated_at"):
            [row] = fetch(tmp_path, table=table).rows
            assert row.keys() == {"order_id", "updated_at"}
            assert (row["order_id"], row["updated_at"][:19]) == ("o1", "2024-05-06 12:00:00")
            message = failure(tmp_path, table=table, columns={"customer_id": "phone"})
        assert "no column 'phone' that this user may read" in message
        assert "There are: order_id, updated_at" in message


class granted:
    """The reader has only these columns of the table, for the time of the block."""

    def __init__(self, server: Server, table: str, columns: str = "") -> None:
        self.server, self.table, self.columns = server, table, columns
        self.user = USER if server.scheme == "postgresql" else f"'{USER}'@'127.0.0.1'"

    def __enter__(self) -> None:
        if self.server.scheme == "postgresql":
            self.server.execute(f"revoke all on {self.table} from {self.user}")
        else:
            self.server.execute(f"revoke select on shop.* from {self.user}")
        if self.columns:
            self.server.execute(f"grant select ({self.columns}) on {self.table} to {self.user}")

    def __exit__(self, *_: object) -> None:
        if self.server.scheme == "mariadb":
            self.server.execute(f"grant select on shop.* to {self.user}")


TYPES: dict[str, list[tuple[str, str, str]]] = {
    "postgresql": [
        ("text", "'say \"hi\", 你好 😀'", 'say "hi", 你好 😀'),
        ("text", "E'two\\nlines\\r\\nand\\ra\\ttab\\\\'", "two\nlines\r\nand\ra\ttab\\"),
        ("text", "E'\\\\.'", "\\."),
        ("text", "''", ""),
        ("text", "null", ""),
        ("text", "'NULL'", "NULL"),
        ("varchar(5)", "' a b '", " a b "),
        ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("smallint", "-7", "-7"),
        ("bigint", "9223372036854775807", "9223372036854775807"),
        ("numeric(12,2)", "1234567.50", "1234567.50"),
        ("numeric", "0.00000001", "0.00000001"),
        ("numeric", "123456789012345678901234567890", "123456789012345678901234567890"),
        ("numeric", "null", ""),
        ("double precision", "0.1", "0.1"),
        ("double precision", "1e-7", "0.0000001"),
        ("double precision", "1.5e20", "150000000000000000000"),
        ("real", "123456.78", "123456.78"),
        ("money", "1234.5", "1234.50"),
        ("boolean", "true", "true"),
        ("boolean", "false", "false"),
        ("boolean", "null", ""),
        ("date", "'2024-02-29'", "2024-02-29"),
        ("timestamp", "'2024-02-29 23:59:59'", "2024-02-29 23:59:59"),
        ("timestamp", "'2024-02-29 23:59:59.123456'", "2024-02-29 23:59:59.123456"),
        ("timestamptz", "'2024-02-29 23:59:59.5+08'", "2024-02-29 15:59:59.5+00:00"),
        ("timestamptz", "'2024-03-01 00:00:00+00'", "2024-03-01 00:00:00+00:00"),
        ("timestamptz", "null", ""),
    ],
    "mariadb": [
        ("text", "'say \"hi\", 你好 😀'", 'say "hi", 你好 😀'),
        ("text", "'two\\nlines\\r\\nand\\ra\\ttab\\\\'", "two\nlines\r\nand\ra\ttab\\"),
        ("text", "''", ""),
        ("text", "null", ""),
        ("text", "'NULL'", "NULL"),
        ("varchar(5) character set latin1", "'café'", "café"),
        ("varchar(5) collate utf8mb4_bin", "'壶'", "壶"),
        ("varchar(5) character set gbk", "'茶'", "茶"),
        ("enum('a','b')", "'b'", "b"),
        ("json", "'{\"a\": 1}'", '{"a": 1}'),
        ("binary(2)", "x'00ff'", "00FF"),
        ("tinyint", "-7", "-7"),
        ("bigint unsigned", "18446744073709551615", "18446744073709551615"),
        ("decimal(12,2)", "1234567.50", "1234567.50"),
        ("decimal(20,8)", "0.00000001", "0.00000001"),
        ("decimal(12,2)", "null", ""),
        ("double", "0.1", "0.1"),
        ("double", "1e-7", "0.0000001"),
        ("double", "1.5e20", "150000000000000000000.00000000000000000000"),
        ("float", "123456.78", "123456.78125"),
        ("boolean", "true", "1"),
        ("boolean", "false", "0"),
        ("bit(1)", "b'1'", "1"),
        ("bit(1)", "b'0'", "0"),
        ("year", "2024", "2024"),
        ("date", "'2024-02-29'", "2024-02-29"),
        ("date", "'0000-00-00'", ""),
        ("datetime", "'2024-02-29 23:59:59'", "2024-02-29 23:59:59"),
        ("datetime(6)", "'2024-02-29 23:59:59.123456'", "2024-02-29 23:59:59.123456"),
        ("datetime", "'0000-00-00 00:00:00'", ""),
        ("timestamp(3) null", "'2024-02-29 23:59:59.5'", "2024-02-29 15:59:59.500+00:00"),
        ("timestamp null", "'2024-03-01 08:00:00'", "2024-03-01 00:00:00+00:00"),
        ("timestamp null", "null", ""),
        ("timestamp", "'0000-00-00 00:00:00'", ""),
    ],
}


class TestTypes:
    def test_every_type_becomes_the_expected_text(self, server: Server, tmp_path: Path) -> None:
        types = TYPES[server.scheme]
        name = f"types_{next(NAMES)}"
        columns = ", ".join(f"c{n} {kind}" for n, (kind, _, _) in enumerate(types))
        values = ", ".join(value for _, value, _ in types)
        setup = ["set sql_mode = ''", "set time_zone = '+08:00'"] if server.scheme == "mariadb" else []
        server.execute(*setup, f"create table {name} ({columns})", f"insert into {name} values ({values})")
        found = []
        for number in range(len(types)):
            query = f"select 'o1' as order_id, c{number} as sku, current_timestamp as updated_at from {name}"
            found.append(fetch(tmp_path, query=query).rows[0]["sku"])
        assert [(kind, text) for (kind, _, _), text in zip(types, found, strict=True)] == [
            (kind, expected) for kind, _, expected in types
        ]

    def test_several_texts_of_different_collations_make_one_line(
        self, server: Server, tmp_path: Path
    ) -> None:
        if server.scheme == "postgresql":
            columns = (
                'order_id text collate "C", sku text collate "POSIX", product_name text, updated_at date'
            )
        else:
            columns = (
                "order_id varchar(9) character set latin1, sku varchar(9) collate utf8mb4_bin, "
                "product_name varchar(9) character set gbk, updated_at date"
            )
        table = make_table(server, columns, [("é", '"', "茶", "2024-05-06")])
        [row] = fetch(tmp_path, table=table).rows
        assert row.pop("updated_at").startswith("2024-05-06")
        assert row == {"order_id": "é", "sku": '"', "product_name": "茶"}

    def test_the_reader_of_order_files_understands_it(self, server: Server, tmp_path: Path) -> None:
        instant = TIME_TYPES[server.scheme]["instant"]
        columns = (
            f"order_id varchar(20), customer_id varchar(20), ordered_at {instant}, sku varchar(20), "
            f"product_name varchar(50), quantity int, unit_price decimal(12,2), list_price double precision, "
            f"is_clearance boolean, refunded_at {TIME_TYPES[server.scheme]['local']}, updated_at date"
        )
        name = f"orders_{next(NAMES)}"
        server.execute(
            IN_UTC[server.scheme],
            f"create table {name} ({columns})",
            f"insert into {name} values ('o1', 'anna', '2024-01-03 18:30:00.25', 'TEA', "
            "'红茶,\n\"一级\" 🍵', "
            "2, 10.50, 12.25, true, '2024-01-05 09:00:00', '2024-01-05'), "
            "('o2', null, '2024-01-03 10:00:00', 'CUP', '', 1, 3, null, null, null, null)",
        )
        path = fetch(tmp_path, table=name).changes.path
        rows = pl.concat(read_rows(open_source(path, load_preset("standard")), ZONE, tmp_path / "scratch"))
        assert rows["disposition"].to_list() == ["accepted", "accepted"]
        assert rows["ordered_at"].to_list() == [
            datetime(2024, 1, 4, 2, 30, 0, 250_000),
            datetime(2024, 1, 3, 18, 0),
        ]
        assert rows["refunded_at"].to_list() == [datetime(2024, 1, 5, 9, 0), None]
        assert rows["product_name"].to_list() == ['红茶,\n"一级" 🍵', None]
        assert rows["customer_id"].to_list() == ["anna", None]
        assert rows["amount"].to_list() == [Decimal("21.0000"), Decimal("3.0000")]
        assert rows["list_price"].to_list() == [Decimal("12.25"), None]
        assert rows["is_clearance"].to_list() == [True, None]

    def test_times_that_a_query_makes_are_the_shop_s(self, server: Server, tmp_path: Path) -> None:
        made = (
            "to_timestamp(1704300000)::timestamp"
            if server.scheme == "postgresql"
            else "from_unixtime(1704300000)"
        )
        query = f"select 'o1' as order_id, {made} as ordered_at, current_date as updated_at"
        assert fetch(tmp_path, query=query).rows[0]["ordered_at"] == "2024-01-04 00:40:00"

    def test_a_zone_that_the_server_does_not_know_is_reported(self, server: Server, tmp_path: Path) -> None:
        if server.scheme == "postgresql":
            zone, made = "Mars/Phobos", "to_timestamp(1704300000)::timestamp"
        else:
            zone, made = "America/New_York", "from_unixtime(1704300000)"
        query = f"select 'o1' as order_id, {made} as ordered_at, current_date as updated_at"
        read = fetch(tmp_path, query=query, zone=zone)
        assert read.rows[0]["ordered_at"] == "2024-01-03 16:40:00"
        assert [text.partition(",")[0] for text in read.said] == [
            f"the database does not know the time zone {zone}"
        ]

    @pytest.mark.parametrize("zone", ["Europe/London", "Europe/Lisbon"])
    def test_an_hour_that_comes_twice_is_told_apart(self, server: Server, tmp_path: Path, zone: str) -> None:
        # in both clocks went back from 02:00 to 01:00 on 27 October 2024, at 01:00 UTC
        load_london(server)
        rows = [("first", "2024-10-27 00:30:00"), ("second", "2024-10-27 01:30:00")]
        instant = TIME_TYPES[server.scheme]["instant"]
        name = f"orders_{next(NAMES)}"
        values = ", ".join(f"('{order}', '{moment}', '{moment}')" for order, moment in rows)
        server.execute(
            IN_UTC[server.scheme],
            f"create table {name} (order_id varchar(9), ordered_at {instant}, updated_at {instant})",
            f"insert into {name} values {values}",
        )
        read = fetch(tmp_path, table=name, zone=zone)
        is_loaded = server.scheme == "postgresql" or zone == "Europe/London"
        assert bool(read.said) != is_loaded
        assert [row["ordered_at"].replace(".000000", "") for row in read.rows] == [
            "2024-10-27 00:30:00+00:00",
            "2024-10-27 01:30:00+00:00",
        ]
        assert read.changes.watermark is not None
        assert read.changes.watermark.replace(".000000", "") == "2024-10-27 01:30:00+00:00"
        # by the clock on the wall the second row is 20 minutes older than the watermark
        since = "2024-10-27 00:50:00+00:00"
        later = fetch(tmp_path, table=name, zone=zone, since=since, overlap_minutes=0)
        assert "second" in later.column("order_id")


def load_london(server: Server) -> None:
    """Teaches MariaDB the zone of London, once; PostgreSQL knows them all."""
    zone = "Europe/London"
    if server.scheme == "mariadb" and server.folder not in HAVE_LONDON:
        source = Path("/usr/share/zoneinfo") / zone
        made = subprocess.run(["mariadb-tzinfo-to-sql", source, zone], capture_output=True, check=True)
        client = ["mariadb", "--no-defaults", f"--socket={server.folder / 'socket'}", "--user=root", "mysql"]
        subprocess.run(client, input=made.stdout, check=True, capture_output=True)
        HAVE_LONDON.add(server.folder)


class TestReadOnly:
    @pytest.mark.parametrize(
        "query",
        [
            "insert into {0} values ('o9', 'X', null)",
            "delete from {0}",
            "drop table {0}",
            "update {0} set sku = 'X'",
            "",
            "selection",
        ],
    )
    def test_what_is_no_select_is_refused(self, server: Server, tmp_path: Path, query: str) -> None:
        table = lines_table(server, [("o1", "TEA", at(0))])
        assert "must be a single SELECT" in failure(tmp_path, query=query.format(table))
        assert fetch(tmp_path, table=table).column("sku") == ["TEA"]

    @pytest.mark.parametrize(
        "query",
        [
            "select * from {0}; delete from {0}",
            "select * from {0}) as source; delete from {0}; select * from (select * from {0}",
            "select * from {0}; commit; delete from {0};",
            "with gone as (delete from {0} returning *) select * from gone",
            "select * from {0} into outfile '/tmp/never'",
        ],
    )
    def test_nor_is_anything_done_beside_a_select(self, server: Server, tmp_path: Path, query: str) -> None:
        table = lines_table(server, [("o1", "TEA", at(0))])
        server.execute(f"grant all on {table} to {granted(server, table).user}")
        assert "the database refuses the question" in failure(tmp_path, query=query.format(table))
        assert fetch(tmp_path, table=table).column("sku") == ["TEA"]

    def test_a_function_that_writes_is_refused(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [("o1", "TEA", at(0))])
        user = granted(server, table).user
        function = f"touch_{table}"
        if server.scheme == "postgresql":
            server.execute(
                f"create function {function}() returns text language sql as "
                f"$$ delete from {table} returning 'X' $$",
                f"grant all on {table} to {user}",
            )
        else:
            server.execute(
                f"create function {function}() returns varchar(9) deterministic modifies sql data "
                f"begin delete from {table}; return 'X'; end",
                f"grant execute on function {function} to {user}",
                f"grant all on {table} to {user}",
            )
        message = failure(tmp_path, query=f"select order_id, {function}() as sku, updated_at from {table}")
        assert "would change data" in message
        assert fetch(tmp_path, table=table).column("sku") == ["TEA"]


class TestMistakes:
    def test_an_unknown_table_names_the_nearest(self, server: Server, tmp_path: Path) -> None:
        make_table(server, "order_id int, updated_at date", [], name="shop_order_items")
        message = failure(tmp_path, table="Shop_Order_Item")
        assert "there is no table 'Shop_Order_Item'" in message
        assert "did you mean '" in message
        assert "shop_order_items'" in message

    def test_an_unknown_column_lists_those_there_are(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [])
        message = failure(tmp_path, table=table, columns={"quantity": "skus"})
        assert "columns.quantity in shop.yaml: the source has no column 'skus'" in message
        assert "did you mean 'sku'? There are: order_id, sku, updated_at." in message
        message = failure(tmp_path, table=table, updated_at="changed")
        assert "orders.database.updated_at" in message
        assert "There are: order_id, sku, updated_at." in message

    def test_order_id_is_needed(self, server: Server, tmp_path: Path) -> None:
        table = make_table(server, "id int, updated_at date", [])
        message = failure(tmp_path, table=table)
        assert "no column is named order_id" in message
        assert "There are: id, updated_at" in message

    def test_updated_at_must_be_a_time(self, server: Server, tmp_path: Path) -> None:
        table = make_table(server, "order_id int, updated_at int", [])
        assert "'updated_at' is neither a date nor a time" in failure(tmp_path, table=table)

    def test_a_column_that_stands_twice_is_reported(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [])
        message = failure(tmp_path, query=f"select order_id, sku, sku, updated_at from {table}")
        assert "sku" in message
        assert re.search("rename all but one|Duplicate column", message)

    def test_a_query_that_is_wrong_is_told_in_the_database_s_words(
        self, server: Server, tmp_path: Path
    ) -> None:
        table = lines_table(server, [])
        assert "nosuch" in failure(tmp_path, query=f"select nosuch from {table}")
        assert "syntax" in failure(tmp_path, query=f"select order_id from {table} wher x = 1")
        assert "nosuchtable" in failure(tmp_path, query="select * from nosuchtable")

    def test_missing_rights_are_reported(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [("o1", "TEA", at(0))])
        with granted(server, table):
            message = failure(tmp_path, table=table)
            assert f"may not read the table '{table}'" in message
            assert "GRANT SELECT" in message
            assert "GRANT SELECT" in failure(tmp_path, query=f"select * from {table}")

    def test_a_value_that_breaks_the_query_is_not_reported(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [("hush-1", "TEA", at(0))])
        if server.scheme == "postgresql":
            broken = "cast(order_id as int)"
        else:
            broken = "9223372036854775807 * length(order_id)"
        message = failure(tmp_path, query=f"select order_id, {broken} as quantity, updated_at from {table}")
        assert "0 rows had come" in message
        assert "try the query in its own client" in message

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"password": "hush"}, "the server refused user or password"),
            ({"user": "nobody"}, "the server refused user or password"),
            ({"database": "elsewhere"}, "database"),
        ],
    )
    def test_a_refused_sign_in_is_reported(
        self,
        server: Server,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        change: dict[str, str],
        expected: str,
    ) -> None:
        monkeypatch.setenv(URL, server.url(**change))
        message = failure(tmp_path, table="orders")
        assert f"127.0.0.1:{server.port}/" in message
        assert expected in message.removeprefix("127.0.0.1")

    def test_an_option_of_the_url_that_nobody_knows_is_reported(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(URL, server.url() + "?nosuch=hush")
        assert "nosuch" in failure(tmp_path, table="orders")

    def test_a_folder_that_cannot_be_written_is_reported(self, server: Server, tmp_path: Path) -> None:
        table = lines_table(server, [("o1", "TEA", at(0))])
        blocker = tmp_path / "blocker"
        blocker.write_text("a file where a folder should be", "utf-8")
        with pytest.raises(OrderDatabaseError, match="can't be written"):
            fetch_changes(DatabaseSection(table=table), ZONE, None, blocker, print)


class TestUrl:
    """What is said before any server is asked."""

    def test_the_variable_must_be_set(self, tmp_path: Path) -> None:
        assert "RFM_ORDERS_URL is not set" in failure(tmp_path, table="orders")
        assert "variable SHOP_DB is not set" in failure(tmp_path, table="orders", url_env="SHOP_DB")

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("localhost/shop", "holds no URL"),
            ("postgresql://me:hush@host:port/shop", "holds no URL"),
            ("postgresql://me:hu/sh@host:5432:hush/shop", "holds no URL"),
            ("sqlite:///shop.db", "begins with sqlite://; known are postgresql://"),
            ("oracle://me:hush@host/shop", "begins with oracle://"),
            ("mysql+mysqldb://me:hush@host/shop", "begins with mysql+mysqldb://"),
            ("postgresql+psycopg2://me:hush@host/shop", "begins with postgresql+psycopg2://"),
        ],
    )
    def test_a_url_that_cannot_be_used_is_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, expected: str
    ) -> None:
        monkeypatch.setenv(URL, url)
        assert expected in failure(tmp_path, table="orders")

    @pytest.mark.parametrize(
        "scheme",
        ["postgresql", "postgres", "postgresql+psycopg", "mysql", "mariadb", "mysql+pymysql"],
    )
    def test_a_server_that_does_not_answer_is_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
    ) -> None:
        monkeypatch.setenv(URL, f"{scheme}://me:hush@127.0.0.1:1/shop")
        assert failure(tmp_path, table="orders").startswith(
            "127.0.0.1:1/shop: can't connect: nothing listens there"
        )
        monkeypatch.setenv(URL, f"{scheme}://me:hush@nowhere.invalid/shop")
        assert "the host's name is unknown" in failure(tmp_path, table="orders")

    @pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
    def test_a_server_that_is_silent_is_given_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            monkeypatch.setenv(URL, f"{scheme}://me:hush@127.0.0.1:{port}/shop?connect_timeout=2")
            assert "no answer in time" in failure(tmp_path, table="orders")

    @pytest.mark.parametrize(
        ("option", "expected"),
        [
            ("ssl_ca=/nowhere/ca.pem", "names a file that isn't there"),
            ("connect_timeout=0", "has a value that can't be"),
            ("connect_timeout=soon", "connect_timeout must be a number"),
            ("ssl_mode=hush", "unknown option ssl_mode; known: ssl_ca"),
        ],
    )
    def test_an_option_that_cannot_be_used_is_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, expected: str
    ) -> None:
        monkeypatch.setenv(URL, f"mariadb://me:hush@127.0.0.1:1/shop?{option}")
        assert expected in failure(tmp_path, table="orders")

    def test_an_unknown_canonical_column_names_the_nearest(self, tmp_path: Path) -> None:
        message = failure(tmp_path, table="orders", columns={"order_no": "id", "customer": "uid"})
        assert "there is no column 'order_no'; did you mean 'order_id'?" in message
        assert "known are: order_id, line_no" in failure(tmp_path, table="orders", columns={"xyz": "id"})


ENDINGS: dict[str, dict[str, tuple[str, str]]] = {
    "postgresql": {
        "connection": ("select pg_terminate_backend({})", "the connection was lost"),
        "query": ("select pg_cancel_backend({})", "the server cancelled the read"),
    },
    "mariadb": {
        "connection": ("kill {}", "the connection was lost"),
        "query": ("kill query {}", "the server cancelled the read"),
    },
}


def make_bulk(server: Server) -> None:
    """Far more rows than fit between server and reader."""
    row = "{} as order_id, repeat('x', 200) as sku, timestamp '2024-05-06 00:00:00' as updated_at"
    if server.scheme == "postgresql":
        source = f"select {row.format('i::text')} from generate_series(1, 200000) i"
    else:
        source = f"select {row.format('cast(seq as char)')} from seq_1_to_200000"
    server.execute(f"create table if not exists bulk as {source}")


def reader_of(server: Server) -> int:
    """The number that the server knows the reader's connection by."""
    if server.scheme == "postgresql":
        ask = f"select pid from pg_stat_activity where usename = '{USER}'"
    else:
        ask = f"select id from information_schema.processlist where user = '{USER}'"
    with closing(server.admin()) as connection, connection.cursor() as cursor:
        cursor.execute(ask)
        (found,) = cursor.fetchall()
    return int(found[0])


def interrupt(folder: Path, end: Callable[[], None]) -> tuple[str, int]:
    """Starts a read and ends it from outside once rows have come.

    Returns:
        The message, and the number of rows that had come by what it says.
    """
    heard: list[str] = []

    def say(text: str) -> None:
        if not heard:
            end()
        heard.append(text)

    message = failure(folder, say, table="bulk", batch_rows=100)
    assert heard[0] == "100 rows read"
    came = re.search(r"([\d,]+) rows had come; nothing of them is loaded", message)
    assert came is not None
    return message, int(came[1].replace(",", ""))


class TestInterruption:
    @pytest.fixture(autouse=True)
    def _talkative(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database_module, "_SECONDS_A_WORD", 0.0)

    @pytest.mark.parametrize("what", ["connection", "query"])
    def test_an_ended_read_tells_how_far_it_came(self, server: Server, tmp_path: Path, what: str) -> None:
        make_bulk(server)
        statement, expected = ENDINGS[server.scheme][what]
        message, rows = interrupt(tmp_path, lambda: server.execute(statement.format(reader_of(server))))
        assert expected in message
        assert 100 <= rows < 200_000

    @pytest.mark.parametrize("name", EACH_SERVER)
    def test_a_server_that_dies_ends_the_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        with SERVERS[name]() as server:
            monkeypatch.setenv(URL, server.url())
            make_bulk(server)
            message, rows = interrupt(tmp_path, server.kill)
            assert "the connection was lost" in message
            assert 100 <= rows < 200_000
            assert "can't connect: nothing listens there" in failure(tmp_path, table="orders")

    def test_a_stopped_program_leaves_no_file(self, server: Server, tmp_path: Path) -> None:
        make_bulk(server)

        def stop(text: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch_changes(DatabaseSection(table="bulk", batch_rows=100), ZONE, None, tmp_path, stop)
        assert not list(tmp_path.iterdir())


class TestSize:
    def test_progress_is_told_now_and_then_not_per_batch(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = lines_table(server, [(f"o{n}", "TEA", at(0)) for n in range(250)])
        assert fetch(tmp_path, table=table, batch_rows=100).said == []
        monkeypatch.setattr(database_module, "_SECONDS_A_WORD", 0.0)
        assert fetch(tmp_path, table=table, batch_rows=100).said == [
            "100 rows read",
            "200 rows read",
            "250 rows read",
        ]

    def test_memory_does_not_grow_with_the_rows(self, server: Server, tmp_path: Path) -> None:
        """A read eight times as large may take a little more, the file is 100 bytes a row."""
        columns = "{} as order_id, repeat('x', 90) as sku, current_timestamp as updated_at"
        if server.scheme == "postgresql":
            series = f"select {columns.format('i::text')} from generate_series(1, %d) i"
        else:
            series = f"select {columns.format('seq')} from seq_1_to_%d"
        small, large = (peak_megabytes(tmp_path, series % rows) for rows in (50_000, 400_000))
        assert (tmp_path / "orders_from_database.csv").stat().st_size > 35_000_000
        assert large - small < 16


def peak_megabytes(folder: Path, query: str) -> float:
    """The most memory that a process of its own needs for a read."""
    script = """
import resource, sys
from pathlib import Path
from rfm_pipeline.ingest.databases.incremental import fetch_changes
from rfm_pipeline.shop import DatabaseSection
section = DatabaseSection(query=sys.argv[1], batch_rows=20_000)
fetch_changes(section, "Asia/Shanghai", None, Path(sys.argv[2]), lambda text: None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    command = [sys.executable, "-c", script, query, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)
