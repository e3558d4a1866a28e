-- recall_queue: one row is a customer who may be on a week's list, to be ranked.
-- Who fell silent in this or an earlier week, is still silent, and was never listed in this silence, minus the
-- suppressed. All the silent of a large shop may be in it, so it holds no more than what ranks them.
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

    select s.week, s.customer_id, s.monetary, s.recency_days
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

)

select q.week, q.customer_id, q.monetary, q.recency_days
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
