-- silent_churners: one row is a silent churner at a week, with the class that decides the offer.
-- A silent customer's purchases end with the order the silence began with, so they are gathered once for
-- each silence (customer, silent_since) and only compared with each week's bestsellers and low price.
with

silent as (

    select week, customer_id, last_order_at as silent_since, recency_days, frequency, monetary
    from customer_segments
    where segment = 'silent_churner' and week in (select week from target_weeks)

),

silences as (

    select distinct customer_id, silent_since from silent

),

bought as (

    select
        s.customer_id,
        s.silent_since,
        o.sku,
        o.product_name,
        o.order_at,
        o.amount,
        o.unit_price,
        coalesce(o.is_clearance, false)
            or coalesce(o.unit_price <= $clearance_share * o.list_price, false) as is_clearance,
    from silences s
    join order_lines o on o.customer_id = s.customer_id and o.order_at <= s.silent_since
    where o.is_product

),

skus as (

    select
        customer_id,
        silent_since,
        sku,
        sum(amount) as spent,
        max(order_at) as bought_at,
        -- the latest name; of two at the same time, one and the same every time
        max_by(product_name, concat(order_at, product_name)) as product_name,
        max(unit_price) filter (not is_clearance) as dearest_full_price,
    from bought
    group by customer_id, silent_since, sku

),

favourites as (

    select
        customer_id,
        silent_since,
        sku,
        product_name,
        -- null if all was clearance: then it is no matter which price is low
        max(dearest_full_price) over (partition by customer_id, silent_since) as dearest_full_price,
        row_number() over (
            partition by customer_id, silent_since
            order by spent desc, bought_at desc, sku
        ) as position,
    from skus

),

favourite_bestsellers as (

    select
        s.week,
        s.customer_id,
        k.sku,
        k.product_name,
        row_number() over (
            partition by s.week, s.customer_id
            order by k.spent desc, k.bought_at desc, k.sku
        ) as position,
    from silent s
    join skus k on k.customer_id = s.customer_id and k.silent_since = s.silent_since
    join bestsellers b on b.week = s.week and b.sku = k.sku

)

select
    s.week,
    s.customer_id,
    case
        when b.sku is not null then 'A'
        when f.sku is not null and f.dearest_full_price is null then 'B'
        when f.dearest_full_price <= p.low_price then 'B'
        else 'C'
    end as churn_class,
    coalesce(b.sku, f.sku) as favourite_sku,
    case when b.sku is not null then b.product_name else f.product_name end as favourite_product,
    s.silent_since,
    s.recency_days,
    s.frequency,
    s.monetary,
from silent s
left join favourites f
    on f.customer_id = s.customer_id and f.silent_since = s.silent_since and f.position = 1
left join favourite_bestsellers b
    on b.week = s.week and b.customer_id = s.customer_id and b.position = 1
left join low_prices p on p.week = s.week
