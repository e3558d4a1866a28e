-- set_back_orders: one row is an order of which a later export says less than an earlier one did: a refund that is
-- gone or smaller, or a payment that is gone. Mostly the later file is an older export that was dropped in again.
with

held_before as (

    -- by another export of this run, or by the truth so far
    select order_id from touched_orders group by order_id having count(*) > 1
    union
    select order_id from order_lines where order_id in (select order_id from touched_orders)

),

kept as (

    select
        r.order_id,
        r.row_kind,
        r.batch_id,
        true as is_paid,
        sum(r.refunded_amount) as own_refunds,
        max(r.order_refunded) as order_refunds,
    from raw_orders r
    where r.order_id in (select order_id from held_before)
    group by r.order_id, r.row_kind, r.batch_id

),

states as (

    select order_id, row_kind, batch_id, is_paid, greatest(own_refunds, coalesce(order_refunds, 0)) as refunded
    from kept
    union all
    select u.order_id, u.row_kind, u.batch_id, false, 0
    from unpaid_orders u
    where u.order_id in (select order_id from held_before)
        and not exists (
            select 1 from kept k
            where k.order_id = u.order_id and k.row_kind = u.row_kind and k.batch_id = u.batch_id
        )

),

compared as (

    select
        *,
        bool_or(is_paid) over earlier as was_paid,
        max(refunded) over earlier as refunded_before,
        row_number() over (partition by order_id, row_kind order by batch_id desc) as place,
    from states
    window earlier as (
        partition by order_id, row_kind order by batch_id
        rows between unbounded preceding and 1 preceding
    )

)

select
    c.order_id,
    c.batch_id,
    b.file_name,
    case when c.is_paid then 'refund taken back' else 'payment taken back' end as change,
    cast(c.refunded_before as decimal(18, 4)) as refunded_before,
    cast(c.refunded as decimal(18, 4)) as refunded_now,
from compared c
join order_batches b on b.batch_id = c.batch_id
where c.place = 1
    and case when c.is_paid then c.refunded < c.refunded_before else c.was_paid end
