-- repeat_spending: one row is a customer who bought again, with the mean size of the purchases after the first.
-- A purchase is a week with a paid order, as in purchase_histories. Of many customers the first $sample in the
-- order of a hash: enough to learn how spending is spread, and the same every time.
with

customers as (

    select
        t.week,
        a.customer_id,
        count(*) - 1 as x,
        cast(sum(a.sales) - min_by(a.sales, a.week) as double) / nullif(count(*) - 1, 0) as mean_sales,
    from target_weeks t
    join customer_activity a on a.week <= t.week
    where a.orders > 0
    group by t.week, a.customer_id
    having count(*) > 1

)

select week, x, mean_sales
from customers
qualify row_number() over (partition by week order by md5(customer_id), customer_id) <= $sample
order by week, x, mean_sales
