-- recall_answers: one row is a customer of a sealed list who answered it, as far as it is known at a week.
-- A customer returned who placed a paid order in the response window, which begins with the list's as_of.
-- An answer ripens until the first Monday on which the window has closed (fixed_at), refunds included, and
-- stays as it is from then on.
with

assigned as (

    select
        t.week,
        a.week as campaign_week,
        a.customer_id,
        a.churn_class,
        a.arm,
        cast(a.week + 7 as timestamp) as opens_at,
        cast(a.week + 7 + cast($response_days as integer) as timestamp) as closes_at,
        least(
            t.as_of,
            a.week + 7 + cast(ceil(cast($response_days as integer) / 7) as integer) * 7
        ) as known_until,
    from target_weeks t
    join assignments a on a.week <= t.week

),

later_lines as (

    select order_id, customer_id, line_type, order_at, amount, refunded_amount, refund_at
    from order_lines
    where customer_id in (select customer_id from assignments)
        and order_at >= (select min(opens_at) from assigned)

),

-- include ctes/later_orders.sql

answers as (

    select a.*, o.order_id, o.amount
    from assigned a
    join orders o
        on o.customer_id = a.customer_id
        and o.order_at >= a.opens_at
        and o.order_at < least(a.closes_at, cast(a.known_until as timestamp))

),

known_refunds as (

    select n.week, n.campaign_week, n.customer_id, n.order_id, sum(r.amount) as amount
    from answers n
    join refunds r
        on r.order_id = n.order_id
        and r.customer_id = n.customer_id
        and r.refund_at < cast(n.known_until as timestamp)
    group by n.week, n.campaign_week, n.customer_id, n.order_id

)

select
    n.week,
    n.campaign_week,
    n.customer_id,
    n.churn_class,
    n.arm,
    count(*) as orders,
    sum(n.amount) - coalesce(sum(k.amount), 0) as net_sales,
from answers n
left join known_refunds k
    on k.week = n.week
    and k.campaign_week = n.campaign_week
    and k.customer_id = n.customer_id
    and k.order_id = n.order_id
group by n.week, n.campaign_week, n.customer_id, n.churn_class, n.arm
