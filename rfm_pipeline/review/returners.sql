-- returners: one row is a campaign week and arm at a week, by the days since its customers came back.
-- A customer came back with the first paid order in the response window; their money counts for so many days
-- from that order ($value_days), minus what is refunded or sent back in them, as far as it is known at the week.
-- elapsed_days is null once they have passed.
with

assigned as (

    select
        t.week,
        t.as_of,
        a.week as campaign_week,
        a.customer_id,
        a.arm,
        cast(a.week + 7 as timestamp) as opens_at,
        cast(a.week + 7 + cast($response_days as integer) as timestamp) as closes_at,
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

back as (

    select
        a.week,
        a.as_of,
        a.campaign_week,
        a.arm,
        a.customer_id,
        min(o.order_at) as returned_at,
        least(
            min(o.order_at) + cast($value_days as integer) * interval 1 day, cast(a.as_of as timestamp)
        ) as known_until,
    from assigned a
    join orders o
        on o.customer_id = a.customer_id
        and o.order_at >= a.opens_at
        and o.order_at < least(a.closes_at, cast(a.as_of as timestamp))
    group by a.week, a.as_of, a.campaign_week, a.arm, a.customer_id

),

bought as (

    select b.week, b.campaign_week, b.customer_id, b.known_until, o.order_id, o.amount
    from back b
    join orders o
        on o.customer_id = b.customer_id and o.order_at >= b.returned_at and o.order_at < b.known_until

),

taken_back as (

    select b.week, b.campaign_week, b.customer_id, b.order_id, sum(r.amount) as amount
    from bought b
    join refunds r
        on r.order_id = b.order_id and r.customer_id = b.customer_id and r.refund_at < b.known_until
    group by b.week, b.campaign_week, b.customer_id, b.order_id

),

sent_back as (

    select b.week, b.campaign_week, b.customer_id, sum(l.amount) as amount
    from back b
    join later_lines l
        on l.customer_id = b.customer_id
        and l.line_type = 'return'
        and l.order_at >= b.returned_at
        and l.order_at < b.known_until
    group by b.week, b.campaign_week, b.customer_id

),

spent as (

    select b.week, b.campaign_week, b.customer_id, sum(b.amount) - coalesce(sum(t.amount), 0) as net_sales
    from bought b
    left join taken_back t
        on t.week = b.week
        and t.campaign_week = b.campaign_week
        and t.customer_id = b.customer_id
        and t.order_id = b.order_id
    group by b.week, b.campaign_week, b.customer_id

),

judged as (

    select
        b.week,
        b.campaign_week,
        b.arm,
        s.net_sales - coalesce(r.amount, 0) as net_sales,
        case
            when b.returned_at + cast($value_days as integer) * interval 1 day > cast(b.as_of as timestamp)
                then date_diff('day', cast(b.returned_at as date), b.as_of)
        end as elapsed_days,
    from back b
    join spent s
        on s.week = b.week and s.campaign_week = b.campaign_week and s.customer_id = b.customer_id
    left join sent_back r
        on r.week = b.week and r.campaign_week = b.campaign_week and r.customer_id = b.customer_id

),

arms as (

    select distinct week, campaign_week, arm from assigned

)

select
    a.week,
    a.campaign_week,
    a.arm,
    j.elapsed_days,
    count(j.net_sales) as customers,
    coalesce(sum(j.net_sales), 0) as net_sales,
from arms a
left join judged j on j.week = a.week and j.campaign_week = a.campaign_week and j.arm = a.arm
group by a.week, a.campaign_week, a.arm, j.elapsed_days
