-- recall_list: one row is a customer on the week's list, before the words are written.
-- Of those in recall_queue the highest in priority up to the weekly capacity. Per class, the first customers in
-- the order of a hash are the hold-out.
with

ranked as (

    select
        week,
        customer_id,
        row_number() over (
            partition by week
            order by monetary desc, recency_days, customer_id
        ) as priority,
    from recall_queue

),

drawn as (

    select
        s.*,
        r.priority,
        row_number() over (
            partition by s.week, s.churn_class
            order by md5(concat_ws('|', $shop, s.customer_id, cast(s.week as varchar))), s.customer_id
        ) as draw,
        count(*) over (partition by s.week, s.churn_class) as class_size,
    from ranked r
    join silent_churners s on s.week = r.week and s.customer_id = r.customer_id
    where r.priority <= $weekly_capacity

)

select
    week,
    customer_id,
    silent_since,
    churn_class,
    case
        when draw <= round(class_size * cast($holdout_share as decimal(9, 8))) then 'holdout'
        else 'recall'
    end as arm,
    priority,
    favourite_sku,
    favourite_product,
    recency_days,
    frequency,
    monetary,
    -- the same for the same customer and campaign, whatever is re-run
    concat(
        churn_class,
        upper(substr(md5(concat_ws('|', $shop, 'coupon', customer_id, cast(week as varchar))), 1, 12))
    ) as coupon_code,
from drawn
