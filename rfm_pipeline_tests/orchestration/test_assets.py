"""The tables as assets: all of them, with the lineage of their SQL, in jobs by name, with versions."""

from datetime import date
from importlib import resources
from pathlib import Path

import dagster as dg
import pytest
import sqlglot
from sqlglot import exp

from rfm_pipeline.definitions import build_defs
from rfm_pipeline.demo.sample_shop import make_sample
from rfm_pipeline.home.warehouse import open_warehouse
from rfm_pipeline.orchestration.asset_arguments import stored_kinds
from rfm_pipeline.orchestration.runner import Runner
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline_tests.helpers import make_shop, write_export

BOOKKEEPING = {
    "data_checks",
    "input_changes",
    "landing_states",
    "mixed_orders",
    "settings_used",
    "snapshots",
    "touched_orders",
    "touched_weeks",
    "unchecked_orders",
    "unchecked_weeks",
}
# lineage has no arrow that runs back
AS_LEFT_BY_THE_RUN_BEFORE = {"set_back_orders": {"order_lines"}}
HANDOUTS = {"ops_worklist", "team_message", "weekly_report", "recall_playbook"}
SENDING = {"customer_tags", "ops_worklist", "team_message"}
STAGES = ("ingest", "diagnose", "recall", "review")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path / "home")


def parents_of(defs: dg.Definitions) -> dict[str, set[str]]:
    graph = defs.resolve_asset_graph()
    return {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.toposorted_asset_keys
    }


def tables_in(sql: str) -> set[str]:
    """The tables that statements read or write, their own CTEs left out."""
    found = set()
    for tree in sqlglot.parse(sql, read="duckdb"):
        assert tree is not None
        names = {table.name for table in tree.find_all(exp.Table)}
        found |= names - {cte.alias for cte in tree.find_all(exp.CTE)}
    return found


def job_assets(defs: dg.Definitions, job: str) -> set[str]:
    layer = defs.resolve_job_def(job).asset_layer
    return {key.to_user_string() for key in layer.executable_asset_keys}


def spec_of(shop: Shop, asset: str) -> dg.AssetSpec:
    [found] = [
        spec for spec in build_defs(shop.home).resolve_all_asset_specs() if spec.key.to_user_string() == asset
    ]
    return found


def test_an_asset_is_made_from_the_tables_that_its_sql_file_names(shop: Shop) -> None:
    parents = parents_of(build_defs(shop.home))
    compared = []
    for stage in STAGES:
        for file in resources.files(f"rfm_pipeline.{stage}").iterdir():
            asset = file.name.removesuffix(".sql")
            if file.name.endswith(".sql") and asset in parents:
                named = tables_in(file.read_text("utf-8")) & parents.keys()
                named -= AS_LEFT_BY_THE_RUN_BEFORE.get(asset, set())
                assert named <= parents[asset], asset
                compared.append(asset)
    assert {"silent_churners", "customer_rfm", "customer_totals", "order_contacts"} <= set(compared)
    assert {"bestsellers", "low_prices"} <= parents["silent_churners"]
    assert "customer_totals" in parents["customer_rfm"]


def test_the_jobs_hold_the_assets_that_they_are_named_for(shop: Shop) -> None:
    defs = build_defs(shop.home)
    everything = set(parents_of(defs))
    assert job_assets(defs, "weekly_job") == everything
    recalled = {"recall_list", "tag_plan", "customer_tags"}
    assert job_assets(defs, "history_job") == everything - HANDOUTS - recalled
    ingest = {
        "raw_orders",
        "order_batches",
        "rejected_rows",
        "unpaid_orders",
        "set_back_orders",
        "order_lines",
        "order_contacts",
    }
    assert job_assets(defs, "ingest_job") == ingest | {"customer_activity", "customer_totals"}
    assert job_assets(defs, "send_job") == SENDING


def test_tags_and_owners_say_who_is_concerned(shop: Shop) -> None:
    specs = {spec.key.to_user_string(): spec for spec in build_defs(shop.home).resolve_all_asset_specs()}
    personal = {name for name, spec in specs.items() if spec.tags["personal_data"] == "true"}
    assert {"raw_orders", "order_contacts", "customer_rfm", "recall_list", "ops_worklist"} <= personal
    assert personal.isdisjoint({"order_batches", "bestsellers", "segment_thresholds", "weekly_report"})
    reaching = {name for name, spec in specs.items() if spec.tags.get("touches_customers") == "true"}
    assert reaching == {"customer_tags", "ops_worklist"}
    operations = {name for name, spec in specs.items() if list(spec.owners) == ["team:operations"]}
    assert operations == {"outreach_log", "outreach_findings"} | SENDING


