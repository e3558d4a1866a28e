"""One process at a time: by real processes and threads, killed and cut off, on both databases."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rfm_pipeline.errors import LedgerBusyError
from rfm_pipeline.ledger import Ledger
from rfm_pipeline_tests.ingest.databases.servers import Server
from rfm_pipeline_tests.ledger.ledger_rows import fresh_schema, in_step, start

ROUNDS = 10


def _hold(url: str, ready: Callable[[], None]) -> None:
    with Ledger(url).lock("send"):
        ready()
        time.sleep(600)


def test_one_is_in_and_the_next_only_after_it(ledger: Ledger) -> None:
    with ledger.lock("send") as lock:
        assert lock.still_mine()
        with pytest.raises(LedgerBusyError, match="another process is at 'send'"), ledger.lock("send"):
            pytest.fail("two are in")
        assert lock.still_mine()
    assert not lock.still_mine()
    with ledger.lock("send") as again:
        assert again.still_mine()


def test_two_names_are_two_locks(ledger: Ledger) -> None:
    with ledger.lock("send"), ledger.lock("report"):
        pass


def test_an_error_in_the_block_frees_it(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.lock("send"):
        raise ZeroDivisionError
    with ledger.lock("send"):
        pass


@pytest.mark.parametrize("name", ["", "../x", "Send", "a b", "x" * 61])
def test_a_name_is_plain(file_ledger: Ledger, name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a lock"), file_ledger.lock(name):
        pass


def test_two_schemas_of_one_database_are_two_ledgers(server: Server) -> None:
    with Ledger(fresh_schema(server)).lock("send"), Ledger(fresh_schema(server)).lock("send"):
        pass


def test_threads_of_one_process_exclude_each_other(ledger: Ledger) -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def work(_: int) -> None:
        nonlocal inside, most
        with ledger.lock("send", wait_seconds=60):
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with guard:
                inside -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(18)))
    assert most == 1


def _enter_in_step(url: str, name: str, barrier: Any, answers: Any) -> None:
    ledger = Ledger(url)
    for number in range(ROUNDS):
        barrier.wait()
        try:
            with ledger.lock("send"):
                entered = True
                # nobody leaves before everybody has tried
                barrier.wait()
        except LedgerBusyError:
            entered = False
            barrier.wait()
        answers.put((number, entered))
        barrier.wait()


def test_of_three_processes_one_is_let_in(url: str) -> None:
    answers = in_step(_enter_in_step, url, ("x", "y", "z"), 3 * ROUNDS)
    assert [sum(entered for found, entered in answers if found == number) for number in range(ROUNDS)] == (
        [1] * ROUNDS
    )


def test_who_waits_gets_in_when_the_other_is_out(ledger: Ledger) -> None:
    freed = threading.Event()

    def free_later() -> None:
        with ledger.lock("send"):
            taken.set()
            time.sleep(0.5)
            freed.set()

    taken = threading.Event()
    thread = threading.Thread(target=free_later)
    thread.start()
    taken.wait()
    with ledger.lock("send", wait_seconds=60):
        assert freed.is_set()
    thread.join()


def test_who_waits_in_vain_is_told_in_time(ledger: Ledger) -> None:
    with ledger.lock("send"):
        begun = time.monotonic()
        with pytest.raises(LedgerBusyError), ledger.lock("send", wait_seconds=0.3):
            pytest.fail("two are in")
        assert time.monotonic() - begun >= 0.3


def test_a_killed_process_leaves_no_lock(url: str) -> None:
    ledger = Ledger(url)
    for _ in range(3):
        process = start(_hold, url)
        with pytest.raises(LedgerBusyError), ledger.lock("send"):
            pytest.fail("two are in")
        process.kill()
        process.join()
        # the server has to notice that the connection is gone
        with ledger.lock("send", wait_seconds=30) as lock:
            assert lock.still_mine()


def test_a_lock_is_lost_with_its_connection_and_never_comes_back(server: Server) -> None:
    ledger = Ledger(fresh_schema(server))
    with ledger.lock("send") as lock:
        server.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> "
            "pg_backend_pid() and database = (select oid from pg_database where datname = current_database())"
        )
        with ledger.lock("send", wait_seconds=30) as other:
            assert not lock.still_mine()
            assert other.still_mine()
        assert not lock.still_mine()


def test_a_lock_is_lost_when_somebody_frees_it_on_the_connection(server: Server) -> None:
    """As a pooler between program and server does when it hands the connection to somebody else."""
    with Ledger(fresh_schema(server)).lock("send") as lock:
        lock._connection.exec_driver_sql("select pg_advisory_unlock_all()")  # type: ignore[attr-defined]
        assert not lock.still_mine()


def test_any_thread_may_ask_whether_the_lock_is_held(ledger: Ledger) -> None:
    with ledger.lock("send") as lock, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: lock.still_mine(), range(200)))


def test_a_lock_whose_file_was_taken_away_is_lost(file_ledger: Ledger, tmp_path: Path) -> None:
    with file_ledger.lock("send") as lock:
        (tmp_path / "ledger.sqlite.lock-send").unlink()
        assert not lock.still_mine()
        with file_ledger.lock("send") as other:
            assert other.still_mine()
            assert not lock.still_mine()


def test_the_lock_of_a_file_is_beside_it_for_its_owner_alone(file_ledger: Ledger, tmp_path: Path) -> None:
    with file_ledger.lock("send"):
        pass
    (made,) = tmp_path.iterdir()
    assert made.name == "ledger.sqlite.lock-send"
    assert made.stat().st_mode & 0o777 == 0o600
    assert made.stat().st_size == 0
