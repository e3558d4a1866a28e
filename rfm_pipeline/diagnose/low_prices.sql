-- low_prices: one row is a week, with the price up to which a product counts as low-priced.
-- The quantile of the unit prices of all product lines in the window, every line counting once, with linear
-- interpolation between the two lines beside it.
with

bounds as (

    select min(as_of) as first_as_of, max(as_of) as last_as_of from target_weeks

),

days as (

    select cast(o.order_at as date) as day, o.unit_price, count(*) as lines
    from order_lines o
    where o.is_product
        -- on the bare column, so that row groups of other times aren't read
        and o.order_at >= (select first_as_of - cast($product_window_days as integer) from bounds)
        and o.order_at < (select last_as_of from bounds)
    group by cast(o.order_at as date), o.unit_price

),

prices as (

    select t.week, d.unit_price, sum(d.lines) as lines
    from target_weeks t
    join days d on d.day >= t.as_of - cast($product_window_days as integer) and d.day < t.as_of
    group by t.week, d.unit_price

),

ladder as (

    select
        week,
        unit_price,
        sum(lines) over (partition by week order by unit_price) as lines_up_to,
        sum(lines) over (partition by week) as all_lines,
        -- the place of the quantile among the lines, counted from 0
        cast($low_price_quantile as decimal(9, 8)) * (sum(lines) over (partition by week) - 1) as place,
    from prices

),

beside as (

    select
        week,
        max(all_lines) as product_lines,
        max(place) as place,
        min(unit_price) filter (lines_up_to > floor(place)) as lower_price,
        min(unit_price) filter (lines_up_to > ceil(place)) as upper_price,
    from ladder
    group by week

)

select
    t.week,
    coalesce(b.product_lines, 0) as product_lines,
    cast(b.lower_price + (b.upper_price - b.lower_price) * (b.place - floor(b.place)) as decimal(38, 10))
        as low_price,
from target_weeks t
left join beside b on b.week = t.week
