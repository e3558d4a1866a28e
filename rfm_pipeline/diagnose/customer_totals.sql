-- customer_totals: one row is a customer at a week of the past: all their activity up to it, added up.
-- A later week's RFM begins with it and adds only what happened since. A customer who has returned and not yet
-- bought is here, too: the RFM leaves them out for now.
select
    t.week,
    a.customer_id,
    sum(a.orders - a.refunded_orders) as frequency,
    sum(a.sales - a.refunds) as monetary,
    min(a.first_order_at) as first_order_at,
    max(a.last_order_at) as last_order_at,
    max(a.last_return_at) as last_return_at,
from customer_activity a
join target_weeks t on a.week <= t.week
group by t.week, a.customer_id
order by a.customer_id
