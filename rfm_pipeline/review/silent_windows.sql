-- silent_windows: one row is a class, recency band and fortnight of recency at a past week, with what its silent
-- churners did in the days that followed. Only weeks whose days have passed are asked for (window_weeks), so the answer is known
-- and the same at every later week. What is refunded or sent back after the return, within the same days, is
-- taken off.
with

silent as (

    select
        s.week,
        cast(w.as_of as timestamp) as opens_at,
        cast(w.as_of + cast($value_days as integer) as timestamp) as closes_at,
        s.customer_id,
        s.churn_class,
        b.recency_from,
        s.recency_days,
        s.recency_days // 14 as fortnight,
    from silent_churners s
    join window_weeks w on w.week = s.week
    join recency_bands b on s.recency_days >= b.lowest and s.recency_days < b.below

),

later_lines as (

    select order_id, customer_id, line_type, order_at, amount, refunded_amount, refund_at
    from order_lines
    where customer_id in (select customer_id from silent)
        and order_at >= (select min(opens_at) from silent)
        and order_at < (select max(closes_at) from silent)

),

-- include ctes/later_orders.sql

placed as (

    select s.*, o.order_id, o.order_at, o.amount
    from silent s
    join orders o
        on o.customer_id = s.customer_id and o.order_at >= s.opens_at and o.order_at < s.closes_at

),

taken_back as (

    select p.week, p.customer_id, p.order_id, sum(r.amount) as amount
    from placed p
    join refunds r
        on r.order_id = p.order_id and r.customer_id = p.customer_id and r.refund_at < p.closes_at
    group by p.week, p.customer_id, p.order_id

),

bought as (

    select
        p.week,
        p.churn_class,
        p.recency_from,
        p.fortnight,
        p.customer_id,
        p.closes_at,
        min(p.order_at) as returned_at,
        sum(p.amount) - coalesce(sum(t.amount), 0) as amount,
    from placed p
    left join taken_back t
        on t.week = p.week and t.customer_id = p.customer_id and t.order_id = p.order_id
    group by p.week, p.churn_class, p.recency_from, p.fortnight, p.customer_id, p.closes_at

),

sent_back as (

    select b.week, b.customer_id, sum(l.amount) as amount
    from bought b
    join later_lines l
        on l.customer_id = b.customer_id
        and l.line_type = 'return'
        and l.order_at >= b.returned_at
        and l.order_at < b.closes_at
    group by b.week, b.customer_id

),

returners as (

    select b.*, b.amount - coalesce(s.amount, 0) as net_sales
    from bought b
    left join sent_back s on s.week = b.week and s.customer_id = b.customer_id

),

came_back as (

    select
        week,
        churn_class,
        recency_from,
        fortnight,
        count(*) as returned,
        sum(net_sales) as net_sales,
        -- added up exactly: floating point would depend on the order
        cast(
            sum(cast(net_sales as decimal(18, 4)) * cast(net_sales as decimal(18, 4))) as double
        ) as net_sales_squares,
    from returners
    group by week, churn_class, recency_from, fortnight

),

counted as (

    select
        week,
        churn_class,
        recency_from,
        fortnight,
        count(*) as customers,
        cast(sum(cast(ln(recency_days) as decimal(18, 12))) as double) as log_days,
    from silent
    group by week, churn_class, recency_from, fortnight

)

select
    n.week,
    n.churn_class,
    n.recency_from,
    n.fortnight,
    n.customers,
    n.log_days,
    coalesce(c.returned, 0) as returned,
    coalesce(c.net_sales, 0) as net_sales,
    coalesce(c.net_sales_squares, 0) as net_sales_squares,
from counted n
left join came_back c
    on c.week = n.week
    and c.churn_class = n.churn_class
    and c.recency_from = n.recency_from
    and c.fortnight = n.fortnight
