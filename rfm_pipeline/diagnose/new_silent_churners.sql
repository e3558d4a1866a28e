-- new_silent_churners: one row is a silent churner who was none the week before.
-- In the first week of the grid all are new, and marked as the backlog.
select
    s.week,
    s.customer_id,
    s.churn_class,
    s.favourite_sku,
    s.favourite_product,
    s.silent_since,
    s.recency_days,
    s.frequency,
    s.monetary,
    s.week = cast($first_week as date) as is_backlog,
from silent_churners s
left join silent_churners y
    on y.customer_id = s.customer_id and y.week = s.week - 7 and s.week <> cast($first_week as date)
where s.week in (select week from target_weeks) and y.customer_id is null
