-- customer_rfm: one row is a customer at a week: what was known of them before as_of.
-- All up to the first week asked for is added up to an opening total: what customer_totals holds of it and what
-- happened since, or, where it holds only later weeks, everything. Only customers with activity in the later
-- weeks get running totals, which hold from one activity to the next; every week finds its total by that span.
-- So a single week adds up the newest part of the past, and a range adds up the past once.
with

known_until as (

    select max(week) as week from customer_totals where week <= (select min(week) from target_weeks)

),

known as (

    select * from customer_totals where week = (select week from known_until)

),

since as (

    select
        customer_id,
        sum(orders - refunded_orders) as frequency,
        sum(sales - refunds) as monetary,
        min(first_order_at) as first_order_at,
        max(last_order_at) as last_order_at,
        max(last_return_at) as last_return_at,
    from customer_activity
    where
        week <= (select min(week) from target_weeks)
        and week > coalesce((select week from known_until), date '0001-01-01')
    group by customer_id

),

opening as (

    select
        coalesce(k.customer_id, s.customer_id) as customer_id,
        (select min(week) from target_weeks) as week,
        coalesce(k.frequency, 0) + coalesce(s.frequency, 0) as frequency,
        coalesce(k.monetary, 0) + coalesce(s.monetary, 0) as monetary,
        -- of two times the one that is there
        least(k.first_order_at, s.first_order_at) as first_order_at,
        greatest(k.last_order_at, s.last_order_at) as last_order_at,
        greatest(k.last_return_at, s.last_return_at) as last_return_at,
    from known k
    full join since s on s.customer_id = k.customer_id

),

later as (

    select
        customer_id,
        week,
        orders - refunded_orders as frequency,
        sales - refunds as monetary,
        first_order_at,
        last_order_at,
        last_return_at,
    from customer_activity
    where
        week > (select min(week) from target_weeks)
        and week <= (select max(week) from target_weeks)

),

steps as (

    select * from later
    union all
    select o.* from opening o
    where exists (select 1 from later l where l.customer_id = o.customer_id)

),

totals as (

    select
        customer_id,
        week as valid_from,
        lead(week, 1, date '9999-12-31') over next_step as valid_to,
        sum(frequency) over so_far as frequency,
        sum(monetary) over so_far as monetary,
        min(first_order_at) over so_far as first_order_at,
        max(last_order_at) over so_far as last_order_at,
        max(last_return_at) over so_far as last_return_at,
    from steps
    window
        next_step as (partition by customer_id order by week),
        so_far as (partition by customer_id order by week rows between unbounded preceding and current row)
    union all
    select
        o.customer_id,
        o.week as valid_from,
        date '9999-12-31' as valid_to,
        o.frequency,
        o.monetary,
        o.first_order_at,
        o.last_order_at,
        o.last_return_at,
    from opening o
    where not exists (select 1 from later l where l.customer_id = o.customer_id)

)

select
    t.week,
    t.as_of,
    c.customer_id,
    date_diff('day', cast(c.last_order_at as date), t.as_of) as recency_days,
    c.frequency,
    c.monetary,
    c.first_order_at,
    c.last_order_at,
    c.last_return_at,
from totals c
join target_weeks t on t.week >= c.valid_from and t.week < c.valid_to
-- a customer exists from the first paid order on
where c.last_order_at is not null
