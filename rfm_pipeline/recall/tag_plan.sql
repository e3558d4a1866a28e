-- tag_plan: one row is a tag to add or to remove this week: what should be, minus what is.
-- Added: the recall arm of the week's list, and what an earlier list asked for that isn't known to be on while
-- its recall is still open. Removed: a tag that is on since an earlier list, when the customer bought again, may
-- no longer be reached in WeCom, or the campaign is over. The hold-out gets none.
with

listed as (

    select l.week, l.customer_id, g.tag, 'add' as action, l.churn_class, 'listed' as reason
    from recall_list l
    join class_tags g on g.churn_class = l.churn_class
    where l.week in (select week from target_weeks)
        and l.arm = 'recall'
        and not exists (select 1 from no_wecom n where n.customer_id = l.customer_id)

),

earlier_tags as (

    -- the tags that may be on, and those that never got there, with the silence they were given in
    select t.week, t.as_of, true as is_on, d.customer_id, d.tag, d.churn_class, d.silent_since, d.listed_week
    from target_weeks t
    join tags_done d on d.listed_week < t.week
    union all
    select t.week, t.as_of, false as is_on, u.customer_id, u.tag, u.churn_class, u.silent_since, u.listed_week
    from target_weeks t
    join tags_undone u on u.listed_week < t.week

),

judged as (

    select
        e.*,
        case
            when r.last_order_at > e.silent_since then 'returned'
            when n.customer_id is not null then 'suppressed'
            when e.as_of >= e.listed_week + 7 + cast($campaign_days as integer) then 'campaign over'
        end as reason,
    from earlier_tags e
    left join customer_rfm r on r.week = e.week and r.customer_id = e.customer_id
    left join no_wecom n on n.customer_id = e.customer_id

),

to_add as (

    select week, customer_id, tag, action, churn_class, reason
    from listed
    union all
    -- a customer of a newer list gets that list's tag
    select j.week, j.customer_id, j.tag, 'add' as action, j.churn_class, 'not done yet' as reason
    from judged j
    where not j.is_on
        and j.reason is null
        and not exists (select 1 from listed l where l.week = j.week and l.customer_id = j.customer_id)

)

-- a tag that is still on from an earlier silence is added again: it is this list's from now on
select week, customer_id, tag, action, churn_class, reason
from to_add
union all
select j.week, j.customer_id, j.tag, 'remove' as action, j.churn_class, j.reason
from judged j
where j.is_on
    and j.reason is not null
    and not exists (
        select 1 from to_add a
        where a.week = j.week and a.customer_id = j.customer_id and a.tag = j.tag
    )
