"""Where the ledger lives, and what is said when it can't be used: what to do, and no secret of the URL."""

import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from rfm_pipeline.errors import LedgerBusyError, LedgerError, RfmError
from rfm_pipeline.ledger import Ledger, database
from rfm_pipeline_tests.helpers import make_shop
from rfm_pipeline_tests.ingest.databases.servers import ADMIN, PASSWORD, USER, Server
from rfm_pipeline_tests.ledger.ledger_rows import CUSTOMER, WEEK, calls, fresh_schema, seal

VARIABLE = "RFM_LEDGER_TEST_URL"


def refusal(use: Callable[[], object], kind: type[RfmError] = LedgerError) -> str:
    """The error, after a look that the whole printed story holds no secret."""
    with pytest.raises(kind) as caught:
        use()
    story = "".join(traceback.format_exception(caught.value))
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "s3cret", CUSTOMER):
        assert secret not in story
    return str(caught.value)


# --- by the settings ------------------------------------------------------------------------------


def test_a_ledger_is_a_file_unless_a_variable_is_named(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    seal(Ledger(shop.ledger_url), "a")
    assert (tmp_path / "ledger.sqlite").exists()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_ledger_is_where_the_variable_says(
    tmp_path: Path, server: Server, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh_schema(server)
    monkeypatch.setenv(VARIABLE, url.replace("postgresql+psycopg:", f"{scheme}:"))
    shop = make_shop(tmp_path, ledger={"url_env": VARIABLE})
    seal(Ledger(lambda: shop.ledger_url), "a")
    assert Ledger(url).sealed_weeks() == {WEEK}
    assert not (tmp_path / "ledger.sqlite").exists()


def test_a_variable_that_is_not_set_is_told_when_the_ledger_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    shop = make_shop(tmp_path, ledger={"url_env": VARIABLE})
    ledger = Ledger(lambda: shop.ledger_url)
    assert repr(ledger) == "Ledger(...)"
    message = refusal(ledger.sealed_weeks)
    assert message.startswith(
        f"the environment variable {VARIABLE} is not set; it holds the URL of the ledger"
    )
    assert "ledger.url_env in shop.yaml" in message
    # no second ledger comes into being beside the one that can't be reached
    assert not (tmp_path / "ledger.sqlite").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://rfm:s3cret@127.0.0.1/ledger", "begins with mysql://; known are postgresql://"),
        ("sqlite:////tmp/s3cret.sqlite", "begins with sqlite://; known are postgresql://"),
        ("rfm:s3cret@127.0.0.1", "holds no URL such as postgresql://"),
        ("postgresql://rfm:s3cret@127.0.0.1:port/ledger", "holds no URL such as postgresql://"),
    ],
)
def test_a_variable_that_holds_something_else_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, message: str
) -> None:
    monkeypatch.setenv(VARIABLE, url)
    shop = make_shop(tmp_path, ledger={"url_env": VARIABLE})
    assert message in refusal(Ledger(lambda: shop.ledger_url).sealed_weeks)


# --- PostgreSQL -----------------------------------------------------------------------------------


def at(server: Server, **other: str) -> Ledger:
    return Ledger(server.url(**({"user": ADMIN} | other)).replace("postgresql:", "postgresql+psycopg:"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"password": "s3cret"}, "can't connect: the server refused user or password"),
        ({"user": "nobody"}, "can't connect: the server refused user or password"),
        ({"database": "nowhere"}, "can't connect: the server has no such database"),
    ],
)
def test_a_server_that_refuses_is_reported(server: Server, other: dict[str, str], message: str) -> None:
    ledger = at(server, **other)
    assert message in refusal(ledger.sealed_weeks)
    assert message in refusal(lambda: ledger.lock("send").__enter__())
    assert message in refusal(lambda: ledger.holdings("a"))


def test_a_server_that_is_not_there_is_reported() -> None:
    ledger = Ledger("postgresql+psycopg://rfm:s3cret@127.0.0.1:9/ledger")
    message = refusal(ledger.sealed_weeks)
    assert message.startswith(
        "the ledger in PostgreSQL at 127.0.0.1/ledger: can't connect: nothing listens there"
    )


def test_an_option_that_is_none_is_reported(server: Server) -> None:
    url = server.url(user=ADMIN).replace("postgresql:", "postgresql+psycopg:")
    assert "an option that PostgreSQL does not know" in refusal(Ledger(f"{url}?s3cret=1").sealed_weeks)


