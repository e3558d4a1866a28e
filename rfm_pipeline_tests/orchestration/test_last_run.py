"""A second `rfm run` does nothing where nothing changed, and works wherever something may have."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from rfm_pipeline.cli.app import main
from rfm_pipeline.demo.sample_shop import make_sample
from rfm_pipeline.ledger import Ledger
from rfm_pipeline.orchestration import last_run
from rfm_pipeline.orchestration.last_run import report_if_up_to_date
from rfm_pipeline.shop import Shop, load_shop
from rfm_pipeline.storage import fingerprints
from rfm_pipeline.weeks import shop_now
from rfm_pipeline_tests.helpers import small_warehouse, table_rows

TAGS = {"sent": 0, "done": 3, "failed": 0, "rejected": 0, "unmatched": 0}
SENTENCE = "nothing has changed since the last run"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`rfm run` names the shop in the environment; files count as settled at once."""
    monkeypatch.delenv("RFM_HOME", raising=False)
    monkeypatch.setattr(fingerprints, "FRESH_SECONDS", 0.0)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def run(home: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--home", str(home), *arguments])
    return int(ended.value.code or 0)


def files_of(home: Path) -> dict[str, fingerprints.FileState]:
    """Every file of a home, with what tells that it was written to."""
    return {str(path): fingerprints.state_of(path) for path in sorted(home.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample shop whose newest week went through all stages once."""
    home = tmp_path_factory.mktemp("shop") / "home"
    make_sample(home, customers=250, weeks=20, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprints, "FRESH_SECONDS", 0.0)
        patch.setenv("DAGSTER_HOME", "")
        assert run(home) == 0
    return home


def test_a_run_of_a_home_that_is_up_to_date_says_so_and_leaves_every_file_as_it_is(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(made)
    for _ in range(2):
        assert run(made) == 0
        printed = capsys.readouterr()
        assert SENTENCE in printed.err
        assert "silent_churner" in printed.out
        assert "tag changes carried out by this run: 0; of the week: done" in printed.out
        assert files_of(made) == before
    # no Dagster run either: the one of the ingest, the one of the history, the one of the week
    os.environ["DAGSTER_HOME"] = str(load_shop(made).dagster_home)
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs_count() == 3


def _set_rule(home: Path) -> None:
    path = home / "shop.yaml"
    path.write_text(
        path.read_text("utf-8").replace("dormant_after_days: 90", "dormant_after_days: 80"), "utf-8"
    )


def _one_more_export(home: Path) -> None:
    (home / "orders" / "more.csv").write_text("order_id\n", "utf-8")


def _same_bytes_again(home: Path) -> None:
    path = next(path for path in (home / "orders").iterdir() if path.is_file())
    path.write_bytes(path.read_bytes())


def _somebody_opts_out(home: Path) -> None:
    (home / "suppression").mkdir(exist_ok=True)
    (home / "suppression" / "new.csv").write_text("customer_id\nnobody\n", "utf-8")


def _a_contact_more(home: Path) -> None:
    (home / "contacts").mkdir(exist_ok=True)
    (home / "contacts" / "new.csv").write_text("customer_id,email\nnobody,a@example.org\n", "utf-8")


def _team_tells_of_an_answer(home: Path) -> None:
    (home / "outreach").mkdir(exist_ok=True)
    (home / "outreach" / "week.csv").write_text("customer_id\n", "utf-8")


def _own_preset(home: Path) -> None:
    (home / "presets").mkdir(exist_ok=True)
    (home / "presets" / "mine.yaml").write_text("row: line\n", "utf-8")


def _warehouse_deleted(home: Path) -> None:
    (home / "warehouse.duckdb").unlink()


def _somebody_forgotten(home: Path) -> None:
    Ledger(load_shop(home).ledger_url).forget("nobody")


def _work_list_deleted(home: Path) -> None:
    next((home / "out" / "worklists").iterdir()).unlink()


def _report_deleted(home: Path) -> None:
    next((home / "out" / "reports").iterdir()).unlink()


def _note_torn(home: Path) -> None:
    (home / ".dagster" / "last_run.json").write_text('{"inputs": ', "utf-8")


@pytest.mark.parametrize(
    "change",
    [
        _set_rule,
        _one_more_export,
        _same_bytes_again,
        _somebody_opts_out,
        _a_contact_more,
        _team_tells_of_an_answer,
        _own_preset,
        _warehouse_deleted,
        _somebody_forgotten,
        _work_list_deleted,
        _report_deleted,
        _note_torn,
    ],
)
def test_after_any_change_the_next_run_works(
    made: Path, change: Callable[[Path], None], tmp_path: Path
) -> None:
    # a copy has other inodes, so the home itself is changed and then put back
    kept = tmp_path / "kept"
    shutil.copytree(made, kept)
    shop = load_shop(made)
    _note_again(shop)
    assert report_if_up_to_date(shop) is not None
    change(made)
    assert report_if_up_to_date(load_shop(made)) is None
    shutil.rmtree(made)
    shutil.copytree(kept, made)


def _note_again(shop: Shop) -> None:
    """Notes the state of a home as if a run had just ended there that left nothing open."""
    [week] = [max(week for (week,) in small_warehouse(shop).read("select week from recall_list").iter_rows())]
    report = last_run.RunReport(
        weeks=[week],
        metadata={"raw_orders": {"files_still_being_written": 0}, "customer_tags": TAGS},
    )
    last_run.note_last_run(shop, last_run.inputs_of(shop), report)


def test_on_another_day_the_next_run_works(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = load_shop(made)
    _note_again(shop)
    assert report_if_up_to_date(shop) is not None
    monkeypatch.setattr(last_run, "shop_now", lambda shop: shop_now(shop) + timedelta(days=1))
    assert report_if_up_to_date(shop) is None


def test_a_file_that_was_just_written_to_is_not_trusted(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = load_shop(made)
    _same_bytes_again(made)
    _note_again(shop)
    assert report_if_up_to_date(shop) is not None
    monkeypatch.setattr(fingerprints, "FRESH_SECONDS", 60.0)
    assert report_if_up_to_date(shop) is None
    last_run.forget_last_run(shop)
    _note_again(shop)
    monkeypatch.setattr(fingerprints, "FRESH_SECONDS", 0.0)
    assert report_if_up_to_date(shop) is None


@pytest.mark.parametrize(
    ("asset", "entries", "warnings"),
    [
        ("raw_orders", {"files_still_being_written": 1}, []),
        ("customer_tags", {"sent": 1, "failed": 1}, []),
        ("customer_tags", {"sent": 0, "refused": "data checks failed"}, []),
        ("ops_worklist", {"refused": "the list was not sent"}, []),
        ("customer_tags", {"sent": 0}, [("customer_tags", "nothing_left_open", "open_changes 1")]),
        ("customer_tags", {"sent": 0}, [("order_lines", "no_order_in_the_future", "lines 1")]),
    ],
)
def test_a_run_that_left_something_open_is_not_noted(
    made: Path, asset: str, entries: dict[str, object], warnings: list[tuple[str, str, str]]
) -> None:
    shop = load_shop(made)
    last_run.forget_last_run(shop)
    metadata: dict[str, dict[str, object]] = {
        "raw_orders": {"files_still_being_written": 0},
        "customer_tags": TAGS,
    }
    metadata[asset] = metadata.get(asset, {}) | entries
    newest = last_run.newest_closed_week(shop, shop_now(shop))
    report = last_run.RunReport(weeks=[newest], metadata=metadata, warnings=warnings)
    last_run.note_last_run(shop, last_run.inputs_of(shop), report)
    assert report_if_up_to_date(shop) is None


def test_weeks_that_are_asked_for_are_made_again_and_the_run_after_that_works(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = load_shop(made)
    _note_again(shop)
    rows = table_rows(small_warehouse(shop), "customer_segments")
    week = str(max(row["week"] for row in rows))
    assert run(made, "--week", week) == 0
    assert SENTENCE not in capsys.readouterr().err
    assert report_if_up_to_date(shop) is None
    assert table_rows(small_warehouse(shop), "customer_segments") == rows
    assert run(made) == 0
    assert SENTENCE not in capsys.readouterr().err
    assert report_if_up_to_date(shop) is not None
