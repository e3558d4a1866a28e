"""From the shop's database into the warehouse: what changed, whole orders, nothing twice; on real servers."""

from decimal import Decimal
from pathlib import Path

import pytest

from rfm_pipeline.errors import OrderDatabaseError
from rfm_pipeline.ingest import loading
from rfm_pipeline.ingest.loading import LoadReport, load_new_orders, update_order_lines
from rfm_pipeline.shop import Shop
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline_tests.helpers import make_shop, small_warehouse, write_export
from rfm_pipeline_tests.ingest.databases.servers import EACH_SERVER, Server

URL = "RFM_ORDERS_URL"
COLUMNS = {"order_id": "number", "customer_id": "buyer", "unit_price": "price", "order_status": "state"}
LATER = "changed_at = '2024-01-20 12:00:00'"
TABLE = """
create table shop_orders (
    number varchar(20), buyer varchar(40), ordered_at {time}, sku varchar(20), product_name varchar(80),
    quantity int, price decimal(12, 2), state varchar(20), changed_at {time}
)
"""


@pytest.fixture(params=EACH_SERVER)
def server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def table(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv(URL, server.url())
    time = "timestamp(6)" if "postgresql" in server.url() else "datetime(6)"
    server.execute("drop table if exists shop_orders", TABLE.format(time=time))
    return server


def add(server: Server, *rows: str) -> None:
    server.execute(*(f"insert into shop_orders values ({row})" for row in rows))


def row(
    order: str, buyer: str, sku: str, price: str, state: str = "paid", changed: str = "2024-01-10 12:00:00"
) -> str:
    name = f'{sku} 茶, "大"'
    ordered = "2024-01-10 11:00:00"
    return f"'{order}', '{buyer}', '{ordered}', '{sku}', '{name}', 1, {price}, '{state}', '{changed}'"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return shop_with(tmp_path)


def shop_with(home: Path, **changes: object) -> Shop:
    settings = {"table": "shop_orders", "columns": COLUMNS, "updated_at": "changed_at", **changes}
    return make_shop(home, orders={"kind": "database", "database": settings})


def run(warehouse: Warehouse, shop: Shop) -> LoadReport:
    report = load_new_orders(warehouse, shop)
    update_order_lines(warehouse, shop)
    return report


def lines(warehouse: Warehouse) -> list[tuple[str, str, str, Decimal]]:
    sql = "select order_id, customer_id, sku, amount from order_lines order by all"
    return warehouse.read(sql).rows()


def test_orders_come_once_and_changes_replace_whole_orders(table: Server, shop: Shop) -> None:
    warehouse = small_warehouse(shop)
    add(table, row("o1", "anna", "TEA", "10"), row("o1", "anna", "CUP", "5"), row("o2", "bert", "TEA", "10"))
    add(table, row("o3", "cleo", "TEA", "10", "unpaid"))
    (batch,) = run(warehouse, shop).loaded
    assert (batch["rows_read"], batch["rows_accepted"], batch["rows_unpaid"]) == (4, 3, 1)
    before = lines(warehouse)
    assert before == [
        ("o1", "anna", "CUP", Decimal(5)),
        ("o1", "anna", "TEA", Decimal(10)),
        ("o2", "bert", "TEA", Decimal(10)),
    ]
    # read again within the overlap: the same lines, and no week looks changed
    warehouse.read("select 1")
    with warehouse.transaction() as session:
        session.execute("delete from touched_weeks")
    run(warehouse, shop)
    assert lines(warehouse) == before
    assert warehouse.read("select * from touched_weeks").is_empty()
    # one line of o1 changes, o2 is cancelled, o3 is paid, o4 is new
    table.execute(
        f"update shop_orders set price = 11, {LATER} where number = 'o1' and sku = 'TEA'",
        f"update shop_orders set state = 'cancelled', {LATER} where number = 'o2'",
        f"update shop_orders set state = 'paid', {LATER} where number = 'o3'",
    )
    add(table, row("o4", "dora", "POT", "7", changed="2024-01-20 12:00:00"))
    (batch,) = run(warehouse, shop).loaded
    assert batch["rows_read"] == 5
    assert batch["watermark"].startswith("2024-01-20")
    assert lines(warehouse) == [
        ("o1", "anna", "CUP", Decimal(5)),
        ("o1", "anna", "TEA", Decimal(11)),
        ("o3", "cleo", "TEA", Decimal(10)),
        ("o4", "dora", "POT", Decimal(7)),
    ]
    # only what changed is read
    (batch,) = run(warehouse, shop).loaded
    assert batch["rows_read"] == 5


def test_a_deleted_warehouse_reads_everything_again(table: Server, shop: Shop) -> None:
    add(table, row("o1", "anna", "TEA", "10"), row("o2", "bert", "TEA", "3", changed="2024-03-01 00:00:00"))
    warehouse = small_warehouse(shop)
    run(warehouse, shop)
    before = lines(warehouse)
    shop.warehouse_path.unlink()
    assert run(small_warehouse(shop), shop).loaded[0]["rows_read"] == 2
    assert lines(small_warehouse(shop)) == before


def test_other_settings_read_everything_again(table: Server, shop: Shop) -> None:
    add(table, row("o1", "anna", "TEA", "10"), row("o2", "bert", "TEA", "3", changed="2024-03-01 00:00:00"))
    warehouse = small_warehouse(shop)
    run(warehouse, shop)
    other = shop_with(shop.home, columns={**COLUMNS, "sku": "product_name"})
    (batch,) = run(warehouse, other).loaded
    assert batch["rows_read"] == 2
    assert {sku for _, _, sku, _ in lines(warehouse)} == {'TEA 茶, "大"'}
    assert warehouse.read("select * from order_batches").height == 1


def test_from_files_to_the_database_and_back(table: Server, shop: Shop) -> None:
    files = make_shop(shop.home)
    write_export(files, "a.csv", "f1,anna,2024-01-03 10:00:00,TEA,1,2.00")
    warehouse = small_warehouse(files)
    run(warehouse, files)
    add(table, row("o1", "anna", "TEA", "10"))
    with_database = shop_with(shop.home)
    run(warehouse, with_database)
    assert [line[0] for line in lines(warehouse)] == ["o1"]
    run(warehouse, make_shop(shop.home))
    assert [line[0] for line in lines(warehouse)] == ["f1"]


def test_a_failure_half_way_leaves_the_old_state_and_the_watermark(
    table: Server, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(table, row("o1", "anna", "TEA", "10"))
    warehouse = small_warehouse(shop)
    run(warehouse, shop)
    add(table, row("o2", "bert", "TEA", "3", changed="2024-03-01 00:00:00"))

    def lost(*_: object) -> dict[str, object]:
        raise OrderDatabaseError("the connection was lost")

    with monkeypatch.context() as patched:
        patched.setattr(loading, "insert_batch", lost)
        with pytest.raises(OrderDatabaseError):
            run(warehouse, shop)
    assert [line[0] for line in lines(warehouse)] == ["o1"]
    assert not list((shop.home / ".staging").iterdir())
    run(warehouse, shop)
    assert [line[0] for line in lines(warehouse)] == ["o1", "o2"]
