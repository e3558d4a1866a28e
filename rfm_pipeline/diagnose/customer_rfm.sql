-- customer_rfm: one row is a customer at a week: what was known of them before as_of.
-- Activity is added up once to each customer's running total. A total holds from its own week until the
-- customer's next activity, so every week asked for finds its total without adding up the past again.
with

bounds as (

    select min(week) as first_week, max(week) as last_week from target_weeks

),

activity as (

    -- all that lies before the weeks asked for is one opening row a customer
    select
        a.customer_id,
        greatest(a.week, b.first_week) as week,
        sum(a.orders) as orders,
        sum(a.orders - a.refunded_orders) as frequency,
        sum(a.sales - a.refunds) as monetary,
        min(a.first_order_at) as first_order_at,
        max(a.last_order_at) as last_order_at,
        max(a.last_return_at) as last_return_at,
    from customer_activity a
    cross join bounds b
    where a.week <= b.last_week
    group by a.customer_id, greatest(a.week, b.first_week)

),

totals as (

    select
        customer_id,
        week as valid_from,
        lead(week) over later as valid_to,
        sum(orders) over so_far as orders,
        sum(frequency) over so_far as frequency,
        sum(monetary) over so_far as monetary,
        min(first_order_at) over so_far as first_order_at,
        max(last_order_at) over so_far as last_order_at,
        max(last_return_at) over so_far as last_return_at,
    from activity
    window
        later as (partition by customer_id order by week),
        so_far as (partition by customer_id order by week rows between unbounded preceding and current row)

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
join target_weeks t on t.week >= c.valid_from and (c.valid_to is null or t.week < c.valid_to)
-- a customer exists from the first paid order on
where c.orders > 0
