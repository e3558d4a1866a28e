-- return_curve: one row is a number of days after a return at a week: what those who came back after a silence
-- still bought from that day on, up to $value_days after their return. Learnt from all returns of the year before
-- whose days have passed: an order after at least $dormant_after_days without one, recalled or not.
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

    select order_id, customer_id, order_at, amount, refunded_amount, refund_at
    from order_lines
    where line_type = 'sale'
        and customer_id in (select customer_id from closed)
        and order_at >= (select min(returned_at) from closed)

),

orders as (

    select order_id, customer_id, order_at, sum(amount) as amount
    from later_lines
    group by order_id, customer_id, order_at
    having sum(amount) > 0

),

refunds as (

    select order_id, customer_id, refund_at, sum(refunded_amount) as amount
    from later_lines
    where refund_at is not null
    group by order_id, customer_id, refund_at

),

bought as (

    -- the order they came back with is known; what is to be foreseen are those after it
    select
        c.week,
        c.customer_id,
        c.returned_at,
        c.closes_at,
        o.order_id,
        o.amount,
        date_diff('day', cast(c.returned_at as date), cast(o.order_at as date)) as day,
    from closed c
    join orders o
        on o.customer_id = c.customer_id and o.order_at > c.returned_at and o.order_at < c.closes_at

),

taken_back as (

    select b.week, b.customer_id, b.returned_at, b.order_id, sum(r.amount) as amount
    from bought b
    join refunds r
        on r.order_id = b.order_id and r.customer_id = b.customer_id and r.refund_at < b.closes_at
    group by b.week, b.customer_id, b.returned_at, b.order_id

),

days as (

    select
        b.week,
        b.customer_id,
        b.returned_at,
        b.day,
        cast(sum(b.amount) - coalesce(sum(t.amount), 0) as double) as net_sales,
    from bought b
    left join taken_back t
        on t.week = b.week
        and t.customer_id = b.customer_id
        and t.returned_at = b.returned_at
        and t.order_id = b.order_id
    group by b.week, b.customer_id, b.returned_at, b.day

),

rests as (

    select e.week, e.elapsed_days, d.customer_id, d.returned_at, sum(d.net_sales) as net_sales
    from elapsed e
    join days d on d.week = e.week and d.day >= e.elapsed_days
    group by e.week, e.elapsed_days, d.customer_id, d.returned_at

),

added as (

    select week, elapsed_days, sum(net_sales) as net_sales, sum(net_sales * net_sales) as net_sales_squares
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
