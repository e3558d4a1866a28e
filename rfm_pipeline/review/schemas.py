"""The contract of the review stage's tables, and the fixed words in them."""

import pandera.polars as pa
import polars as pl

from rfm_pipeline.shop import ALL_CLASSES, ARMS, CHURN_CLASSES
from rfm_pipeline.warehouse.columns import MONEY, at_least, column, one_of, rows
from rfm_pipeline.warehouse.schema import Table

VALUE_DAYS = 90
"""How far ahead value is computed, and how long a silence is given to end."""

VERDICTS = {
    "too_early": "为时尚早",
    "too_small": "样本太小，看不出来",
    "works": "有效",
    "does_no_harm": "无害，未见提升",
    "does_harm": "有害",
}
"""What can be said of a recall's effect on the response rate."""

SCOPES = {"campaign": "单期", "pooled": "历期合计"}

LEARNT_FROM = {
    "cell": "同类别、同沉默时长",
    "band": "同沉默时长的全部类别",
    "nearest_band": "时长最接近的一段",
    "all": "全部静默客户",
    "nothing": "历史太短",
}
"""Where a cell of ``sleeping_value`` has its probability or its sales from."""

VALUE_STATUSES = {
    "complete": "含季节波动",
    "season_assumed": "季节波动为假设值",
    "too_short": "历史太短，暂不估算",
    "nobody": "没有静默客户",
}

RETURNER_STATUSES = {
    "measured": "已实测",
    "partly_measured": "部分实测，其余为预测",
    "predicted": "预测",
    "too_short": "历史太短，暂不预测",
    "nobody": "无人回流",
}

BACKTEST_STATUSES = {"tested": "已回测", "too_short": "历史太短，暂不回测"}

CURVE_STATUSES = {
    "known": "已知",
    "too_few": "人数太少",
    "too_short": "历史太短",
    "nobody": "没有这样的客户",
}

ORDER_BANDS = {"1": "买过1次", "2": "买过2次", "3+": "买过3次及以上", "low_f": "低频客户"}
"""Customers by the paid orders they had placed when the silence began; ``low_f`` is all with low F."""

ADVICE_STATUSES = {
    "recommended": "有建议",
    "too_few": "人数太少",
    "too_short": "历史太短",
    "no_length_found": "曲线上没有合适的天数",
}

_AS_OF_WEEK = {"week": column(pl.Date, "the Monday of the week as of which it is known")}
_CLASS = {
    "churn_class": column(
        pl.String, "A bestseller, B clearance or cheap only, C neither", one_of(CHURN_CLASSES)
    )
}
_CLASS_OR_ALL = {
    "churn_class": column(
        pl.String, "A, B or C; all for all three together", one_of([*CHURN_CLASSES, ALL_CLASSES])
    )
}


def _share(name: str, description: str, *, nullable: bool = False) -> dict[str, pa.Column]:
    """A column between 0 and 1."""
    return {name: column(pl.Float64, description, pa.Check.in_range(0, 1), nullable=nullable)}


def _share_interval(prefix: str, nullable: bool = False) -> dict[str, pa.Column]:
    return {
        **_share(f"{prefix}_low", "its 95 % interval from (Wilson)", nullable=nullable),
        **_share(f"{prefix}_high", "to", nullable=nullable),
    }


def _figure(name: str, description: str, *, interval: str | None = None) -> dict[str, pa.Column]:
    """A number that may be unknown, with its 95 % interval if it has one."""
    columns = {name: column(pl.Float64, description, nullable=True)}
    if interval is not None:
        columns[f"{name}_low"] = column(pl.Float64, f"its 95 % interval from ({interval})", nullable=True)
        columns[f"{name}_high"] = column(pl.Float64, "to", nullable=True)
    return columns


