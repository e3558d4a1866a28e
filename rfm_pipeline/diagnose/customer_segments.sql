-- customer_segments: one row is a customer at a week, in exactly one of seven segments.
-- Beside it rfm_class: the eight classes Chinese retailers know, from high M, recent and high F.
with

judged as (

    select
        r.*,
        r.frequency >= s.frequency_high as high_f,
        case
            -- many customers share the threshold's amount: high is what lies above it
            when s.monetary_high_is_exclusive then r.monetary > s.monetary_high
            else r.monetary >= s.monetary_high
        end as high_m,
        r.recency_days >= s.dormant_after_days as is_dormant,
        r.recency_days >= s.lapsing_after_days as is_lapsing,
        -- the last thing that happened was a purchase, not a refund
        r.last_return_at is null or r.last_return_at < r.last_order_at as left_in_silence,
    from customer_rfm r
    join segment_thresholds s on s.week = r.week
    where r.week in (select week from target_weeks)

)

select
    week,
    customer_id,
    case
        when high_f and high_m then 'champion'
        when high_m then 'rising_vip'
        when high_f and is_lapsing then 'lapsing_regular'
        when high_f then 'active_regular'
        when is_dormant and left_in_silence then 'silent_churner'
        when is_dormant then 'vocal_churner'
        else 'developing'
    end as segment,
    case when high_m then '重要' else '一般' end
    || case
        when not is_dormant and high_f then '价值'
        when not is_dormant then '发展'
        when high_f then '保持'
        else '挽留'
    end as rfm_class,
    recency_days,
    frequency,
    monetary,
    last_order_at,
from judged
