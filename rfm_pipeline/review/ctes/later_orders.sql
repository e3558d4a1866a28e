-- the paid orders and the linked refunds among later_lines
orders as (

    select order_id, customer_id, order_at, sum(amount) as amount
    from later_lines
    where line_type = 'sale'
    group by order_id, customer_id, order_at
    having sum(amount) > 0

),

refunds as (

    select order_id, customer_id, refund_at, sum(refunded_amount) as amount
    from later_lines
    where line_type = 'sale' and refund_at is not null
    group by order_id, customer_id, refund_at

),
