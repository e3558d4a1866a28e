-- current_rows: one row is a row of an export that counts today, of a touched order.
-- Of every order, the rows of the latest batch that holds it; an order list and a line file of one platform each
-- have their own latest batch. A batch that holds an order as unpaid or cancelled leaves nothing of it.
with

held as (

    select order_id, row_kind, batch_id
    from raw_orders
    where order_id in (select order_id from touched_orders)
    union all
    select order_id, row_kind, batch_id
    from unpaid_orders
    where order_id in (select order_id from touched_orders)

),

latest as (

    -- of an order that one batch holds as paid and as unpaid, the paid rows stand
    select order_id, row_kind, max(batch_id) as batch_id
    from held
    group by order_id, row_kind

)

select r.*
from raw_orders r
join latest l
    on l.order_id = r.order_id
    and l.row_kind = r.row_kind
    and l.batch_id = r.batch_id