RECALL_OUTCOMES = Table(
    name="recall_outcomes",
    schema=pa.DataFrameSchema(
        {
            **_AS_OF_WEEK,
            "campaign_week": column(pl.Date, "the week whose list it is about"),
            "churn_class": column(pl.String, "the class on the list", one_of(CHURN_CLASSES)),
            "arm": column(pl.String, "recall or holdout", one_of(ARMS)),
            "assigned": column(pl.Int64, "customers on the list", at_least(1)),
            "reached": column(
                pl.Int64,
                "of them, those tagged or logged as contacted; a hold-out reached is contaminated",
                at_least(0),
            ),
            "returned": column(pl.Int64, "of them, those with a paid order in the window", at_least(0)),
            "response_rate": column(pl.Float64, "returned / assigned", at_least(0)),
            "orders": column(pl.Int64, "paid orders in the window", at_least(0)),
            "net_sales": column(MONEY, "their money, minus linked refunds known by then"),
            "net_sales_squares": column(
                pl.Float64, "net sales of each customer squared, added up: what a variance needs", at_least(0)
            ),
            "is_final": column(
                pl.Boolean, "whether the window has closed; from then on the row stays as it is"
            ),
        },
        strict=True,
    ),
    key=("week", "campaign_week", "churn_class", "arm"),
)

RECALL_EFFECT = Table(
    name="recall_effect",
    schema=pa.DataFrameSchema(
        {
            **_AS_OF_WEEK,
            "scope": column(
                pl.String, "one campaign, or all campaigns with a closed window pooled", one_of(list(SCOPES))
            ),
            "campaign_week": column(
                pl.Date, "the week whose list it is about; null if pooled", nullable=True
            ),
            **_CLASS_OR_ALL,
            "campaigns": column(pl.Int64, "campaigns in it", at_least(0)),
            "recall_assigned": column(pl.Int64, "customers drawn to be contacted", at_least(0)),
            "recall_reached": column(pl.Int64, "of them tagged or logged as contacted", at_least(0)),
            "recall_returned": column(pl.Int64, "of them back in the window", at_least(0)),
            "recall_net_sales": column(MONEY, "their money in the window"),
            "holdout_assigned": column(pl.Int64, "customers drawn to be left alone", at_least(0)),
            "holdout_contaminated": column(pl.Int64, "of them contacted all the same", at_least(0)),
            "holdout_returned": column(pl.Int64, "of them back in the window", at_least(0)),
            "holdout_net_sales": column(MONEY, "their money in the window"),
            "left_out": column(
                pl.Int64,
                "assigned customers not in this row: their class had no hold-out in their campaign",
                at_least(0),
            ),
            **_figure("recall_rate", "response rate of the recall arm", interval="Wilson"),
            **_figure("holdout_rate", "response rate of the hold-out", interval="Wilson"),
            **_figure("rate_lift", "recall rate minus hold-out rate", interval="Newcombe"),
            **_figure(
                "sales_lift", "net sales per assigned customer, recall minus hold-out", interval="Welch"
            ),
            "sales_lift_boot_low": column(
                pl.Float64, "the same interval by a seeded bootstrap, from", nullable=True
            ),
            "sales_lift_boot_high": column(pl.Float64, "to", nullable=True),
            "sales_trusted": column(
                pl.Boolean,
                "whether both arms have 30 returners: with fewer, the sales intervals are too narrow",
                nullable=True,
            ),
            **_figure(
                "incremental_customers",
                "rate lift × recall assigned: back because of it",
                interval="Newcombe",
            ),
            **_figure(
                "incremental_sales", "sales lift × recall assigned: sold because of it", interval="Welch"
            ),
            **_figure("smallest_effect", "rate lift that arms of this size show with a power of 80 %"),
            **_figure("ratio_p", "chance of arms as uneven as these under recall.holdout_share"),
            "ratio_ok": column(pl.Boolean, "whether the arms' ratio is what was drawn for", nullable=True),
            "is_final": column(pl.Boolean, "whether the window has closed"),
            "verdict": column(pl.String, "what it says of the response rate", one_of(list(VERDICTS))),
            "reason": column(pl.String, "why, in a sentence"),
        },
        checks=[
            rows(
                "only a pooled row has no campaign week",
                lambda: _pooled() == pl.col("campaign_week").is_null(),
            )
        ],
        strict=True,
    ),
    key=("week", "scope", "campaign_week", "churn_class"),
)


def _pooled() -> pl.Expr:
    return pl.col("scope") == "pooled"


