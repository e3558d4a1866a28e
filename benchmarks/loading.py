"""Loading a large CSV export: this project beside DuckDB's own reader and pandas, lines a second and memory.

Every way runs in a process of its own. This project reads, types, judges and keeps every row with its file
and number (``load_new_files``: hash of the file, encoding and quoting told from every byte, rejected and
unpaid rows set aside, touched orders noted, everything validated). DuckDB's ``read_csv`` guesses types and
writes a table; pandas' ``read_csv`` with parsed dates ends in memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from benchmarks.report import Timing, machine, say, table, timed, timing, write

FIRST_WEEK = "2023-01-02"
SHOP = f"""
shop: {{{{name: bench, first_week: {FIRST_WEEK}}}}}
warehouse: {{{{memory_limit: {{memory}}}}}}
"""
OURS = """
import sys
from pathlib import Path
from rfm_pipeline.ingest.loading import load_new_files
from rfm_pipeline.shop import load_shop
from rfm_pipeline.warehouse.duckdb import Warehouse
shop = load_shop(Path(sys.argv[1]))
report = load_new_files(Warehouse(shop.warehouse_path, shop.warehouse.memory_limit), shop)
rows = report.loaded[0]["rows_accepted"]
"""
DUCKDB = """
import sys
import duckdb
limits = {"memory_limit": sys.argv[2], "preserve_insertion_order": False}
connection = duckdb.connect(sys.argv[1] + "/duckdb.db", config=limits)
connection.execute("create table lines as select * from read_csv('" + sys.argv[1] + "/orders/all.csv')")
rows = connection.execute("select count(*) from lines").fetchone()[0]
"""
PANDAS = """
import sys
import pandas
rows = len(pandas.read_csv(sys.argv[1] + "/orders/all.csv", parse_dates=["ordered_at"]))
"""
MEASURED = """
from benchmarks.report import peak_memory
print(rows, peak_memory())
"""
WAYS = {
    "DuckDB `read_csv` into a table": DUCKDB,
    "this project, `load_new_files`": OURS,
    "pandas `read_csv`": PANDAS,
}


def write_lines(path: Path, lines: int) -> None:
    """An export of the standard layout: three lines an order, Chinese product names."""
    duckdb.connect().execute(
        f"""
        copy (
            select
                'ORDER' || lpad((i // 3)::varchar, 10, '0') as order_id,
                i % 3 + 1 as line_no,
                'CUST' || (hash(i // 3) % 1700000) as customer_id,
                strftime(timestamp '{FIRST_WEEK}' + to_seconds((i // 3) * 18.5::double), '%Y-%m-%d %H:%M:%S')
                    as ordered_at,
                'sale' as line_type,
                'SKU' || (hash(i) % 3000) as sku,
                '商品名称' || (hash(i) % 3000) as product_name,
                1 + hash(i) % 3 as quantity,
                ((hash(i + 1) % 100000) / 100.0)::decimal(12, 2) as unit_price,
                'false' as is_clearance
            from range({lines}) r(i)
        ) to '{path}' (header)
        """
    )


def measured(script: str, folder: Path, memory: str) -> tuple[int, float]:
    """Rows and peak memory in GiB of a way, in a process of its own."""
    for made in folder.glob("*.d*b*"):
        made.unlink()
    command = [sys.executable, "-c", script + MEASURED, str(folder), memory]
    # compiled modules are kept, as in any installation
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    rows, peak = done.stdout.splitlines()[-1].split()
    return int(rows), float(peak)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", default="1GB", help="memory_limit of both DuckDB connections")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "orders").mkdir()
        (folder / "shop.yaml").write_text(SHOP.format(memory=asked.memory), "utf-8")
        path = folder / "orders" / "all.csv"
        write_lines(path, asked.lines)
        size = path.stat().st_size
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
        peaks: dict[str, float] = dict.fromkeys(WAYS, 0.0)
        for number in range(1, asked.rounds + 1):
            for name, script in WAYS.items():
                found: list[tuple[int, float]] = []
                times[name].append(
                    timed(lambda s=script, f=found: f.append(measured(s, folder, asked.memory)))
                )
                rows, peak = found[0]
                if rows != asked.lines:
                    raise SystemExit(f"{name} read {rows} rows of {asked.lines}")
                peaks[name] = max(peaks[name], peak)
                say(f"round {number}: {name} {times[name][-1][0]:.1f} s, {peak:.2f} GiB")
    timings = [timing(name, found) for name, found in times.items()]
    write("loading", report(asked.lines, size, asked.memory, asked.rounds, timings, peaks))


def report(
    lines: int, size: int, memory: str, rounds: int, timings: Sequence[Timing], peaks: dict[str, float]
) -> str:
    base = timings[0]
    rows = [
        [
            t.name,
            f"{t.median:.1f}",
            t.spread,
            f"{t.median / base.median:.1f}",
            f"{t.cpu_median:.1f}",
            f"{lines / t.median / 1e6:.2f} M",
            f"{peaks[t.name]:.2f}",
        ]
        for t in timings
    ]
    header = ["", "median s", "spread s", "×", "processor s", "lines a second", "peak GiB"]
    return "\n".join(
        [
            "# Loading a CSV export",
            "",
            machine("duckdb", "polars", "pandas", "pyarrow"),
            "",
            f"{lines:,} lines, {size / 1e6:,.0f} MB, UTF-8, {rounds} rounds in turn, each way in a process "
            f"of its own (starting Python included), memory_limit {memory} for both DuckDB connections.",
            "",
            table(header, rows),
        ]
    )


if __name__ == "__main__":
    main()
