"""Real database servers for tests and benchmarks: PostgreSQL and MariaDB, each in a temporary folder.

Belongs here: finding the binaries, starting a server on a free port of 127.0.0.1, stopping it. Doesn't
belong here: tables, and what is tested about them.
"""

import contextlib
import ctypes
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pymysql
import pytest

USER = "shop_reader"
PASSWORD = "p@ss/wörd:密"  # awkward on purpose: it has to be quoted in a URL
DATABASE = "shop"
ADMIN = "admin"
_START_SECONDS = 60
_STOP_SECONDS = 30
_PR_SET_PDEATHSIG = 1


class MissingServerError(Exception):
    """The server's binaries are not on this machine; the message names their package."""


@dataclass
class Server:
    """A running server, with an empty database :data:`DATABASE` that :data:`USER` may read.

    Attributes:
        scheme: ``postgresql`` or ``mariadb``.
        port: On 127.0.0.1.
        folder: Its data, socket and log; removed when it stops.
        process: The server itself.
    """

    scheme: str
    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"

    def url(self, user: str = USER, password: str = PASSWORD, database: str = DATABASE) -> str:
        """The server's URL, as a shop would write it into the environment."""
        return f"{self.scheme}://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def admin(self) -> Any:
        """A new connection of the owner of everything; autocommit, close it."""
        if self.scheme == "postgresql":
            return psycopg.connect(
                host="127.0.0.1",
                port=self.port,
                user=ADMIN,
                password=PASSWORD,
                dbname=DATABASE,
                autocommit=True,
            )
        return pymysql.connect(
            unix_socket=str(self.folder / "socket"),
            user="root",
            database=DATABASE,
            autocommit=True,
            charset="utf8mb4",
        )

    def execute(self, *statements: str) -> None:
        """Runs statements as the owner of everything."""
        with contextlib.closing(self.admin()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def kill(self) -> None:
        """Ends the server the hard way, as a power cut does."""
        if self.scheme == "postgresql":
            self.process.send_signal(signal.SIGQUIT)  # it ends its backends too, unlike SIGKILL
        else:
            self.process.kill()
        self.process.wait(_STOP_SECONDS)


def _binary(name: str, package: str, *folders: str) -> str:
    """The path of a binary, the newest version if a package installs several."""
    beside = sorted(path for folder in folders for path in Path("/").glob(f"{folder}/{name}"))
    found = str(beside[-1]) if beside else shutil.which(name)
    if found is None:
        raise MissingServerError(f"{name} is not installed; the Debian package is {package}")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _account(name: str) -> str:
    """Whom the server runs as: servers refuse root, so under root it is the package's own account."""
    if os.geteuid() != 0:
        return getpass.getuser()
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        return "nobody"


@contextmanager
def _folder(account: str) -> Iterator[Path]:
    """A temporary folder of the account, in a place that it can reach; short, for the socket's path."""
    folder = Path(tempfile.mkdtemp(prefix="rfm-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, account)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(command: list[str], account: str, folder: Path) -> None:
    with (folder / "prepare.log").open("wb") as log:
        done = subprocess.run(
            command, user=account, cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{(folder / 'prepare.log').read_text('utf-8', 'replace')}")


@contextmanager
def _running(command: list[str], account: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    stop = signal.SIGINT if Path(command[0]).name == "postgres" else signal.SIGTERM

    def end_with_parent() -> None:  # also when the tests are killed
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, stop)

    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            user=account,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until(connects: Callable[[], Any], process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Tries to connect until it works, or the server has ended, or it takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            connects().close()
            return
        except (psycopg.Error, pymysql.Error):
            if process.poll() is not None or time.monotonic() > deadline:
                log = (folder / "server.log").read_text("utf-8", "replace")
                raise RuntimeError(f"the server does not answer:\n{log}") from None
            time.sleep(0.1)


@contextmanager
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server.

    Raises:
        MissingServerError: If PostgreSQL is not installed.
    """
    folders = ("usr/lib/postgresql/*/bin",)
    initdb = _binary("initdb", "postgresql", *folders)
    postgres = _binary("postgres", "postgresql", *folders)
    account, port = _account("postgres"), _free_port()
    with _folder(account) as folder:
        secret = folder / "password"
        secret.write_text(PASSWORD, "utf-8")
        secret.chmod(0o644)
        _prepare(
            [
                *(initdb, "-D", str(folder / "data"), "-U", ADMIN, "--auth=scram-sha-256"),
                *("--pwfile", str(secret), "--encoding=UTF8", "--no-locale", "--no-sync"),
            ],
            account,
            folder,
        )
        command = [postgres, "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with _running(command, account, folder) as process:
            how = {"host": "127.0.0.1", "port": port, "user": ADMIN, "password": PASSWORD}

            def connect() -> Any:
                return psycopg.connect(**how, dbname="postgres", autocommit=True)

            _wait_until(connect, process, folder)
            with connect() as connection:
                connection.execute(f"create database {DATABASE}")
            server = Server("postgresql", port, folder, process)
            server.execute(
                f"create role {USER} login password '{PASSWORD}'",
                f"alter default privileges in schema public grant select on tables to {USER}",
            )
            yield server


@contextmanager
def mariadb() -> Iterator[Server]:
    """A MariaDB server.

    Raises:
        MissingServerError: If MariaDB is not installed.
    """
    folders = ("usr/sbin", "usr/bin", "usr/local/bin")
    install = _binary("mariadb-install-db", "mariadb-server", *folders)
    mariadbd = _binary("mariadbd", "mariadb-server", *folders)
    account, port = _account("mysql"), _free_port()
    with _folder(account) as folder:
        data = f"--datadir={folder / 'data'}"
        _prepare(
            [install, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db"],
            account,
            folder,
        )
        command = [mariadbd, "--no-defaults", data, f"--port={port}", "--bind-address=127.0.0.1"]
        command += [f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}"]
        command += ["--innodb-flush-log-at-trx-commit=0", "--character-set-server=utf8mb4"]
        with _running(command, account, folder) as process:

            def connect() -> Any:
                return pymysql.connect(unix_socket=str(folder / "socket"), user="root", charset="utf8mb4")

            _wait_until(connect, process, folder)
            with contextlib.closing(connect()) as connection, connection.cursor() as cursor:
                cursor.execute(f"create database {DATABASE} character set utf8mb4")
            server = Server("mariadb", port, folder, process)
            server.execute(
                f"create user '{USER}'@'127.0.0.1' identified by '{PASSWORD}'",
                f"grant select on {DATABASE}.* to '{USER}'@'127.0.0.1'",
            )
            yield server


SERVERS = {"postgresql": postgresql, "mariadb": mariadb}
# parameters for a test that runs on each of them; without its binaries it is skipped
EACH_SERVER = [pytest.param(name, marks=pytest.mark.database(name)) for name in SERVERS]