RETURNER_VALUE = Table(
    name="returner_value",
    schema=pa.DataFrameSchema(
        {
            **_AS_OF_WEEK,
            "campaign_week": column(pl.Date, "the week whose list it is about"),
            "arm": column(pl.String, "recall or holdout", one_of(ARMS)),
            "returned": column(pl.Int64, "customers back in the response window", at_least(0)),
            "measured_customers": column(
                pl.Int64, f"of them, those whose {VALUE_DAYS} days have passed", at_least(0)
            ),
            "net_sales_so_far": column(
                MONEY, f"their money from the day they came back, {VALUE_DAYS} days at most"
            ),
            "value_90d": column(
                pl.Float64,
                f"net sales in the {VALUE_DAYS} days from the order they came back with: measured where "
                "those days have passed, else so far and what is expected of the rest",
                nullable=True,
            ),
            "value_90d_low": column(
                pl.Float64, "its 95 % interval from; the figure itself if measured", nullable=True
            ),
            "value_90d_high": column(pl.Float64, "to", nullable=True),
            "learnt_from": column(
                pl.Int64, "earlier returns after a silence whose days have passed", at_least(0)
            ),
            "status": column(
                pl.String, "measured, predicted, or why neither", one_of(list(RETURNER_STATUSES))
            ),
        },
        strict=True,
    ),
    key=("week", "campaign_week", "arm"),
)

_BAND = {
    "recency_from": column(pl.Int64, "R of the band, from", at_least(0)),
    "recency_to": column(pl.Int64, "up to, included; null for no end", nullable=True),
}

SLEEPING_VALUE = Table(
    name="sleeping_value",
    schema=pa.DataFrameSchema(
        {
            "week": column(pl.Date, "the Monday of the week"),
            **_CLASS,
            **_BAND,
            "customers": column(pl.Int64, "silent churners", at_least(1)),
            "monetary": column(MONEY, "what they have spent so far"),
            **_figure("return_probability", f"of a return within {VALUE_DAYS} days", interval="see value.py"),
            "probability_from": column(pl.String, "where it was learnt", one_of(list(LEARNT_FROM))),
            "learnt_customers": column(
                pl.Int64, "silent churners of past weeks it was learnt from", at_least(0)
            ),
            "learnt_returned": column(pl.Int64, "of them back in time", at_least(0)),
            **_figure("sales_after_return", f"net sales of a returner in those {VALUE_DAYS} days"),
            "sales_from": column(pl.String, "where it was learnt", one_of(list(LEARNT_FROM))),
            **_figure("expected_returns", "customers × probability"),
            **_figure(
                "value",
                "customers × probability × sales: what they will bring unprompted",
                interval="see value.py",
            ),
            "campaign_assigned": column(
                pl.Int64, "recall customers of the class in closed campaigns", at_least(0)
            ),
            **_figure("campaign_response_rate", "their response rate"),
            **_figure(
                "campaign_value",
                "customers × net sales per recalled customer in the response window: as if all were recalled",
                interval="normal",
            ),
        },
        strict=True,
    ),
    key=("week", "churn_class", "recency_from"),
)

SLEEPING_TOTALS = Table(
    name="sleeping_totals",
    schema=pa.DataFrameSchema(
        {
            "week": column(pl.Date, "the Monday of the week"),
            "customers": column(pl.Int64, "silent churners", at_least(0)),
            "monetary": column(MONEY, "what they have spent so far"),
            **_figure("expected_returns", f"who will be back within {VALUE_DAYS} days unprompted"),
            **_figure("value", "what they will bring in those days", interval="chance and season"),
            "windows": column(pl.Int64, "past weeks it was learnt from", at_least(0)),
            "first_window": column(pl.Date, "the earliest of them", nullable=True),
            "last_window": column(pl.Date, "the latest of them", nullable=True),
            **_figure("season_spread", "relative spread of those weeks, chance taken out; null if assumed"),
            **_figure(
                "campaign_value", "as if all were recalled, at the measured response", interval="normal"
            ),
            "campaign_customers": column(
                pl.Int64, "silent churners in classes with a measured response", at_least(0)
            ),
            **_figure("second_opinion_returns", "who will be back, by BG/NBD"),
            **_figure("second_opinion_value", "what they will bring, by BG/NBD and Gamma-Gamma"),
            "second_opinion_note": column(pl.String, "the model's parameters, or why there is no figure"),
            "status": column(
                pl.String, "what the interval holds, or why there is none", one_of(list(VALUE_STATUSES))
            ),
            "reason": column(pl.String, "the same in a sentence"),
        },
        strict=True,
    ),
    key=("week",),
)

