-- customer_activity: one row is a customer in a week with any order, refund or return.
-- Everything the RFM needs of the past, added up by week, so that no later step reads the lines again.
with

lines as (

    select * from order_lines
    where customer_id is not null

),

orders as (

    select order_id, customer_id, order_at, week, sum(amount) as amount
    from lines
    where line_type = 'sale'
    group by order_id, customer_id, order_at, week
    having sum(amount) > 0

),

refunds as (

    select order_id, customer_id, refund_at, refund_week, sum(refunded_amount) as amount
    from lines
    where refund_week is not null
    group by order_id, customer_id, refund_at, refund_week

),

refunds_so_far as (

    select
        r.order_id,
        r.customer_id,
        r.refund_week,
        o.week as order_week,
        o.amount as order_amount,
        sum(r.amount) over (
            partition by r.order_id, r.customer_id
            order by r.refund_week
            range between unbounded preceding and current row
        ) as refunded,
    from refunds r
    join orders o on o.order_id = r.order_id and o.customer_id = r.customer_id

),

full_refunds as (

    -- an order counts as fully refunded from the week in which its refunds reach its amount
    select customer_id, greatest(order_week, min(refund_week)) as week
    from refunds_so_far
    where refunded >= order_amount
    group by order_id, customer_id, order_week

),

events as (

    select customer_id, week, 1 as orders, 0 as refunded_orders, amount as sales, 0 as refunds,
        order_at as placed_at, null as returned_at
    from orders
    union all
    select customer_id, week, 0, 1, 0, 0, null, null
    from full_refunds
    union all
    select customer_id, refund_week, 0, 0, 0, amount, null, refund_at
    from refunds
    union all
    select customer_id, week, 0, 0, 0, amount, null, order_at
    from lines
    where line_type = 'return'

)

select
    customer_id,
    week,
    sum(orders) as orders,
    sum(refunded_orders) as refunded_orders,
    sum(sales) as sales,
    sum(refunds) as refunds,
    min(placed_at) as first_order_at,
    max(placed_at) as last_order_at,
    max(returned_at) as last_return_at,
from events
where week in (select week from target_weeks)
group by customer_id, week
