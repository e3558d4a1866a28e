-- assembled_lines: one row is a line of an order, made from the rows of a platform's order list, its line file, or both.
-- Buyer, time, amount and refund that the platform gives for the whole order come to its lines: the amount in
-- proportion to price times quantity, the refund in proportion to what was paid, to the cent and without a rest.
-- An order that only its list holds becomes one line a title.
with

order_rows as (

    -- an order stands once in a list; of rows that repeat it, the last
    select *
    from current_rows
    where row_kind = 'order'
    qualify row_number() over (partition by order_id order by row_no desc) = 1

),

line_rows as (

    select * from current_rows where row_kind = 'line'

),

-- what the line file itself says of the order as a whole, on its first row or on each
totals as (

    select
        order_id,
        coalesce(
            arg_min(order_amount, row_no) filter (order_amount is not null and line_type = 'sale'),
            arg_min(order_amount, row_no) filter (order_amount is not null)
        ) as paid,
        bool_and(line_type = 'return') as is_return,
        case
            -- an order's refund of 0 beside a line's own: the lines say it all
            when bool_or(refunded_amount > 0 and order_refunded = 0) then 0
            else arg_min(order_refunded, row_no) filter (order_refunded is not null)
        end as refunded,
    from line_rows
    group by order_id

),

titles as (

    -- cut at the separator that gives as many titles as the list counts; otherwise the text is one title
    select
        r.*,
        coalesce(
            list_filter(
                list_transform($separators, lambda separator: string_split(r.product_name, separator)),
                lambda parts: len(parts) = r.kinds or r.kinds is null
            )[1],
            [r.product_name]
        ) as names,
    from order_rows r
    where r.order_id not in (select order_id from line_rows)

),

pieces as (

    select
        * exclude (names, product_name),
        len(names) as parts,
        trim(unnest(names)) as product_name,
        unnest(range(1, len(names) + 1)) as part,
    from titles

),

listed_lines as (

    select
        p.* exclude (parts, part, quantity, sku, unit_price, line_no, amount, refunded_amount),
        part,
        case when parts = 1 then line_no else part end as line_no,
        coalesce(case when parts = 1 then sku end, product_name) as sku,
        -- whole pieces, the rest to the first titles, at least one each
        case
            when parts = 1 then quantity
            else greatest(
                cast(quantity as bigint) // parts + case when part <= cast(quantity as bigint) % parts then 1 else 0 end,
                1
            )
        end as quantity,
        case
            when parts = 1 then unit_price
            else cast(round(cast(amount as double) / greatest(cast(quantity as double), parts), 4) as decimal(18, 4))
        end as unit_price,
        case
            when parts = 1 then 1
            else greatest(
                cast(quantity as bigint) // parts + case when part <= cast(quantity as bigint) % parts then 1 else 0 end,
                1
            )
        end as amount,
        0 as refunded_amount,
        true as is_shared,
        amount as order_paid,
        refunded_amount as order_back,
    from pieces p

),

filed_lines as (

    select
        r.* exclude (customer_id, ordered_at, refunded_at),
        -- a row may pack several lines
        r.line_no as part,
        coalesce(r.customer_id, o.customer_id) as customer_id,
        coalesce(r.ordered_at, o.ordered_at) as ordered_at,
        coalesce(r.refunded_at, o.refunded_at) as refunded_at,
        -- a line that says itself what was paid for it needs no share
        r.is_reckoned and case
            when r.line_type = 'sale' then coalesce(o.amount, t.paid) is not null
            -- an order of returns alone has a total of its own
            else t.is_return and t.paid is not null
        end as is_shared,
        coalesce(o.amount, t.paid) as order_paid,
        coalesce(o.refunded_amount, t.refunded) as order_back,
    from line_rows r
    join totals t on t.order_id = r.order_id
    left join order_rows o on o.order_id = r.order_id

),

-- a line whose order list has not arrived yet has no time, and waits
lines as (

    select * from filed_lines where ordered_at is not null
    union all by name
    select * from listed_lines

),

weighed as (

    select
        *,
        order_paid - coalesce(sum(amount) filter (line_type = 'sale' and not is_shared) over whole, 0) as left_to_share,
        case when sum(amount) over shared = 0 then 1 else amount end as weight,
        sum(amount) over shared = 0 as has_no_weights,
    from lines
    window
        whole as (partition by order_id),
        shared as (partition by order_id, is_shared)

),

cumulated as (

    select
        *,
        greatest(left_to_share, 0) as paid,
        sum(weight) over shared as weights,
        sum(weight) over so_far as weights_so_far,
    from weighed
    window
        shared as (partition by order_id, is_shared),
        so_far as (
            partition by order_id, is_shared order by batch_id, row_no, part
            rows between unbounded preceding and current row
        )

),

paid_so_far as (

    select
        *,
        case
            when weights_so_far = weights then paid
            else round(cast(paid as double) * cast(weights_so_far as double) / cast(weights as double), 2)
        end as shared_so_far,
    from cumulated

),

paid_lines as (

    select
        * exclude (amount),
        cast(
            case
                -- a gift card is paid for when its owner buys with it
                when is_no_sale then 0
                when is_shared then cast(shared_so_far as decimal(18, 4))
                    - coalesce(lag(cast(shared_so_far as decimal(18, 4))) over in_order, 0)
                else amount
            end as decimal(18, 4)
        ) as amount,
        -- a line given back in full stays so, whatever its share turns out to be
        refunded_amount > 0 and refunded_amount >= amount as is_given_back,
    from paid_so_far
    window in_order as (partition by order_id, is_shared order by batch_id, row_no, part)

),

given_back as (

    select
        *,
        case when is_given_back then amount else refunded_amount end as own_back,
        case when line_type = 'sale' then amount else 0 end as sold,
    from paid_lines

),

backs as (

    select
        *,
        sum(own_back) over whole as own_backs,
        sum(sold) over whole as sold_in_all,
        sum(sold) over so_far as sold_so_far,
        -- postage that is given back is no line's; least() alone would take an unknown refund for all of it
        case when order_back is not null then least(order_back, sum(sold) over whole) end as back,
    from given_back
    window
        whole as (partition by order_id),
        so_far as (
            partition by order_id order by batch_id, row_no, part rows between unbounded preceding and current row
        )

),

back_so_far as (

    select
        *,
        cast(
            case
                when sold_so_far = sold_in_all then back
                else round(cast(back as double) * cast(sold_so_far as double) / cast(sold_in_all as double), 2)
            end as decimal(18, 4)
        ) as shared_back,
    from backs

)

select
    order_id,
    line_no,
    customer_id,
    ordered_at,
    line_type,
    sku,
    product_name,
    cast(quantity as decimal(18, 3)) as quantity,
    unit_price,
    list_price,
    amount,
    cast(
        case
            -- what is known of the order's refund beyond that of its lines
            when back > own_backs then shared_back - coalesce(lag(shared_back) over in_order, 0)
            else own_back
        end as decimal(18, 4)
    ) as refunded_amount,
    refunded_at,
    is_clearance,
    batch_id,
    row_no,
from back_so_far
window in_order as (partition by order_id order by batch_id, row_no, part)