VALUE_BACKTEST = Table(
    name="value_backtest",
    schema=pa.DataFrameSchema(
        {
            **_AS_OF_WEEK,
            "predicted_week": column(pl.Date, "the past week at which it was predicted"),
            **_CLASS,
            **_BAND,
            "customers": column(pl.Int64, "silent churners of that week", at_least(1)),
            **_share("predicted_probability", f"of a return within {VALUE_DAYS} days, as known then"),
            "predicted_returns": column(pl.Float64, "customers × probability", at_least(0)),
            "actual_returns": column(pl.Int64, "who came back", at_least(0)),
            "predicted_value": column(pl.Float64, "net sales expected then"),
            "actual_value": column(MONEY, "net sales that followed"),
        },
        strict=True,
    ),
    key=("week", "predicted_week", "churn_class", "recency_from"),
)

BACKTEST_SUMMARY = Table(
    name="backtest_summary",
    schema=pa.DataFrameSchema(
        {
            **_AS_OF_WEEK,
            "predicted_week": column(
                pl.Date, "the past week at which it was predicted; null for all together", nullable=True
            ),
            "weeks_tested": column(pl.Int64, "past weeks in it", at_least(0)),
            **_figure("predicted_returns", "who was expected back"),
            **_figure("actual_returns", "who came back"),
            **_figure("predicted_value", "net sales expected then", interval="as predicted then"),
            **_figure("actual_value", "net sales that followed"),
            **_figure("error", "(predicted − actual) / actual; for all together the mean of its size"),
            **_share("covered", "share of the weeks whose interval held what came", nullable=True),
            "status": column(pl.String, "whether it could be tested", one_of(list(BACKTEST_STATUSES))),
            "reason": column(pl.String, "the same in a sentence"),
        },
        strict=True,
    ),
    key=("week", "predicted_week"),
)

DORMANCY_CURVE = Table(
    name="dormancy_curve",
    schema=pa.DataFrameSchema(
        {
            **_AS_OF_WEEK,
            "order_band": column(
                pl.String,
                "paid orders when the silence began: 1, 2, 3+; low_f: all below high F",
                one_of(list(ORDER_BANDS)),
            ),
            "silent_days": column(pl.Int64, "length of the silence", at_least(1)),
            "silences": column(
                pl.Int64,
                f"silences that lasted so long, at least {VALUE_DAYS} days before as_of",
                at_least(0),
            ),
            "came_back": column(
                pl.Int64, f"of them, ended by an order within {VALUE_DAYS} days more", at_least(0)
            ),
            **_share("share_back", "came_back / silences", nullable=True),
            **_share_interval("share_back", nullable=True),
            "status": column(pl.String, "known, or why not", one_of(list(CURVE_STATUSES))),
        },
        strict=True,
    ),
    key=("week", "order_band", "silent_days"),
)

DORMANCY_ADVICE = Table(
    name="dormancy_advice",
    schema=pa.DataFrameSchema(
        {
            **_AS_OF_WEEK,
            "dormant_after_days": column(pl.Int64, "the shop's own threshold", at_least(1)),
            **_share("share_back_at_threshold", "who still comes back from there, low F", nullable=True),
            "recommended_days": column(pl.Int64, "the length of silence to be recommended", nullable=True),
            **_share("share_back_at_recommended", "who still comes back from there, low F", nullable=True),
            **_share(
                "share_back_at_start", "who comes back from the shortest silence of the curve", nullable=True
            ),
            "status": column(pl.String, "recommended, or why not", one_of(list(ADVICE_STATUSES))),
            "reason": column(pl.String, "the same in a sentence"),
        },
        strict=True,
    ),
    key=("week",),
)
