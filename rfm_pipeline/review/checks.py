"""What must hold for the review stage's tables."""

from rfm_pipeline.review.schemas import (
    BACKTEST_SUMMARY,
    DORMANCY_ADVICE,
    DORMANCY_CURVE,
    RECALL_EFFECT,
    RECALL_OUTCOMES,
    RETURNER_VALUE,
    SLEEPING_TOTALS,
    SLEEPING_VALUE,
    VALUE_BACKTEST,
)
from rfm_pipeline.warehouse.checks import MINE, TableCheck, unique_key

RECALL_OUTCOMES_CHECKS = [
    unique_key(RECALL_OUTCOMES),
    TableCheck(
        table=RECALL_OUTCOMES.name,
        name="nobody_returned_twice",
        description="No arm has more returned or reached customers than assigned ones.",
        sql=f"""
            select count(*) filter (returned > assigned or reached > assigned) as wrong_arms
            from recall_outcomes where {MINE}
        """,
    ),
    TableCheck(
        table=RECALL_OUTCOMES.name,
        name="holdout_was_left_alone",
        description="No customer of a hold-out was tagged or contacted all the same.",
        sql=f"""
            select coalesce(sum(reached) filter (arm = 'holdout'), 0) as contaminated_customers
            from recall_outcomes where {MINE} and week = (select max(week) from target_weeks)
        """,
        blocking=False,
    ),
]

RECALL_EFFECT_CHECKS = [
    unique_key(RECALL_EFFECT),
    TableCheck(
        table=RECALL_EFFECT.name,
        name="everybody_counts_once",
        description="The campaigns' rows hold every customer of recall_outcomes, compared or left out.",
        sql=f"""
            with effects as (
                select week, campaign_week, sum(recall_assigned + holdout_assigned + left_out) as customers
                from recall_effect
                where {MINE} and scope = 'campaign' and churn_class = 'all'
                group by week, campaign_week
            ),
            outcomes as (
                select week, campaign_week, sum(assigned) as customers
                from recall_outcomes where {MINE}
                group by week, campaign_week
            )
            select count(*) as differing_campaigns
            from outcomes o
            left join effects e on e.week = o.week and e.campaign_week = o.campaign_week
            where e.customers is distinct from o.customers
        """,
    ),
    TableCheck(
        table=RECALL_EFFECT.name,
        name="arms_are_as_drawn",
        description="The pooled arms are as uneven as recall.holdout_share makes them, give or take chance "
        "(1 in 1,000).",
        sql=f"""
            select count(*) filter (not ratio_ok) as uneven_weeks
            from recall_effect where {MINE} and scope = 'pooled' and churn_class = 'all'
        """,
        blocking=False,
    ),
]

RETURNER_VALUE_CHECKS = [
    unique_key(RETURNER_VALUE),
    TableCheck(
        table=RETURNER_VALUE.name,
        name="measured_are_returned",
        description="No arm has more measured customers than returned ones.",
        sql=f"""
            select count(*) filter (measured_customers > returned) as wrong_arms
            from returner_value where {MINE}
        """,
    ),
]

SLEEPING_VALUE_CHECKS = [
    unique_key(SLEEPING_VALUE),
    unique_key(SLEEPING_TOTALS, beside=SLEEPING_VALUE),
    TableCheck(
        table=SLEEPING_VALUE.name,
        name="every_silent_churner_counts",
        description="Classes and bands add up to the week's silent churners, customers and money.",
        sql=f"""
            select coalesce(sum(abs(coalesce(v.customers, 0) - s.customers)
                + abs(coalesce(v.monetary, 0) - s.monetary)), 0) as difference
            from (
                select week, count(*) as customers, coalesce(sum(monetary), 0) as monetary
                from silent_churners where {MINE} group by week
            ) s
            left join (
                select week, sum(customers) as customers, sum(monetary) as monetary
                from sleeping_value where {MINE} group by week
            ) v on v.week = s.week
        """,
    ),
]

VALUE_BACKTEST_CHECKS = [
    unique_key(VALUE_BACKTEST),
    unique_key(BACKTEST_SUMMARY, beside=VALUE_BACKTEST),
    TableCheck(
        table=VALUE_BACKTEST.name,
        name="interval_holds_what_came",
        description="Of the past weeks that could be tested, the interval held what came in at least half.",
        sql=f"""
            select coalesce(max(1 - covered), 0) as share_missed, max(weeks_tested) as weeks_tested
            from backtest_summary where {MINE} and predicted_week is null
        """,
        blocking=False,
        limit=0.5,
    ),
]

DORMANCY_CURVE_CHECKS = [
    unique_key(DORMANCY_CURVE),
    unique_key(DORMANCY_ADVICE, beside=DORMANCY_CURVE),
    TableCheck(
        table=DORMANCY_CURVE.name,
        name="nobody_came_back_twice",
        description="At no length of silence did more come back than were silent.",
        sql=f"""
            select count(*) filter (came_back > silences) as wrong_points
            from dormancy_curve where {MINE}
        """,
    ),
]
