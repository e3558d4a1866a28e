"""The Spark that a shop's settings ask for: starting it, its share of memory, its errors without values."""

import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rfm_pipeline.errors import RfmError, SparkError, ValidationError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B|(%))")
_LOCAL = re.compile(r"local(\[.*\])?")

# the results hang on these: they are DuckDB's ways
_DECIDING = {
    # a value that doesn't fit is an error, not a null
    "spark.sql.ansi.enabled": "true",
    # times are the shop's, without a zone
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    # money is not rounded on the way
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    # a week that is written again replaces its own folder only
    "spark.sql.sources.partitionOverwriteMode": "dynamic",
}
_DEFAULTS = {
    "spark.app.name": "rfm",
    "spark.log.level": "WARN",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.parquet.compression.codec": "zstd",
    # pandera looks at a batch at a time; each look costs some ms
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
}
_LOCAL_DEFAULTS = {
    # nobody on the network has business here
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # listing folders is no work for a job where they are at hand
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",
}
_OUT_OF_RANGE = re.compile("OVERFLOW|OUT_OF_RANGE|CAST|DIVIDE_BY_ZERO|INVALID_INPUT", re.IGNORECASE)

_running: dict[str, Any] = {}


def require_spark() -> None:
    """Stops where Spark can't be started.

    Raises:
        RfmError: If a package or Java is missing; the message says how to get it.
    """
    missing = [name for name in ("pyspark", "sqlglot", "fsspec") if find_spec(name) is None]
    if missing:
        raise RfmError(
            f"warehouse.engine: spark needs {', '.join(missing)}: pip install 'rfm-pipeline[spark]' "
            "(or uv sync --extra spark), or set warehouse.engine: duckdb."
        )
    java = os.environ.get("JAVA_HOME")
    if not (shutil.which("java") or (java and shutil.which("java", path=f"{java}/bin"))):
        raise RfmError(
            "warehouse.engine: spark needs Java 17 or newer on this machine (Debian: apt-get install "
            "default-jre-headless), or JAVA_HOME that names one."
        )


def bytes_of(limit: str) -> int:
    """A ``memory_limit`` in bytes; a percentage is of this machine's memory."""
    found = _SIZE.fullmatch(limit)
    assert found is not None, "shop.yaml's model lets no other spelling pass"
    number, unit, is_binary, percent = float(found[1]), found[2], found[3], found[4]
    if percent:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * number / 100)
    return int(number * (_BINARY_UNITS if is_binary else _UNITS)[unit])


@dataclass(frozen=True)
class ClusterSettings:
    """Which Spark, and how much of this machine its driver may use.

    Attributes:
        master: Spark's master URL.
        memory_limit: What all of a run may hold in memory here, as in ``warehouse.memory_limit``.
        threads: Cores to use here, None for all.
        conf: Spark's own settings; they come before ours, those aside on which results hang.
        log: A file for what Spark's driver logs, which may quote rows; None leaves it on stderr.
    """

    master: str = "local[*]"
    memory_limit: str = "4GB"
    threads: int | None = None
    conf: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether the work is done in this machine's driver."""
        return _LOCAL.fullmatch(self.master) is not None

    @property
    def catalog_memory(self) -> str:
        """What the catalog's DuckDB may hold: a quarter."""
        return f"{max(bytes_of(self.memory_limit) // 4 // 10**6, 1)}MB"

    def spark_conf(self) -> dict[str, str]:
        """Spark's whole configuration.

        Of the memory, half is the driver's heap (in which a local Spark does its work), a quarter the
        catalog's, and a quarter is left for Python, which checks rows, and for Java beside its heap.
        """
        master = self.master
        if self.threads and master == "local[*]":
            master = f"local[{self.threads}]"
        cores = self.threads or os.cpu_count() or 1
        local = {**_LOCAL_DEFAULTS, "spark.sql.shuffle.partitions": str(2 * cores)} if self.is_local else {}
        heap = {"spark.driver.memory": f"{max(bytes_of(self.memory_limit) // 2 // 2**20, 512)}m"}
        return {**_DEFAULTS, **heap, **local, **self.conf, **_DECIDING, "spark.master": master}

    def session(self) -> Any:
        """The running Spark session; started on first use, and kept until the process ends.

        Raises:
            RfmError: If Spark isn't installed or doesn't start.
        """
        conf = self.spark_conf()
        if _running.get("conf") == conf:
            return _running["session"]
        require_spark()
        stop_spark()
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession

        # executors check rows in the same Python as this, unless it is named
        os.environ.setdefault("PYSPARK_PYTHON", conf.get("spark.pyspark.python", sys.executable))
        builder = SparkSession.builder
        for name, value in conf.items():
            builder = builder.config(name, value)
        # a notice to programmers about pandas, which isn't used
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
        try:
            with _stderr_to(self.log):
                session = builder.getOrCreate()
        except (PySparkException, Py4JError, OSError) as error:
            raise SparkError(
                f"Spark did not start with master {self.master} ({type(error).__name__}). Look at "
                "warehouse.spark in shop.yaml: does the master run, can it be reached from here, and can "
                "this machine be reached from it (spark.driver.host)?"
            ) from None
        _running.update(conf=conf, session=session)
        return session


@contextmanager
def _stderr_to(log: Path | None) -> Iterator[None]:
    """Sends to a file what this process and those it starts in the block write to stderr, those for good."""
    if log is None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept = os.dup(2)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.dup2(file, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(file)


def stop_spark() -> None:
    """Stops the Spark session of this process, if there is one."""
    session = _running.pop("session", None)
    _running.clear()
    if session is not None:
        session.stop()


@contextmanager
def errors_without_values(what: str) -> Iterator[None]:
    """Reports that Spark failed without quoting it: its errors hold values and rows.

    Raises:
        ValidationError: If a value doesn't fit.
        SparkError: If anything else went wrong while it ran.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except AnalysisException:
        # about the statement, before any row was read
        raise
    except (PySparkException, Py4JError) as error:
        kind = (error.getCondition() if isinstance(error, PySparkException) else None) or type(error).__name__
        if _OUT_OF_RANGE.search(kind):
            raise ValidationError(
                f"{what}: a value can't be written to its column or computed with ({kind}); "
                "nothing was written."
            ) from None
        raise SparkError(
            f"{what}: Spark gave up ({kind}), nothing was written. warehouse_spark/spark.log in the shop's "
            "home and the executors' own logs say more; they may quote rows. Run again when the cause is "
            "mended: what was done before stays done."
        ) from None
