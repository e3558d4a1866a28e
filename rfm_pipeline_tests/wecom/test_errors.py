"""The error policy is the one that WeCom's documents ask for, and its messages help."""

import pytest

from rfm_pipeline.errors import RfmError
from rfm_pipeline.wecom.errors import (
    POLICY,
    REFUSALS,
    RETRIES,
    Remedy,
    WecomError,
    WecomRefused,
    WecomStopped,
    reason_of,
    refused,
    remedy_of,
)

# the lists of the contract, written down once more by hand
CONTRACT = {
    Remedy.REFRESH_TOKEN: [40014, 42001],
    Remedy.BACK_OFF: [-1, 6000],
    Remedy.SERIALISE: [45033],
    Remedy.STOP_FOR_NOW: [45009],
    Remedy.REJECT_ROW: [84061, 40096, 40003, 60111, 46004, 50002, 60011, 40058],
    Remedy.RELOAD_TAGS: [40068, 40071],
    Remedy.STOP_RUN: [
        *(40126, 81011, 40001, 40013, 41001, 48002, 48006, 60020, 301002, 50003, 84074, 95017),
        *(93000, 93004, 93008),
    ],
}


def test_every_code_of_the_contract_has_its_remedy_and_no_other_code_is_listed() -> None:
    assert {code: remedy for remedy, codes in CONTRACT.items() for code in codes} == dict(POLICY)


def test_a_code_that_nobody_listed_rejects_its_row_and_is_kept() -> None:
    assert remedy_of(99999) is Remedy.REJECT_ROW
    assert reason_of(99999) == "errcode 99999"


def test_a_token_is_refreshed_once_and_the_rest_is_tried_three_times() -> None:
    assert RETRIES[Remedy.REFRESH_TOKEN] == 1
    assert RETRIES[Remedy.BACK_OFF] == 3
    assert RETRIES[Remedy.SERIALISE] >= 1


@pytest.mark.parametrize("code", CONTRACT[Remedy.STOP_RUN])
def test_a_refusal_says_its_code_and_where_to_go(code: int) -> None:
    error = refused(code)
    assert isinstance(error, RfmError)
    assert error.errcode == code
    message = str(error)
    assert f"errcode {code}" in message
    assert any(place in message for place in ("应用管理", "客户联系", "我的企业", "群设置")), (
        "it names no place in WeCom"
    )


def test_a_pause_differs_from_a_refusal() -> None:
    assert issubclass(WecomStopped, WecomError)
    assert issubclass(WecomRefused, WecomError)
    assert not issubclass(WecomStopped, WecomRefused)
    assert set(REFUSALS) == set(CONTRACT[Remedy.STOP_RUN])
