-- silences: one row is a kind of silence and how many there were: the day of the order it began with, the days
-- until the next order (null while there is none), and the paid orders its customer had placed by then.
-- Orders within one week are one visit: no silence that matters is shorter.
with

visits as (

    select
        customer_id,
        sum(orders) over so_far as orders,
        cast(last_order_at as date) as began_on,
        cast(lead(first_order_at) over so_far as date) as ended_on,
    from customer_activity
    where orders > 0
    window so_far as (partition by customer_id order by week)

)

select
    case when orders >= 3 then '3+' else cast(orders as varchar) end as order_band,
    orders < cast($frequency_high as integer) as is_low_f,
    began_on,
    date_diff('day', began_on, ended_on) as days,
    count(*) as silences,
from visits
where began_on < (select max(as_of) from target_weeks)
group by all
