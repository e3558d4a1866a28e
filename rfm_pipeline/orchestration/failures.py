"""What failed in a run, read from its events: the steps, and why in words that a user can act on.

Only errors that are written for users are quoted, and of checks their figures: whatever else an exception
says may be a customer's. Belongs here: reading the events. ``runner`` and ``alerts`` report it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

ERROR_KIND = "error"
"""The metadata of a failure that names the class of the error behind it."""
CHECKS_FAILED = "DagsterAssetCheckFailedError"


@dataclass(frozen=True)
class StepFailure:
    """A step that failed.

    Attributes:
        step: The asset.
        kind: The class of the error.
        words: What a user can act on; None if the error wasn't written for users.
        checks: The blocking checks that did not pass, with their figures.
    """

    step: str
    kind: str
    words: str | None = None
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def failed_steps(events: Iterable[dg.DagsterEvent]) -> list[StepFailure]:
    """The failed steps of a run, in the order in which they failed."""
    seen = list(events)
    return [_failure(event, seen) for event in seen if event.is_step_failure]


def _failure(event: dg.DagsterEvent, events: Iterable[dg.DagsterEvent]) -> StepFailure:
    step = str(event.step_key)
    failure: Any = event.step_failure_data
    given = failure.user_failure_data
    if given is not None and given.description:
        kind = given.metadata.get(ERROR_KIND)
        return StepFailure(step, str(kind.value) if kind else "Failure", str(given.description))
    error = failure.error and (failure.error.cause or failure.error)
    kind = str(error.cls_name) if error else "Failure"
    return StepFailure(step, kind, checks=_failed_checks(step, events) if kind == CHECKS_FAILED else {})


def _failed_checks(step: str, events: Iterable[dg.DagsterEvent]) -> dict[str, dict[str, Any]]:
    """A step's blocking checks that did not pass, with their figures."""
    found = {}
    for event in events:
        if event.step_key != step or event.event_type_value != "ASSET_CHECK_EVALUATION":
            continue
        check: Any = event.event_specific_data
        if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
            found[str(check.check_name)] = {name: value.value for name, value in check.metadata.items()}
    return found
