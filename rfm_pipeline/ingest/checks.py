"""What must hold for the ingest stage's tables."""

from rfm_pipeline.ingest.schemas import ORDER_BATCHES, ORDER_LINES, RAW_ORDERS
from rfm_pipeline.warehouse.checks import TableCheck, unique_key

RAW_ORDERS_CHECKS = [
    TableCheck(
        table=RAW_ORDERS.name,
        name="nothing_lost",
        description="For every file: rows read = accepted + unpaid + rejected, and all accepted and "
        "rejected rows are in the tables.",
        sql="""
            select
                count(*) filter (
                    b.rows_read <> b.rows_accepted + b.rows_unpaid + b.rows_rejected
                    or b.rows_accepted <> coalesce(r.n, 0)
                    or b.rows_rejected <> coalesce(x.n, 0)
                ) as files_with_lost_rows,
                count(*) as files,
                coalesce(sum(b.rows_read), 0)::bigint as rows_read,
                coalesce(sum(b.rows_accepted), 0)::bigint as rows_accepted,
                coalesce(sum(b.rows_unpaid), 0)::bigint as rows_unpaid,
                coalesce(sum(b.rows_rejected), 0)::bigint as rows_rejected,
                coalesce(sum(b.rows_identical), 0)::bigint as rows_identical
            from order_batches b
            left join (select batch_id, count(*) as n from raw_orders group by batch_id) r using (batch_id)
            left join (select batch_id, count(*) as n from rejected_rows group by batch_id) x using (batch_id)
        """,
    ),
    TableCheck(
        table=RAW_ORDERS.name,
        name="few_rejected_rows",
        description="At most 1 % of the rows read are rejected.",
        sql="""
            select coalesce(sum(rows_rejected) / nullif(sum(rows_read), 0), 0)::double as rejected_share
            from order_batches
        """,
        blocking=False,
        limit=0.01,
    ),
    unique_key(ORDER_BATCHES, beside=RAW_ORDERS),
]

ORDER_LINES_CHECKS = [
    TableCheck(
        table=ORDER_LINES.name,
        name="every_order_is_there",
        description="Every order among the raw lines is among the current ones, and from one batch only.",
        sql="""
            select
                abs(
                    (select count(distinct order_id) from raw_orders)
                    - (select count(distinct order_id) from order_lines)
                ) + (
                    select count(*) from (
                        select order_id from order_lines
                        group by order_id having min(batch_id) <> max(batch_id)
                    )
                ) as wrong_orders,
                (select count(distinct order_id) from order_lines) as orders
        """,
    ),
    TableCheck(
        table=ORDER_LINES.name,
        name="no_order_in_the_future",
        description="No order is dated after the present moment.",
        sql="select count(*) as lines from order_lines where order_at > $now",
        blocking=False,
    ),
    TableCheck(
        table=ORDER_LINES.name,
        name="orders_have_one_customer",
        description="All lines of an order belong to the same customer.",
        sql="""
            select count(*) as orders_with_several_customers
            from (select order_id from order_lines group by order_id having count(distinct customer_id) > 1)
        """,
        blocking=False,
    ),
    TableCheck(
        table=ORDER_LINES.name,
        name="most_lines_have_a_customer",
        description="At most half of the lines are of guests: those stay out of the RFM.",
        sql="""
            select
                coalesce(count(*) filter (customer_id is null) / nullif(count(*), 0), 0)::double
                    as share_without_customer,
                count(*) filter (customer_id is null) as lines_without_customer
            from order_lines
        """,
        blocking=False,
        limit=0.5,
    ),
    TableCheck(
        table=ORDER_LINES.name,
        name="no_empty_week",
        description="Every week between the first and the newest order holds an order: a hole is often an "
        "export that is missing.",
        sql="""
            select coalesce((max(week) - min(week)) // 7 + 1 - count(distinct week), 0) as empty_weeks
            from order_lines
        """,
        blocking=False,
    ),
]
