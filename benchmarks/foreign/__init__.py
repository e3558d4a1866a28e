"""Programs of others beside which this project is measured, each in an environment of its own."""

import subprocess
import sys
from datetime import date
from pathlib import Path

from benchmarks.processes import Taken, measured
from benchmarks.ways import DIRECT_RFM, SILENT, WEEK

SUMMARY = Path(__file__).with_name("rfm_summary.py")
NEEDS = {
    "pymc-marketing": ("pymc-marketing==0.19.2", "pyarrow"),
    "lifetimes": ("lifetimes==0.11.3", "pyarrow"),
    # later versions of dbt-core bring a parser that is built from a download
    "dbt-duckdb": ("dbt-duckdb==1.11.1", "dbt-core<1.12", "duckdb==2.0.0"),
}
_PROJECT = """
name: bench
version: "1.0.0"
profile: bench
model-paths: [models]
"""
_PROFILE = """
bench:
  target: here
  outputs:
    here: {{type: duckdb, path: {path}, threads: 2, settings: {{memory_limit: {memory}}}}}
"""
_LINES = """
{{{{ config(materialized='incremental', unique_key='order_id', incremental_strategy='delete+insert') }}}}
select * from read_csv('{{{{ var("files") }}}}')
"""


def environment(name: str, folder: Path) -> Path:
    """An environment with what is needed to run a program.

    Returns:
        Its Python.

    Raises:
        subprocess.CalledProcessError: If it can't be made, for want of a network say.
    """
    home = folder / f"env-{name}"
    python = home / "bin" / "python"
    if not python.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run(["uv", "venv", "-q", "--python", version, home], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "--python", python, *NEEDS[name]], check=True)
    return python


def make_dbt_project(folder: Path, week: str, memory_limit: str) -> None:
    """Lays out a dbt project like the hand-written script: lines, RFM, the silent, the newly so."""
    project = folder / "dbt"
    (project / "models").mkdir(parents=True, exist_ok=True)
    newest = date.fromisoformat(week)
    models = {"lines": _LINES.format()}
    for name, each in (("now", newest), ("before", newest - WEEK)):
        sql = DIRECT_RFM.format(week=each, as_of=each + WEEK).replace(
            "select * from lines", "select * from {{ ref('lines') }}"
        )
        models[f"rfm_{name}"] = "{{ config(materialized='table') }}" + sql
        silent = SILENT.format(rfm="{{ ref('rfm_" + name + "') }}")
        models[f"silent_{name}"] = "{{ config(materialized='table') }}" + silent
    models["new_silent"] = (
        "{{ config(materialized='table') }} select * from {{ ref('silent_now') }} "
        "where customer_id not in (select customer_id from {{ ref('silent_before') }})"
    )
    for name, sql in models.items():
        (project / "models" / f"{name}.sql").write_text(sql, "utf-8")
    (project / "dbt_project.yml").write_text(_PROJECT, "utf-8")
    profile = _PROFILE.format(path=folder / "dbt.duckdb", memory=memory_limit)
    (project / "profiles.yml").write_text(profile, "utf-8")


def dbt(
    python: Path, folder: Path, files: str, *models: str, is_full: bool = False, limit: float | None = None
) -> Taken:
    """Runs some models over the files, in a process of at most so many GiB."""
    command = [
        python.with_name("dbt"),
        "run",
        "--project-dir",
        folder / "dbt",
        "--profiles-dir",
        folder / "dbt",
        "--vars",
        f"{{files: '{files}'}}",
        *(("--full-refresh",) if is_full else ()),
        "--select",
        *models,
    ]
    return measured(command, {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}, limit, cwd=folder)
