-- segment_thresholds: one row is a week, with the thresholds in force when it was diagnosed.
-- High M begins at a fixed amount ($monetary_high_amount) or at a quantile of the week's customers, with
-- linear interpolation between the two customers beside it, found on a ladder like that of low_prices. The
-- customers are counted by amount first: many weeks then need no memory for each of their customers.
-- Where so many customers share that amount that those at or above it exceed the quantile's share (1 - quantile)
-- by more than 15 points, only what lies above it is high (monetary_high_is_exclusive).
with

amounts as (

    select week, monetary, count(*) as customers
    from customer_rfm
    where week in (select week from target_weeks)
    group by week, monetary

),

ladder as (

    select
        week,
        monetary,
        sum(customers) over (partition by week order by monetary) as customers_up_to,
        sum(customers) over (partition by week) as customers,
        -- the place of the quantile among the customers, counted from 0
        cast($monetary_high_quantile as decimal(9, 8)) * (sum(customers) over (partition by week) - 1) as place,
    from amounts

),

beside as (

    select
        week,
        max(customers) as customers,
        max(place) as place,
        min(monetary) filter (customers_up_to > floor(place)) as lower_amount,
        min(monetary) filter (customers_up_to > ceil(place)) as upper_amount,
    from ladder
    group by week

),

limits as (

    select
        t.week,
        coalesce(b.customers, 0) as customers,
        case
            when $monetary_high_amount is not null then cast($monetary_high_amount as decimal(38, 10))
            -- where the place is a customer's, the limit is exactly that customer's M
            else cast(
                round(b.lower_amount + (b.upper_amount - b.lower_amount) * (b.place - floor(b.place)), 8)
                as decimal(38, 10)
            )
        end as monetary_high,
    from target_weeks t
    left join beside b on b.week = t.week

),

reaching as (

    select l.week, sum(a.customers) as customers
    from limits l
    join amounts a on a.week = l.week and a.monetary >= l.monetary_high
    group by l.week

)

select
    l.week,
    l.customers,
    cast($frequency_high as integer) as frequency_high,
    l.monetary_high,
    case
        when $monetary_high_amount is null then cast($monetary_high_quantile as double)
    end as monetary_high_quantile,
    $monetary_high_amount is null
    and coalesce(r.customers, 0)
    > (cast(1.15 as decimal(9, 8)) - cast($monetary_high_quantile as decimal(9, 8))) * l.customers
    as monetary_high_is_exclusive,
    cast($dormant_after_days as integer) as dormant_after_days,
    cast($lapsing_after_days as integer) as lapsing_after_days,
from limits l
left join reaching r on r.week = l.week
