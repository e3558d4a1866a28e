"""Which Spark is asked for, and what is said where there is none."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from rfm_pipeline.definitions import build_defs, open_warehouse
from rfm_pipeline.errors import ShopFileError
from rfm_pipeline.warehouse.duckdb import Warehouse
from rfm_pipeline.warehouse.spark.cluster import ClusterSettings, bytes_of
from rfm_pipeline.warehouse.spark.engine import SparkWarehouse
from rfm_pipeline.warehouse.spark.published import Pointers, TableStore
from rfm_pipeline_tests.helpers import make_shop

WITHOUT_SPARK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyspark", "sqlglot", "py4j"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name in ("pyspark", "sqlglot", "py4j") else find(name, package)
)
"""


def python(code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Runs code in a Python in which Spark's packages aren't installed."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_SPARK + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_everything_else_works_without_sparks_packages(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    code = (
        "import rfm_pipeline.cli.app; from pathlib import Path; "
        "from rfm_pipeline.definitions import build_defs; "
    )
    ran = python(f"{code} build_defs(Path(sys.argv[1])); print('made')", shop.home)
    assert ran.stdout == "made\n", ran.stderr


def test_without_its_packages_engine_spark_says_what_to_install(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, warehouse={"engine": "spark"})
    ran = python("from rfm_pipeline.cli.app import main; main()", "run", "--home", shop.home)
    assert ran.returncode != 0
    assert "warehouse.engine: spark needs pyspark, sqlglot: pip install 'rfm-pipeline[spark]'" in " ".join(
        ran.stderr.split()
    )
    assert "Traceback" not in ran.stderr


def test_the_graph_is_the_same_on_both_engines(tmp_path: Path) -> None:
    one = make_shop(tmp_path / "duckdb")
    other = make_shop(tmp_path / "spark", warehouse={"engine": "spark"})
    on_duckdb, on_spark = (build_defs(shop.home).resolve_all_asset_specs() for shop in (one, other))
    outputs = [
        sorted(
            (str(spec.key), sorted(map(str, spec.deps)), sorted(spec.kinds - {"duckdb", "spark"}))
            for spec in graph
        )
        for graph in (on_duckdb, on_spark)
    ]
    assert outputs[0] == outputs[1]
    assert not any("spark" in spec.kinds for spec in on_duckdb)
    kinds = {spec.key.to_user_string(): spec.kinds for spec in on_spark}
    assert "spark" in kinds["customer_rfm"]
    # the sink writes to the ledger and to files, whatever the engine
    assert "spark" not in kinds["customer_tags"]


def test_the_limits_are_shared_out(tmp_path: Path) -> None:
    shop = make_shop(
        tmp_path,
        warehouse={"engine": "spark", "memory_limit": "8GiB", "threads": 3, "lock_wait_seconds": 7},
    )
    warehouse = open_warehouse(shop)
    assert isinstance(warehouse, SparkWarehouse)
    conf = warehouse.cluster.spark_conf()
    assert conf["spark.driver.memory"] == "4096m"
    assert conf["spark.master"] == "local[3]"
    assert (warehouse.memory_limit, warehouse.threads, warehouse.lock_wait_seconds) == ("2147MB", 3, 7)


def test_a_local_spark_listens_on_loopback_only() -> None:
    conf = ClusterSettings().spark_conf()
    assert {conf["spark.driver.host"], conf["spark.driver.bindAddress"]} == {"127.0.0.1"}
    assert conf["spark.ui.enabled"] == "false"
    assert "spark.driver.host" not in ClusterSettings(master="spark://10.0.0.5:7077").spark_conf()


def test_own_settings_come_first_but_for_those_on_which_rows_hang() -> None:
    conf = ClusterSettings(conf={"spark.driver.memory": "9g", "spark.sql.ansi.enabled": "false"}).spark_conf()
    assert conf["spark.driver.memory"] == "9g"
    assert conf["spark.sql.ansi.enabled"] == "true"


@pytest.mark.parametrize(
    ("limit", "size"), [("4GB", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("500MB", 5 * 10**8), ("2 TiB", 2**41)]
)
def test_a_limit_in_bytes(limit: str, size: int) -> None:
    assert bytes_of(limit) == size


def test_a_share_is_of_this_machine() -> None:
    assert 1.9 < bytes_of("80%") / bytes_of("40%") < 2.1


def test_a_folder_that_spark_would_take_for_a_pattern_is_refused() -> None:
    with pytest.raises(ShopFileError, match="takes for a pattern"):
        TableStore("/shops/[old]/tables")


def test_files_of_another_shop_in_the_same_folder_are_left_alone(tmp_path: Path) -> None:
    store = TableStore(str(tmp_path / "tables"))
    strangers = tmp_path / "tables" / "customer_rfm" / "write=0123456789ab-ffff" / "week=2026-01-05"
    strangers.mkdir(parents=True)
    with Warehouse(tmp_path / "catalog.duckdb").transaction() as session:
        pointers = Pointers(session.connection)
        own = tmp_path / "tables" / "customer_rfm" / f"write={pointers.new_write()}"
        own.mkdir()
        pointers.move("customer_rfm", [date(2026, 1, 5)], "a-week-without-rows", {})
        pointers.clear_up(store)
    assert strangers.exists()
    assert not own.exists()