def test_a_user_who_may_make_no_tables_is_reported(server: Server) -> None:
    message = refusal(at(server, user=USER).sealed_weeks)
    assert "no rights: permission denied for schema public" in message
    assert "grant this user CREATE on a schema of its own" in message


def test_a_user_who_may_only_read_is_told_when_writing(server: Server) -> None:
    url = fresh_schema(server)
    seal(Ledger(url), "a")
    schema = url.rpartition("%3D")[2]
    server.execute(
        f"grant usage on schema {schema} to {USER}",
        f"grant select on all tables in schema {schema} to {USER}",
    )
    reader = Ledger(url.replace(f"//{ADMIN}:", f"//{USER}:"))
    assert reader.sealed_weeks() == {WEEK}
    assert "no rights: permission denied for table messages" in refusal(
        lambda: reader.claim_message("a", "b")
    )


def test_a_schema_that_is_not_there_is_reported(server: Server) -> None:
    url = server.url(user=ADMIN).replace("postgresql:", "postgresql+psycopg:")
    message = refusal(Ledger(f"{url}?options=-csearch_path%3Dnowhere").sealed_weeks)
    assert "there is no schema to make tables in" in message


def test_a_connection_that_breaks_is_told_and_nothing_is_written(server: Server) -> None:
    ledger = Ledger(fresh_schema(server))
    seal(ledger, "a")

    def write() -> None:
        with ledger.begin() as connection:
            connection.exec_driver_sql("delete from tag_actions")
            mine = connection.exec_driver_sql("select pg_backend_pid()").scalar()
            server.execute(f"select pg_terminate_backend({mine})")
            connection.exec_driver_sql("delete from assignments")

    assert "the connection was lost; run it again" in refusal(write)
    assert ledger.tag_actions().height == ledger.assignments().height == 1


def test_a_row_that_is_refused_is_not_quoted(server: Server) -> None:
    """PostgreSQL's own error does, in its DETAIL."""
    ledger = Ledger(fresh_schema(server))
    seal(ledger, CUSTOMER)
    columns = "week, userid, external_userid, tag, action, customer_id, status, attempts, requested_at"

    def write() -> None:
        with ledger.begin() as connection:
            connection.exec_driver_sql(
                f"insert into tag_calls ({columns}) select week, customer_id, '', '', '', customer_id, '', "
                "null, now() from assignments"
            )

    with pytest.raises(sa.exc.IntegrityError, match="null value in column") as caught:
        write()
    assert CUSTOMER not in "".join(traceback.format_exception(caught.value))


def test_times_and_money_are_the_same_on_both(url: str) -> None:
    """Whatever the server's time zone."""
    ledger = Ledger(url)
    seal(ledger, "a")
    ledger.request_calls(WEEK, calls("a"))
    ledger.claim_message("weekly", "w")
    (row,) = ledger.assignments().to_dicts()
    assert (row["monetary"], row["silent_since"].isoformat()) == ("12.3400", "2023-11-11T23:59:59")
    (asked,) = ledger.messages()["requested_at"].to_list()
    assert abs((asked - database.now()).total_seconds()) < 60
    assert ledger.sealed_at(WEEK).tzinfo is None


# --- SQLite ---------------------------------------------------------------------------------------


def test_a_file_in_no_folder_is_reported(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'nowhere' / 'ledger.sqlite'}")
    assert "it can't be opened; check that its folder is there" in refusal(ledger.sealed_weeks)
    assert "can't be opened: No such file" in refusal(lambda: ledger.lock("send").__enter__())


def test_a_file_that_is_no_ledger_is_told_and_left_alone(file_ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"week,customer\n" * 100)
    assert "it is no SQLite file; put the backup back" in refusal(file_ledger.sealed_weeks)
    assert path.read_bytes() == b"week,customer\n" * 100


def test_a_file_that_may_not_be_written_is_reported(file_ledger: Ledger, tmp_path: Path) -> None:
    seal(file_ledger, "a")
    reader = Ledger(f"sqlite:///file:{tmp_path / 'ledger.sqlite'}?mode=ro&uri=true")
    assert reader.sealed_weeks() == {WEEK}
    assert "it may not be written to" in refusal(lambda: reader.claim_message("a", "b"))


def test_a_file_that_is_held_for_long_is_reported(
    file_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(file_ledger, "a")
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    other = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with file_ledger.begin():
        assert other.sealed_weeks() == {WEEK}
        message = refusal(lambda: other.claim_message("a", "b"), LedgerBusyError)
    assert "another process has held the ledger for 0.2 seconds" in message
    assert other.claim_message("a", "b")
