"""The sensors: the alert when a run fails."""

import dagster as dg

from rfm_pipeline.ledger import Ledger
from rfm_pipeline.notifications import alerts
from rfm_pipeline.recall.resources import WecomAccess
from rfm_pipeline.shop import Shop


def build_failure_alert(shop: Shop) -> dg.SensorDefinition:
    """Tells the team's group of runs that fail; of one cause once a day, see ``alerts``."""

    @dg.run_failure_sensor(
        name="failure_alert",
        description="Tells the team's group in WeCom of runs that failed and checks that stopped one; of one "
        "cause once a day.",
        # all runs of this home's storage, also those of `rfm run` and `dg launch`
        monitor_all_code_locations=True,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def failure_alert(
        context: dg.RunFailureSensorContext, ledger: dg.ResourceParam[Ledger], wecom: WecomAccess
    ) -> None:
        failed = alerts.of_run(context.instance, context.dagster_run)
        for problem in alerts.send_alerts(shop, ledger, wecom.robot_key, failed):
            context.log.warning(problem)

    return failure_alert
