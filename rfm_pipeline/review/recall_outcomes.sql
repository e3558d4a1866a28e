-- recall_outcomes: one row is a class and arm of a campaign week, as far as it can be told at a week.
-- A customer returned who placed a paid order in the response window, which begins with the list's as_of.
-- Counted by assignment: in the arm they were drawn into, reached or not.
with

assigned as (

    select
        t.week,
        t.as_of,
        a.week as campaign_week,
        a.customer_id,
        a.churn_class,
        a.arm,
        cast(a.week + 7 as timestamp) as opens_at,
        cast(a.week + 7 + cast($response_days as integer) as timestamp) as closes_at,
    from target_weeks t
    join assignments a on a.week <= t.week

),

orders as (

    select order_id, customer_id, order_at, sum(amount) as amount
    from order_lines
    where line_type = 'sale'
        and customer_id in (select customer_id from assignments)
        and order_at >= (select min(opens_at) from assigned)
    group by order_id, customer_id, order_at
    having sum(amount) > 0

),

refunds as (

    select order_id, customer_id, refund_at, sum(refunded_amount) as amount
    from order_lines
    where refund_at is not null and customer_id in (select customer_id from assignments)
    group by order_id, customer_id, refund_at

),

answers as (

    select a.week, a.as_of, a.campaign_week, a.customer_id, o.order_id, o.amount
    from assigned a
    join orders o
        on o.customer_id = a.customer_id
        and o.order_at >= a.opens_at
        and o.order_at < least(a.closes_at, cast(a.as_of as timestamp))

),

known_refunds as (

    select n.week, n.campaign_week, n.customer_id, n.order_id, sum(r.amount) as amount
    from answers n
    join refunds r
        on r.order_id = n.order_id
        and r.customer_id = n.customer_id
        and r.refund_at < cast(n.as_of as timestamp)
    group by n.week, n.campaign_week, n.customer_id, n.order_id

),

customers as (

    select
        n.week,
        n.campaign_week,
        n.customer_id,
        count(*) as orders,
        sum(n.amount) - coalesce(sum(k.amount), 0) as net_sales,
    from answers n
    left join known_refunds k
        on k.week = n.week
        and k.campaign_week = n.campaign_week
        and k.customer_id = n.customer_id
        and k.order_id = n.order_id
    group by n.week, n.campaign_week, n.customer_id

)

select
    a.week,
    a.campaign_week,
    a.churn_class,
    a.arm,
    count(*) as assigned,
    count(c.customer_id) as returned,
    count(c.customer_id) / count(*) as response_rate,
    coalesce(sum(c.orders), 0) as orders,
    coalesce(sum(c.net_sales), 0) as net_sales,
    cast(a.as_of as timestamp) >= max(a.closes_at) as is_final,
from assigned a
left join customers c
    on c.week = a.week and c.campaign_week = a.campaign_week and c.customer_id = a.customer_id
group by a.week, a.as_of, a.campaign_week, a.churn_class, a.arm
