-- return_curve: one row is a number of days after a return at a week: what those who came back after a silence
-- still brought from that day on, up to $value_days after their return: orders minus refunds and goods sent back.
-- Learnt from all returns of the year before whose days have passed: an order after at least $dormant_after_days
-- without one, recalled or not.
with

visits as (

    select
        customer_id,
        first_order_at,
        lag(last_order_at) over (partition by customer_id order by week) as order_before_at,
    from customer_activity
    where orders > 0

),

returns as (

    select customer_id, first_order_at as returned_at
    from visits
    where date_diff('day', cast(order_before_at as date), cast(first_order_at as date))
        >= cast($dormant_after_days as integer)

),

closed as (

    select
        t.week,
        r.customer_id,
        r.returned_at,
        r.returned_at + cast($value_days as integer) * interval 1 day as closes_at,
    from target_weeks t
    join returns r
        on r.returned_at + cast($value_days as integer) * interval 1 day <= cast(t.as_of as timestamp)
        and r.returned_at >= cast(t.as_of - cast($value_days as integer) - 365 as timestamp)

),

later_lines as (

    select order_id, customer_id, line_type, order_at, amount, refunded_amount, refund_at
    from order_lines
    where customer_id in (select customer_id from closed)
        and order_at >= (select min(returned_at) from closed)

),

-- include ctes/later_orders.sql

movements as (

    -- the order they came back with is known; what is to be foreseen is what comes after it
    select c.week, c.customer_id, c.returned_at, o.order_at as moved_at, o.amount
    from closed c
    join orders o
        on o.customer_id = c.customer_id and o.order_at > c.returned_at and o.order_at < c.closes_at
    union all
    select c.week, c.customer_id, c.returned_at, r.refund_at, -r.amount
    from closed c
    join orders o
        on o.customer_id = c.customer_id and o.order_at >= c.returned_at and o.order_at < c.closes_at
    join refunds r
        on r.order_id = o.order_id
        and r.customer_id = o.customer_id
        and r.refund_at >= c.returned_at
        and r.refund_at < c.closes_at
    union all
    select c.week, c.customer_id, c.returned_at, l.order_at, -l.amount
    from closed c
    join later_lines l
        on l.customer_id = c.customer_id
        and l.line_type = 'return'
        and l.order_at >= c.returned_at
        and l.order_at < c.closes_at

),

days as (

    select
        week,
        customer_id,
        returned_at,
        date_diff('day', cast(returned_at as date), cast(moved_at as date)) as day,
        sum(amount) as net_sales,
    from movements
    group by all

),

rests as (

    select e.week, e.elapsed_days, d.customer_id, d.returned_at, sum(d.net_sales) as net_sales
    from elapsed e
    join days d on d.week = e.week and d.day >= e.elapsed_days
    group by e.week, e.elapsed_days, d.customer_id, d.returned_at

),

added as (

    -- added up exactly: floating point would depend on the order
    select
        week,
        elapsed_days,
        cast(sum(net_sales) as double) as net_sales,
        cast(
            sum(cast(net_sales as decimal(18, 4)) * cast(net_sales as decimal(18, 4))) as double
        ) as net_sales_squares,
    from rests
    group by week, elapsed_days

),

learnt as (

    select week, count(*) as returns from closed group by week

)

select
    e.week,
    e.elapsed_days,
    coalesce(l.returns, 0) as returns,
    coalesce(a.net_sales, 0) as net_sales,
    coalesce(a.net_sales_squares, 0) as net_sales_squares,
from elapsed e
left join learnt l on l.week = e.week
left join added a on a.week = e.week and a.elapsed_days = e.elapsed_days
