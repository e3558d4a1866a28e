-- order_contacts: one row is a customer whose orders name a phone number, an e-mail address or a name.
-- Of each, the newest one that is given. Texts as the platform gives them; recall reads them its own way.
select
    customer_id,
    arg_max(phone, ordered_at) filter (phone is not null) as phone,
    arg_max(email, ordered_at) filter (email is not null) as email,
    arg_max(name, ordered_at) filter (name is not null) as name,
    arg_max(accepts_marketing, ordered_at) filter (accepts_marketing is not null) as accepts_marketing,
from raw_orders
where customer_id in (select customer_id from touched_customers)
    and (phone is not null or email is not null or name is not null)
group by customer_id
