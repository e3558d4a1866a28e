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
            with

            lines_held as (

                select batch_id, count(*) as n, max(line_no) > max(row_no) as may_be_packed
                from raw_orders
                group by batch_id

            ),

            -- where a row packs several lines, line numbers run ahead of row numbers; else counting lines is
            -- enough, and takes less memory
            rows_held as (

                select batch_id, count(distinct row_no) as n
                from raw_orders
                where batch_id in (
                    select h.batch_id from lines_held h join order_batches b using (batch_id)
                    where h.n > b.rows_accepted or h.may_be_packed
                )
                group by batch_id

            )

            select
                count(*) filter (
                    b.rows_read <> b.rows_accepted + b.rows_unpaid + b.rows_rejected
                    -- a dataset's rows stay where they are
                    or not starts_with(b.file_name, 'dataset:')
                        and b.rows_accepted <> coalesce(c.n, r.n, 0)
                    or b.rows_rejected <> coalesce(x.n, 0)
                ) as files_with_lost_rows,
                count(*) as files,
                coalesce(sum(b.rows_read), 0)::bigint as rows_read,
                coalesce(sum(b.rows_accepted), 0)::bigint as rows_accepted,
                coalesce(sum(b.rows_unpaid), 0)::bigint as rows_unpaid,
                coalesce(sum(b.rows_rejected), 0)::bigint as rows_rejected,
                coalesce(sum(b.rows_identical), 0)::bigint as rows_identical
            from order_batches b
            left join lines_held r using (batch_id)
            left join rows_held c using (batch_id)
            left join (select batch_id, count(*) as n from rejected_rows group by batch_id) x using (batch_id)
        """,
    ),
    TableCheck(
        table=RAW_ORDERS.name,
        name="most_customers_have_a_key",
        description="At most 1 % of the rows have a customer key that is masked or damaged, and nothing to "
        "fall back on.",
        sql="""
            select
                coalesce(
                    sum(greatest(keys_masked + keys_damaged - keys_from_fallback, 0))
                        / nullif(sum(rows_accepted), 0),
                    0
                )::double as share_without_key,
                coalesce(sum(keys_masked), 0)::bigint as keys_masked,
                coalesce(sum(keys_damaged), 0)::bigint as keys_damaged,
                coalesce(sum(keys_from_fallback), 0)::bigint as keys_from_fallback
            from order_batches
        """,
        blocking=False,
        limit=0.01,
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
    TableCheck(
        table=RAW_ORDERS.name,
        name="delivered_orders_are_paid",
        description="No order was delivered and never paid. Where buyers pay on delivery, name the payment "
        "methods in orders.paid_on_delivery: those orders count as paid then.",
        sql="""
            select
                coalesce(sum(unpaid_delivered_orders), 0)::bigint as orders,
                coalesce(sum(unpaid_delivered_amount), 0) as money,
                'orders.paid_on_delivery: [' || coalesce(
                    arg_max(unpaid_delivered_methods, unpaid_delivered_orders), ''
                ) || ']' as counted_by
            from order_batches
        """,
        blocking=False,
    ),
    TableCheck(
        table=RAW_ORDERS.name,
        name="no_order_is_set_back",
        description="No newer export takes back a refund or a payment that an earlier one names: mostly "
        "an old export that was dropped in again. The reading report names the orders (set_back_orders).",
        sql="""
            select
                count(distinct order_id) as orders,
                count(*) filter (change = 'refund taken back') as refunds_taken_back,
                count(*) filter (change = 'payment taken back') as payments_taken_back
            from set_back_orders
        """,
        blocking=False,
    ),
]

ORDER_LINES_CHECKS = [
    TableCheck(
        table=ORDER_LINES.name,
        name="one_currency",
        description="At most 10 % of the rows read name another currency than the shop's; those are "
        "rejected, never added up. If the shop's is another one, write shop.currency into shop.yaml.",
        sql="""
            select
                coalesce(sum(rows_other_currency) / nullif(sum(rows_read), 0), 0)::double as share,
                coalesce(sum(rows_other_currency), 0)::bigint as rows_other_currency
            from order_batches
        """,
        limit=0.1,
    ),
    TableCheck(
        table=ORDER_LINES.name,
        name="every_order_is_there",
        description="Every order whose latest rows are paid is among the current lines, and no other is. "
        "Looks at all orders that changed since the check last passed.",
        sql="""
            with

            asked as (

                select order_id from unchecked_orders

            ),

            held as (

                select order_id, row_kind, batch_id, ordered_at, true as is_paid from raw_orders
                where order_id in (select order_id from asked)
                union all
                select order_id, row_kind, batch_id, null, false from unpaid_orders
                where order_id in (select order_id from asked)

            ),

            latest as (

                select order_id, row_kind, bool_or(is_paid) as is_paid, count(ordered_at) > 0 as has_time
                from held
                group by order_id, row_kind, batch_id
                qualify row_number() over (partition by order_id, row_kind order by batch_id desc) = 1

            ),

            due as (

                -- without a time from anywhere, an order waits for its order list
                select order_id from latest where is_paid group by order_id having bool_or(has_time)

            ),

            present as (

                select distinct order_id from order_lines where order_id in (select order_id from asked)

            )

            select
                count(*) filter (d.order_id is null or p.order_id is null) as wrong_orders,
                count(p.order_id) as orders_looked_at,
            from due d
            full join present p on p.order_id = d.order_id
        """,
    ),
    TableCheck(
        table=ORDER_LINES.name,
        name="no_line_waits_for_its_order",
        description="Every line of a line file without buyer and time has its order in an order list; until "
        "that has landed, the line counts nowhere.",
        sql="""
            select count(*) as lines_waiting
            from raw_orders r
            where r.ordered_at is null
                and not exists (select 1 from order_lines o where o.order_id = r.order_id)
        """,
        blocking=False,
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
            select count(*) as orders_with_several_customers from mixed_orders
        """,
        blocking=False,
    ),
    TableCheck(
        table=ORDER_LINES.name,
        name="most_lines_have_a_customer",
        description="At most half of the lines are of guests: those stay out of the RFM.",
        sql="""
            select
                coalesce(lines / nullif((select count(*) from order_lines), 0), 0)::double
                    as share_without_customer,
                lines as lines_without_customer
            -- as a condition, so that row groups without a guest aren't read
            from (select count(*) as lines from order_lines where customer_id is null)
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
            select coalesce(date_diff('day', min(week), max(week)) // 7 + 1 - count(distinct week), 0)
                as empty_weeks
            from order_lines
        """,
        blocking=False,
    ),
]
