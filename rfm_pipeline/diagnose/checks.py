"""What must hold for the diagnose stage's tables."""

from rfm_pipeline.diagnose.schemas import (
    CUSTOMER_ACTIVITY,
    CUSTOMER_RFM,
    CUSTOMER_SEGMENTS,
    NEW_SILENT_CHURNERS,
    SEGMENT_THRESHOLDS,
    SILENT_CHURNERS,
)
from rfm_pipeline.warehouse.checks import MINE, TableCheck, unique_key

# weeks that were added up since these checks last passed; the others are as they were then
_UNCHECKED = "select week from unchecked_weeks"

CUSTOMER_ACTIVITY_CHECKS = [
    unique_key(CUSTOMER_ACTIVITY, only=f"week in ({_UNCHECKED})"),
    TableCheck(
        table=CUSTOMER_ACTIVITY.name,
        name="money_adds_up",
        description="Sales and refunds add up to those of the order lines with a customer. Looks at all "
        "weeks that were added up since the check last passed.",
        sql=f"""
            with

            added_up as (

                select coalesce(sum(sales), 0) as sales, coalesce(sum(refunds), 0) as refunds
                from customer_activity
                where week in ({_UNCHECKED})

            ),

            lines as (

                select
                    coalesce(sum(amount) filter (line_type = 'sale'), 0) as sales,
                    coalesce(sum(amount) filter (line_type <> 'sale'), 0) as returns,
                from order_lines
                where customer_id is not null and week in ({_UNCHECKED})

            ),

            refunded as (

                select coalesce(sum(refunded_amount), 0) as refunds
                from order_lines
                where customer_id is not null and line_type = 'sale' and refund_week in ({_UNCHECKED})

            )

            select
                abs(a.sales - a.refunds - (l.sales - l.returns - r.refunds)) as difference,
                a.sales,
                a.refunds,
            from added_up a, lines l, refunded r
        """,
    ),
]

CUSTOMER_RFM_CHECKS = [
    unique_key(CUSTOMER_RFM),
    TableCheck(
        table=CUSTOMER_RFM.name,
        name="orders_cover_the_week",
        description="The newest order is at most rules.max_order_gap_days older than the week's last day.",
        sql="""
            select
                greatest(
                    0,
                    coalesce(date_diff(
                        'day',
                        (select cast(max(order_at) as date) from order_lines where order_at <= $now),
                        (select max(as_of) from target_weeks) - 1
                    ), 9999)
                    - $max_order_gap_days
                ) as days_too_early,
                (select max(order_at) from order_lines where order_at <= $now) as newest_order_at
        """,
    ),
    TableCheck(
        table=CUSTOMER_RFM.name,
        name="money_adds_up",
        description="M adds up to the activity of the customers, week by week.",
        sql=f"""
            with mine as (
                select week, customer_id, monetary from customer_rfm where {MINE}
            ),
            newest as (select max(week) as week from target_weeks),
            known as (
                select coalesce(sum(a.sales - a.refunds), 0) as monetary
                from customer_activity a
                where a.week <= (select week from newest)
                    and a.customer_id in (
                        select customer_id from mine where week = (select week from newest)
                    )
            )
            select
                abs(
                    (select coalesce(sum(monetary), 0) from mine where week = (select week from newest))
                    - (select monetary from known)
                ) as difference,
                (select monetary from known) as monetary
        """,
    ),
    TableCheck(
        table=CUSTOMER_RFM.name,
        name="customers_never_vanish",
        description="No week has fewer customers than the week before it.",
        sql="""
            select count(*) filter (s.row_count < y.row_count) as weeks_that_shrank
            from snapshots s
            join target_weeks t on t.week = s.week
            join snapshots y on y.table_name = s.table_name and y.week = s.week - 7
            where s.table_name = 'customer_rfm'
        """,
        blocking=False,
    ),
    TableCheck(
        table=CUSTOMER_RFM.name,
        name="no_snapshot_is_stale",
        description="No earlier week was made before a change of its orders; `rfm run` makes them again.",
        sql="""
            select count(*) as stale_weeks
            from snapshots s
            where s.table_name = 'customer_rfm'
                and s.week <= (select max(week) from target_weeks)
                and exists (
                    select 1 from input_changes c where c.version > s.inputs_version and c.week <= s.week
                )
        """,
        blocking=False,
    ),
]

