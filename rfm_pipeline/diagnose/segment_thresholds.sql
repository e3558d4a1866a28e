-- segment_thresholds: one row is a week, with the thresholds in force when it was diagnosed.
-- High M begins at a fixed amount ($monetary_high_amount) or at a quantile of the week's customers.
with

weeks as (

    select
        t.week,
        count(r.customer_id) as customers,
        quantile_cont(
            cast(r.monetary as decimal(38, 10)),
            -- without a quantile any number will do: its limit is not used
            coalesce(cast($monetary_high_quantile as double), 0)
        ) as limit_m,
        -- the place of the quantile among the customers, counted from 0
        cast($monetary_high_quantile as decimal(9, 8)) * (count(r.customer_id) - 1) as place,
    from target_weeks t
    left join customer_rfm r on r.week = t.week
    group by t.week

)

select
    week,
    customers,
    cast($frequency_high as integer) as frequency_high,
    case
        when $monetary_high_amount is not null then cast($monetary_high_amount as decimal(38, 10))
        -- interpolated in floating point: rounding takes the noise away, and where the place is a customer's,
        -- the limit is exactly that customer's M, so that they are on the right side of it
        when place = floor(place) then round(limit_m, 4)
        else round(limit_m, 8)
    end as monetary_high,
    case
        when $monetary_high_amount is null then cast($monetary_high_quantile as double)
    end as monetary_high_quantile,
    cast($dormant_after_days as integer) as dormant_after_days,
    cast($lapsing_after_days as integer) as lapsing_after_days,
from weeks
