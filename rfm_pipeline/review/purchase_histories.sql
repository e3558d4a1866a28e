-- purchase_histories: one row is a history of purchases at a week and how many customers have it.
-- In whole weeks, as BG/NBD and Gamma-Gamma want it: a purchase is a week with a paid order; x purchases after
-- the first, t_x weeks from the first to the last, t weeks from the first to as_of; silent churners apart.
-- Histories that are alike are one row, so that a shop of a million customers is some thousand rows.
with

customers as (

    select
        t.week,
        a.customer_id,
        count(*) - 1 as x,
        date_diff('day', min(a.week), max(a.week)) // 7 as t_x,
        date_diff('day', min(a.week), t.as_of) // 7 as t,
        -- of the purchases after the first: those of the first say nothing of their size
        cast(sum(a.sales) - min_by(a.sales, a.week) as double) / nullif(count(*) - 1, 0) as mean_sales,
    from target_weeks t
    join customer_activity a on a.week <= t.week
    where a.orders > 0
    group by t.week, t.as_of, a.customer_id

)

select
    c.week,
    c.x,
    c.t_x,
    c.t,
    s.customer_id is not null as is_silent,
    count(*) as customers,
    -- added up exactly: floating point would depend on the order
    coalesce(cast(sum(cast(c.mean_sales as decimal(18, 8))) as double), 0) as mean_sales,
from customers c
left join silent_churners s on s.week = c.week and s.customer_id = c.customer_id
group by c.week, c.x, c.t_x, c.t, s.customer_id is not null