CUSTOMER_SEGMENTS_CHECKS = [
    unique_key(CUSTOMER_SEGMENTS),
    unique_key(SEGMENT_THRESHOLDS, beside=CUSTOMER_SEGMENTS),
    TableCheck(
        table=CUSTOMER_SEGMENTS.name,
        name="every_customer_has_a_segment",
        description="Every customer of customer_rfm is in exactly one segment, with the same R, F and M.",
        sql=f"""
            select count(*) as differing_customers
            from (
                select week, customer_id, recency_days, frequency, monetary from customer_rfm where {MINE}
            ) r
            full join (
                select week, customer_id, recency_days, frequency, monetary
                from customer_segments where {MINE}
            ) s on s.week = r.week and s.customer_id = r.customer_id
            where r.recency_days is distinct from s.recency_days
                or r.frequency is distinct from s.frequency
                or r.monetary is distinct from s.monetary
        """,
    ),
    TableCheck(
        table=CUSTOMER_SEGMENTS.name,
        name="high_m_is_about_a_quarter",
        description="High M holds for 10 to 40 % of a week's customers. Where one price is so common that it "
        "doesn't, set rules.monetary_high to an amount. Weeks of fewer than 20 customers aren't judged.",
        sql=f"""
            with shares as (
                select count(*) filter (starts_with(rfm_class, '重要')) / count(*) as share
                from customer_segments
                where {MINE}
                group by week
                having count(*) >= 20
            )
            select
                coalesce(max(greatest(share - 0.4, 0.1 - share, 0)), 0)::double as outside_by,
                coalesce(max(share), 0)::double as highest_share,
                coalesce(min(share), 0)::double as lowest_share
            from shares
        """,
        blocking=False,
    ),
]

SILENT_CHURNERS_CHECKS = [
    unique_key(SILENT_CHURNERS),
    TableCheck(
        table=SILENT_CHURNERS.name,
        name="all_silent_and_no_other",
        description="Exactly the customers of the segment silent_churner are here.",
        sql=f"""
            select count(*) as differing_customers
            from (select week, customer_id from silent_churners where {MINE}) c
            full join (
                select week, customer_id from customer_segments
                where {MINE} and segment = 'silent_churner'
            ) s on s.week = c.week and s.customer_id = c.customer_id
            where c.customer_id is null or s.customer_id is null
        """,
    ),
    TableCheck(
        table=SILENT_CHURNERS.name,
        name="class_a_bought_a_bestseller",
        description="The favourite of every class A customer is a bestseller of the week, no other's is.",
        sql=f"""
            select count(*) filter ((c.churn_class = 'A') <> (b.sku is not null)) as wrong_classes
            from (select * from silent_churners where {MINE}) c
            left join bestsellers b on b.week = c.week and b.sku = c.favourite_sku
        """,
    ),
]

NEW_SILENT_CHURNERS_CHECKS = [
    unique_key(NEW_SILENT_CHURNERS),
    TableCheck(
        table=NEW_SILENT_CHURNERS.name,
        name="really_new",
        description="All are silent churners of the week, and none was one the week before (backlog aside).",
        sql=f"""
            select
                (
                    select count(*) from new_silent_churners n
                    where {MINE} and not exists (
                        select 1 from silent_churners s
                        where s.week = n.week and s.customer_id = n.customer_id
                    )
                ) + (
                    select count(*) from new_silent_churners n
                    where {MINE} and not n.is_backlog and exists (
                        select 1 from silent_churners s
                        where s.week = n.week - 7 and s.customer_id = n.customer_id
                    )
                ) as wrong_customers
        """,
    ),
    TableCheck(
        table=NEW_SILENT_CHURNERS.name,
        name="no_flood",
        description="Not more than half of a week's silent churners are new, the backlog aside: a flood "
        "mostly means missing orders.",
        sql=f"""
            select coalesce(max(share), 0)::double as highest_share_of_new
            from (
                select n.week, count(*) / max(s.row_count) as share
                from new_silent_churners n
                join snapshots s on s.table_name = 'silent_churners' and s.week = n.week
                where n.{MINE} and not n.is_backlog and s.row_count >= 20
                group by n.week
            )
        """,
        blocking=False,
        limit=0.5,
    ),
]
