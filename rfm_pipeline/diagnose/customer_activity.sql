-- customer_activity: one row is a customer in a week with any order, refund or return.
-- Everything the RFM needs of the past, added up by week, so that no later step reads the lines again. Of
-- other weeks' lines only those of orders refunded in (or placed in) the weeks asked for are read. Each part
-- reads order_lines itself: a common "lines" would be held in memory with all weeks.
with

orders as (

    select customer_id, week, order_at, sum(amount) as amount
    from order_lines
    where customer_id is not null and line_type = 'sale' and week in (select week from target_weeks)
    group by order_id, customer_id, week, order_at
    having sum(amount) > 0

),

refunded_orders as (

    select order_id from order_lines
    where customer_id is not null and refund_week in (select week from target_weeks)
    union
    select order_id from order_lines
    where customer_id is not null and refund_week is not null and week in (select week from target_weeks)

),

refunded_lines as (

    select order_id, customer_id, week, amount, refunded_amount, refund_week from order_lines
    where customer_id is not null
        and line_type = 'sale'
        and order_id in (select order_id from refunded_orders)

),

refunded_amounts as (

    select order_id, customer_id, week, sum(amount) as amount
    from refunded_lines
    group by order_id, customer_id, week
    having sum(amount) > 0

),

refunds_by_week as (

    select order_id, customer_id, refund_week, sum(refunded_amount) as amount
    from refunded_lines
    where refund_week is not null
    group by order_id, customer_id, refund_week

),

refunds_so_far as (

    select
        order_id,
        customer_id,
        refund_week,
        sum(amount) over (
            partition by order_id, customer_id
            order by refund_week
            rows between unbounded preceding and current row
        ) as amount,
    from refunds_by_week

),

full_refunds as (

    -- an order counts as fully refunded from the week in which its refunds reach its amount
    select o.customer_id, greatest(o.week, min(r.refund_week)) as week
    from refunded_amounts o
    join refunds_so_far r
        on r.order_id = o.order_id and r.customer_id = o.customer_id and r.amount >= o.amount
    group by o.order_id, o.customer_id, o.week

),

events as (

    select customer_id, week, 1 as orders, 0 as refunded_orders, amount as sales, 0 as refunds,
        order_at as placed_at, null as returned_at
    from orders
    union all
    select customer_id, week, 0, 1, 0, 0, null, null
    from full_refunds
    where week in (select week from target_weeks)
    union all
    select customer_id, refund_week, 0, 0, 0, refunded_amount, null, refund_at
    from order_lines
    where customer_id is not null and refund_week in (select week from target_weeks)
    union all
    select customer_id, week, 0, 0, 0, amount, null, order_at
    from order_lines
    where customer_id is not null and line_type = 'return' and week in (select week from target_weeks)

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
group by customer_id, week
-- rows of one customer lie together: adding them up is then a third faster
order by customer_id, week
