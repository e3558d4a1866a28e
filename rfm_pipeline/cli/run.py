"""Commands that run the pipeline or show its runs: ``rfm run`` and ``rfm ui``."""

import sys
from typing import Annotated

import typer

from rfm_pipeline.cli.home_option import Home, bounded_shop
from rfm_pipeline.errors import RfmError


def run(
    home: Home = None,
    week: Annotated[str | None, typer.Option(help="One week, named by its Monday.")] = None,
    weeks: Annotated[str | None, typer.Option(help="A range of weeks A..B, in one run.")] = None,
) -> None:
    """Takes new orders in, fills in missing weeks, and takes the newest covered week through all stages.

    A range of weeks is diagnosed again in one run; ranges and past weeks never send anything. Where nothing
    has changed since the last run of the same day, it says so and leaves everything as it is.
    """
    from rfm_pipeline.orchestration.last_run import report_if_up_to_date
    from rfm_pipeline.weeks import parse_week, parse_weeks

    if week and weeks:
        raise RfmError("write either --week or --weeks, not both.")
    shop = bounded_shop(home)
    asked = [parse_week(shop, week)] if week else parse_weeks(shop, weeks) if weeks else None
    known = None if asked else report_if_up_to_date(shop)
    from rfm_pipeline.cli.terminal import print_summary, progress, tags_left

    if known is not None:
        typer.echo("nothing has changed since the last run: all is up to date", err=True)
        print_summary(shop, known)
        return
    from rfm_pipeline.ingest.presets import NO_BUYERS, load_preset
    from rfm_pipeline.orchestration.runner import Runner

    if shop.orders.kind == "files" and load_preset(shop.orders.preset, shop.home).hides_buyers:
        typer.echo(f"note: {shop.orders.preset}: {NO_BUYERS}", err=True)
    with progress() as say:
        report = Runner(shop, say).run(asked)
    print_summary(shop, report)
    if left := tags_left(report):
        raise RfmError(f"{left}; what is done is done, and this goes on with the rest: rfm recall apply")


def ui(
    home: Home = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 3000,
) -> None:
    """Opens the Dagster UI for the shop until Ctrl-C; meanwhile weeks run as with `rfm run`."""
    import os
    import signal
    import socket

    shop = bounded_shop(home)
    from rfm_pipeline.orchestration.runner import prepare_instance

    with socket.socket() as probe:
        if probe.connect_ex((host, port)) == 0:
            raise RfmError(
                f"port {port} of {host} is taken, perhaps by another `rfm ui`; choose another with --port."
            )
    prepare_instance(shop)
    typer.echo(f"http://{host}:{port} shows {shop.shop.name}; Ctrl-C ends it")
    sys.stdout.flush()
    # Dagster warns of any dagster.yaml in the current folder that isn't the one in use
    os.chdir(shop.dagster_home)
    # a shell that starts a job in the background has it ignore Ctrl-C, and Dagster ends by nothing else
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Dagster takes this process's place: ending it ends the web server and the daemon, too
    no_dg_here = "ignore:Function `dev_command` is superseded"
    arguments = ["dev", "-m", "rfm_pipeline.definitions", "-h", host, "-p", str(port)]
    os.execv(sys.executable, [sys.executable, "-W", no_dg_here, "-m", "dagster", *arguments])
