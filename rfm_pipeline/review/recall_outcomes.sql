-- recall_outcomes: one row is a class and arm of a campaign week, as far as it is known at a week.
-- Counted by assignment: in the arm they were drawn into, reached or not. Reached is who the team's log says was
-- reached, or refused to be; of whom the log says nothing, who was tagged. A contact after the first Monday
-- on which the window has closed changes nothing any more.
with

logged as (

    select
        t.week,
        o.week as campaign_week,
        o.customer_id,
        bool_or(o.outcome <> 'not_reached') as is_reached,
    from target_weeks t
    join outreach_log o on o.week <= t.week
    where o.reached_at is null
        or o.reached_at < cast(least(
            t.as_of,
            o.week + 7 + cast(ceil(cast($response_days as integer) / 7) as integer) * 7
        ) as timestamp)
    group by t.week, o.week, o.customer_id

),

assigned as (

    select
        t.week,
        t.as_of,
        a.week as campaign_week,
        a.customer_id,
        a.churn_class,
        a.arm,
        -- a hold-out that was tagged is contaminated, whatever the log says
        coalesce(l.is_reached, g.customer_id is not null)
            or (a.arm = 'holdout' and g.customer_id is not null) as is_reached,
    from target_weeks t
    join assignments a on a.week <= t.week
    left join logged l
        on l.week = t.week and l.campaign_week = a.week and l.customer_id = a.customer_id
    left join tagged g on g.week = a.week and g.customer_id = a.customer_id

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
