-- segment_thresholds: one row is a week, with the thresholds in force when it was diagnosed.
-- High M begins at a fixed amount ($monetary_high_amount) or at a quantile of the week's customers.
select
    t.week,
    count(r.customer_id) as customers,
    cast($frequency_high as integer) as frequency_high,
    coalesce(
        cast($monetary_high_amount as decimal(38, 10)),
        quantile_cont(cast(r.monetary as decimal(38, 10)), cast($monetary_high_quantile as double))
    ) as monetary_high,
    case
        when $monetary_high_amount is null then cast($monetary_high_quantile as double)
    end as monetary_high_quantile,
    cast($dormant_after_days as integer) as dormant_after_days,
    cast($lapsing_after_days as integer) as lapsing_after_days,
from target_weeks t
left join customer_rfm r on r.week = t.week
group by t.week
