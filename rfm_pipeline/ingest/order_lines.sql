-- order_lines: one row is a line of the current truth.
-- The lines of all touched orders as they count today (current_rows.sql, assembled_lines.sql). All lines of an
-- order share the order's time, the earliest of its lines, so an order lies in one week.
with

order_times as (

    select order_id, min(ordered_at) as order_at
    from lines
    group by order_id

),

timed as (

    select
        l.* exclude (sku),
        -- SKUs are compared trimmed and in upper case
        upper(trim(l.sku)) as sku,
        t.order_at,
        case
            when l.line_type = 'sale' and l.refunded_amount > 0 then coalesce(l.refunded_at, t.order_at)
        end as refund_at,
    from lines l
    join order_times t on t.order_id = l.order_id

)

select
    order_id,
    line_no,
    customer_id,
    ordered_at,
    line_type,
    sku,
    product_name,
    quantity,
    unit_price,
    list_price,
    amount,
    refunded_amount,
    refunded_at,
    is_clearance,
    order_at,
    cast(date_trunc('week', order_at) as date) as week,
    refund_at,
    cast(date_trunc('week', refund_at) as date) as refund_week,
    coalesce(
        line_type = 'sale' and amount > 0 and sku <> '' and not regexp_matches(sku, $not_product_pattern)
        and not coalesce(
            $not_product_names <> '^$' and product_name <> ''
            and regexp_matches(upper(trim(product_name)), $not_product_names),
            false
        ),
        false
    ) as is_product,
    batch_id,
    row_no,
from timed
