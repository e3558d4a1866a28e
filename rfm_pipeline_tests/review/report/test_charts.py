"""The review's pictures: what is written in them, on both grounds, and what they say without figures."""

import re
import xml.etree.ElementTree as ET
from datetime import date
from functools import cache
from typing import Any

import polars as pl
import pytest

from rfm_pipeline.charts.style import DARK, LIGHT, Theme
from rfm_pipeline.review.report.charts import (
    backtest_svg,
    calibration_svg,
    dormancy_svg,
    effect_svg,
    sleeping_svg,
)
from rfm_pipeline.shop import ALL_CLASSES

MOST_BYTES = 40_000


def texts(svg: str) -> list[str]:
    return [text.strip() for text in ET.fromstring(svg).itertext() if text.strip()]


def cells() -> pl.DataFrame:
    bands = [(90, 119), (120, 179), (365, None)]
    rows = [
        {
            "churn_class": name,
            "recency_from": low,
            "recency_to": high,
            "customers": 100,
            "value": 1000.0 * (2 - at),
        }
        for at, (low, high) in enumerate(bands)
        for name in "AB"
    ]
    return pl.DataFrame(rows, schema_overrides={"recency_to": pl.Int64})


TOTALS: dict[str, Any] = {
    "value": 12_345.6,
    "value_low": 9000.0,
    "value_high": 15_000.4,
    "expected_returns": 41.7,
    "reason": "history is too short",
}


def curve(*shares: float, status: str = "known") -> pl.DataFrame:
    rows = [
        {
            "order_band": band,
            "silent_days": 7 * number,
            "share_back": share,
            "share_back_low": share * 0.9,
            "share_back_high": share * 1.1,
            "status": status,
        }
        for band in ("1", "2", "low_f")
        for number, share in enumerate(shares, start=1)
    ]
    return pl.DataFrame(rows)


def summary() -> pl.DataFrame:
    figures = {"predicted_value": 100.0, "predicted_value_low": 50.0, "predicted_value_high": 150.0}
    rest = {"actual_value": 120.0, "covered": 0.75, "error": 0.25, "weeks_tested": 2, "reason": "tested"}
    weeks = [date(2025, 1, 6), date(2025, 2, 3), None]
    return pl.DataFrame([{"predicted_week": week, **figures, **rest} for week in weeks])


def backtest() -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "churn_class": name,
                "recency_from": 90,
                "recency_to": 119,
                "customers": 200,
                "predicted_returns": 30.0,
                "actual_returns": 20,
            }
            for name in "ABC"
        ]
    )


def effects(count: int = 3) -> pl.DataFrame:
    lift = {"rate_lift": 0.03, "rate_lift_low": -0.02, "rate_lift_high": 0.07, "churn_class": ALL_CLASSES}
    rows = [
        {"scope": "campaign", "campaign_week": date(2025, 1, 6 + 7 * number), "verdict": "too_small", **lift}
        for number in range(count)
    ]
    pooled = {"scope": "pooled", "campaign_week": None, "verdict": "works", **lift}
    return pl.DataFrame([*rows, pooled], schema_overrides={"campaign_week": pl.Date})


@cache
def every_picture(theme: Theme = LIGHT) -> dict[str, str]:
    return {
        "sleeping": sleeping_svg(cells(), TOTALS, currency="CNY", title="甲", theme=theme),
        "dormancy": dormancy_svg(
            curve(0.3, 0.2, 0.1), dormant_after_days=90, recommended_days=112, title="乙", theme=theme
        ),
        "backtest": backtest_svg(summary(), currency="CNY", title="丙", theme=theme),
        "calibration": calibration_svg(backtest(), title="丁", theme=theme),
        "effect": effect_svg(effects(), title="戊", theme=theme),
    }


NAMES = ("sleeping", "dormancy", "backtest", "calibration", "effect")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_a_picture_is_small_well_formed_and_stands_on_its_ground(name: str, theme: Theme) -> None:
    svg = every_picture(theme)[name]
    assert len(svg) < MOST_BYTES
    ET.fromstring(svg)
    assert re.search(rf'fill="{re.escape(theme.background)}"', svg)
    assert theme.ink in svg
    # nothing is fetched by a picture
    assert not re.search(r'(?:href|src)="http', svg)


def test_the_value_is_told_by_band_and_in_all() -> None:
    said = texts(every_picture()["sleeping"])
    assert "预计 42 位自行回来，带来 ¥12,346（95% 区间 ¥9,000 至 ¥15,000）" in said
    assert {"90–119 天", "120–179 天", "365 天以上"} <= set(said)
    assert "200 位 · ¥4,000" in said


def test_both_thresholds_stand_in_the_curve() -> None:
    said = texts(every_picture()["dormancy"])
    assert {"现行门槛 90 天", "建议 112 天", "买过1次", "买过2次"} <= set(said)
    without = texts(dormancy_svg(curve(0.3, 0.2), dormant_after_days=90, recommended_days=None, title="乙"))
    assert not any(text.startswith("建议") for text in without)


def test_the_backtest_says_how_far_off_it_was() -> None:
    said = texts(every_picture()["backtest"])
    assert "回测 2 周：平均误差 25%，75% 的周落在区间内" in said
    assert "2025-01-06" in said


def test_every_campaign_has_its_verdict_and_the_pool_stands_first() -> None:
    svg = every_picture()["effect"]
    said = texts(svg)
    assert said.count("样本太小，看不出来") == 3
    assert "有效" in said
    assert said.index("历期合计") < said.index("2025-01-20") < said.index("2025-01-06")


def test_only_the_newest_campaigns_are_drawn() -> None:
    said = texts(effect_svg(effects(4), title="戊", campaigns=2))
    assert {"2025-01-27", "2025-01-20"} <= set(said)
    assert "2025-01-13" not in said


def test_a_picture_without_figures_says_why() -> None:
    nothing = summary().filter(pl.col("predicted_week").is_null()).with_columns(reason=pl.lit("太短"))
    assert "history is too short" in texts(
        sleeping_svg(cells(), TOTALS | {"value": None}, currency="CNY", title="甲")
    )
    assert "历史太短或人数太少，暂时画不出曲线" in texts(
        dormancy_svg(curve(0.1, status="too_few"), dormant_after_days=90, recommended_days=None, title="乙")
    )
    assert "太短" in texts(backtest_svg(nothing, currency="CNY", title="丙"))
    assert "历史太短，暂时无法回测" in texts(calibration_svg(backtest().clear(), title="丁"))
    assert "还没有可以比较的召回与对照" in texts(effect_svg(effects().clear(), title="戊"))
