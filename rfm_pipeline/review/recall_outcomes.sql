-- recall_outcomes: one row is a class and arm of a campaign week, as far as it can be told at a week.
-- Counted by assignment: in the arm they were drawn into, reached or not.
with

assigned as (

    select
        t.week,
        t.as_of,
        a.week as campaign_week,
        a.customer_id,
        a.churn_class,
        a.arm,
        r.customer_id is not null as is_reached,
    from target_weeks t
    join assignments a on a.week <= t.week
    left join reached r on r.week = a.week and r.customer_id = a.customer_id

)

select
    a.week,
    a.campaign_week,
    a.churn_class,
    a.arm,
    count(*) as assigned,
    count(*) filter (a.is_reached) as reached,
    count(n.customer_id) as returned,
    count(n.customer_id) / count(*) as response_rate,
    coalesce(sum(n.orders), 0) as orders,
    coalesce(sum(n.net_sales), 0) as net_sales,
    -- added up exactly: floating point would depend on the order
    coalesce(
        cast(sum(cast(n.net_sales as decimal(18, 4)) * cast(n.net_sales as decimal(18, 4))) as double), 0
    ) as net_sales_squares,
    a.as_of >= a.campaign_week + 7 + cast($response_days as integer) as is_final,
from assigned a
left join recall_answers n
    on n.week = a.week and n.campaign_week = a.campaign_week and n.customer_id = a.customer_id
group by a.week, a.as_of, a.campaign_week, a.churn_class, a.arm
