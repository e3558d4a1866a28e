-- recall_list: one row is a customer on the week's list, before the words are written.
-- From those who fell silent in this or an earlier week, are still silent, and were never listed in this
-- silence, minus the suppressed, the highest in priority up to the weekly capacity. Per class, the first
-- customers in the order of a hash are the hold-out.
with

contacts as (

    -- a sealed list is a contact; what the team wrote down of it may be a later one
    select customer_id, week, week + 7 as contacted_on
    from listed
    where arm = 'recall'
    union all
    select customer_id, week, cast(reached_at as date) as contacted_on
    from outreach_log
    where outcome <> 'not_reached' and reached_at is not null

),

queue as (

    select s.*
    from silent_churners s
    where s.week in (select week from target_weeks)
        and exists (
            select 1 from new_silent_churners n
            where n.customer_id = s.customer_id and n.silent_since = s.silent_since and n.week <= s.week
        )
        and not exists (
            select 1 from listed l
            where l.customer_id = s.customer_id and l.silent_since = s.silent_since and l.week <> s.week
        )

),

contactable as (

    select q.*, t.as_of
    from queue q
    join target_weeks t on t.week = q.week
    where not exists (select 1 from unreachable u where u.customer_id = q.customer_id)
        -- where the shop gave no contacts, nobody's address can be asked for
        and (
            not $contacts_known
            or exists (select 1 from reachable r where r.customer_id = q.customer_id)
        )
        and not exists (
            select 1 from contacts c
            where c.customer_id = q.customer_id
                and c.week <> q.week
                and c.contacted_on >= t.as_of - cast($cooldown_days as integer)
        )

),

ranked as (

    select
        *,
        row_number() over (
            partition by week
            order by monetary desc, recency_days, customer_id
        ) as priority,
    from contactable

),

drawn as (

    select
        *,
        row_number() over (
            partition by week, churn_class
            order by md5(concat_ws('|', $shop, customer_id, cast(week as varchar))), customer_id
        ) as draw,
        count(*) over (partition by week, churn_class) as class_size,
    from ranked
    where priority <= $weekly_capacity

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
