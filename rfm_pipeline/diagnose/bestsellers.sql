-- bestsellers: one row is a SKU among the first of a week.
-- Ranked by the number of orders that hold it, not by pieces: one order of 80,995 pieces makes no bestseller.
with

bounds as (

    select min(as_of) as first_as_of, max(as_of) as last_as_of from target_weeks

),

sold as (

    select o.sku, cast(o.order_at as date) as day, o.order_id, o.amount, o.product_name
    from order_lines o
    where o.is_product
        and not (
            coalesce(o.is_clearance, false)
            or coalesce(o.unit_price <= $clearance_share * o.list_price, false)
        )
        -- on the bare column, so that row groups of other times aren't read
        and o.order_at >= (select first_as_of - cast($product_window_days as integer) from bounds)
        and o.order_at < (select last_as_of from bounds)

),

days as (

    -- an order lies in one day, so orders can be added up over days
    select
        sku,
        day,
        count(distinct order_id) as orders,
        sum(amount) as revenue,
        max(product_name) as product_name,
    from sold
    group by sku, day

),

weeks as (

    select
        t.week,
        d.sku,
        sum(d.orders) as orders,
        sum(d.revenue) as revenue,
        max_by(d.product_name, d.day) as product_name,
    from target_weeks t
    join days d on d.day >= t.as_of - cast($product_window_days as integer) and d.day < t.as_of
    group by t.week, d.sku

),

ranked as (

    select
        *,
        row_number() over (partition by week order by orders desc, revenue desc, sku) as position,
    from weeks

)

select week, position, sku, product_name, orders, revenue
from ranked
where position <= $bestsellers_top
