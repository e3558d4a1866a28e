-- tag_plan: one row is a tag to add or to remove this week: what should be, minus what is.
-- Added: the recall arm of the week's list. Removed: a tag that is on since an earlier list, when the
-- customer bought again, may no longer be reached in WeCom, or the campaign is over. The hold-out gets none.
with

to_add as (

    select l.week, l.customer_id, g.tag, 'add' as action, l.churn_class, 'listed' as reason
    from recall_list l
    join class_tags g on g.churn_class = l.churn_class
    where l.week in (select week from target_weeks)
        and l.arm = 'recall'
        and not exists (select 1 from no_wecom n where n.customer_id = l.customer_id)

),

tags_on as (

    -- the tags that are on, with the silence they were given in
    select t.week, t.as_of, d.customer_id, d.tag, d.churn_class, d.silent_since, d.listed_week
    from target_weeks t
    join tags_done d on d.listed_week < t.week

),

judged as (

    select
        d.*,
        case
            when r.last_order_at > d.silent_since then 'returned'
            when n.customer_id is not null then 'suppressed'
            when d.as_of >= d.listed_week + 7 + cast($campaign_days as integer) then 'campaign over'
        end as reason,
    from tags_on d
    left join customer_rfm r on r.week = d.week and r.customer_id = d.customer_id
    left join no_wecom n on n.customer_id = d.customer_id

)

-- a tag that is still on from an earlier silence is added again: it is this list's from now on
select week, customer_id, tag, action, churn_class, reason
from to_add
union all
select j.week, j.customer_id, j.tag, 'remove' as action, j.churn_class, j.reason
from judged j
where j.reason is not null
    and not exists (
        select 1 from to_add a
        where a.week = j.week and a.customer_id = j.customer_id and a.tag = j.tag
    )