def test_kinds_name_the_engine_and_the_ledger_in_use(tmp_path: Path) -> None:
    usual = frozenset({"duckdb", "sqlite"})
    plain = make_shop(tmp_path / "plain")
    assert stored_kinds(plain, usual, follows_engine=True) == usual
    large = make_shop(tmp_path / "large", warehouse={"engine": "spark"}, ledger={"url_env": "RFM_LEDGER_URL"})
    assert stored_kinds(large, usual, follows_engine=True) == {"spark", "postgresql"}
    assert stored_kinds(large, usual) == {"duckdb", "postgresql"}


@pytest.mark.parametrize(
    ("asset", "engine"),
    [
        ("customer_rfm", "spark"),
        ("bestsellers", "spark"),
        ("raw_orders", "duckdb"),
        ("recall_list", "duckdb"),
    ],
)
def test_an_assets_kinds_name_the_engine_that_keeps_it(tmp_path: Path, asset: str, engine: str) -> None:
    pytest.importorskip("pyspark")
    large = make_shop(tmp_path, warehouse={"engine": "spark"})
    assert {"spark", "duckdb"} & set(spec_of(large, asset).kinds) == {engine}


def test_a_changed_threshold_is_a_new_code_version_of_what_it_decides(tmp_path: Path) -> None:
    former, later = make_shop(tmp_path / "a"), make_shop(tmp_path / "b", rules={"dormant_after_days": 120})
    for asset, is_new in {"silent_churners": True, "recall_list": True, "order_lines": False}.items():
        versions = {spec_of(shop, asset).code_version for shop in (former, later)}
        assert len(versions) == (2 if is_new else 1), asset


def test_the_orders_have_a_new_data_version_only_when_an_export_is_new(shop: Shop) -> None:
    job = build_defs(shop.home).resolve_job_def("ingest_job")

    def versions() -> dict[str, str]:
        result = job.execute_in_process(instance=instance)
        assert result.success
        events = result.get_asset_materialization_events()
        made = [event.step_materialization_data.materialization for event in events]
        return {one.asset_key.to_user_string(): (one.tags or {})["dagster/data_version"] for one in made}

    with dg.DagsterInstance.ephemeral() as instance:
        write_export(shop, "one.csv", "o1,c1,2024-01-02 10:00,s1,1,10")
        first = versions()
        assert versions() == first
        write_export(shop, "two.csv", "o2,c2,2024-01-03 10:00,s1,1,10")
        later = versions()
    assert {name for name in first if later[name] != first[name]} == first.keys()


def test_every_table_of_a_finished_warehouse_is_an_asset(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make_sample(home, customers=60, weeks=14)
    shop = load_shop(home)
    with pytest.MonkeyPatch.context() as patch:
        # the runner sets them; the environment of this process is as before afterwards
        patch.setenv("DAGSTER_HOME", str(shop.dagster_home))
        patch.setenv("RFM_HOME", str(home))
        Runner(shop).run()
    names = "select table_name from information_schema.tables where table_schema = 'main'"
    tables = set(open_warehouse(shop).read(names)["table_name"].to_list())
    assert tables - BOOKKEEPING == set(parents_of(build_defs(home))) - HANDOUTS


def test_a_run_may_ask_for_one_table_of_a_step(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, shop={"first_week": date(2025, 1, 6), "last_week": date(2025, 1, 13)})
    write_export(shop, "orders.csv", *(f"{n},c{n},2025-01-{n:02},tea,1,5.00" for n in range(6, 20)))
    defs = build_defs(shop.home)
    job = defs.resolve_job_def("weekly_job")
    made: list[str] = []
    with dg.DagsterInstance.ephemeral() as instance:
        for table in (
            "rejected_rows",
            "order_lines",
            "customer_activity",
            "customer_rfm",
            "segment_thresholds",
        ):
            ran = job.execute_in_process(
                instance=instance, asset_selection=[dg.AssetKey(table)], partition_key="2025-01-06"
            )
            assert ran.success, table
            made += [event.asset_key.to_user_string() for event in ran.get_asset_materialization_events()]
    assert made == ["rejected_rows", "order_lines", "customer_activity", "customer_rfm", "segment_thresholds"]
    # the step writes all of its tables
    assert open_warehouse(shop).read("select count(*) as n from customer_segments")["n"][0] > 0
