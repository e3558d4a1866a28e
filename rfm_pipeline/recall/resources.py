"""The recall stage's secrets as a Dagster resource, taken from the environment.

Belongs here: which variables hold them, and whether they are set. Who calls WeCom with them stands beside it.
"""

import os
from typing import Any

import dagster as dg
from pydantic import Field

from rfm_pipeline.shop import Shop


def _secret() -> Any:
    return Field(default=None, repr=False, json_schema_extra={"dagster__is_secret": True})


class WecomAccess(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What WeCom asks for before it lets anybody in; all of it is empty while the connection is off.

    Attributes:
        corp_id: The company's id.
        secret: The app's secret.
        robot_key: The key of the team's group robot.
    """

    corp_id: str | None = _secret()
    secret: str | None = _secret()
    robot_key: str | None = _secret()

    def __repr__(self) -> str:
        return "WecomAccess()"

    def missing(self, shop: Shop) -> list[str]:
        """The environment variables that tags need and that are not set."""
        needed = {shop.wecom.corp_id_env: self.corp_id, shop.wecom.secret_env: self.secret}
        return [name for name, value in needed.items() if not value]


def wecom_access(shop: Shop) -> WecomAccess:
    """The shop's access to WeCom: variables that are set are read when a run begins, not now."""
    if not shop.wecom.enabled:
        return WecomAccess()
    names = {
        "corp_id": shop.wecom.corp_id_env,
        "secret": shop.wecom.secret_env,
        "robot_key": shop.wecom.robot_key_env,
    }
    # a variable that isn't set is a reason to send nothing, not to fail
    return WecomAccess(**{field: dg.EnvVar(name) for field, name in names.items() if os.environ.get(name)})


def access_of(shop: Shop) -> WecomAccess:
    """The access with its variables read, for callers outside Dagster."""
    access: WecomAccess = wecom_access(shop).process_config_and_initialize()
    return access


def robot_key_of(shop: Shop) -> str | None:
    """The key of the team's group robot, for callers outside Dagster; None if the robot is off."""
    return access_of(shop).robot_key
