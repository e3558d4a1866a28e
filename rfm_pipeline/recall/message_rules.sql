-- message_rules: one row is something that is wrong with a text of the week's list, or worth a look.
-- The rules are those of promotional messages in China (recall.message_rules); a placeholder left over is wrong
-- anywhere. Severity 'error' keeps the list from being sent, 'look' is for a human.
with

texts as (

    select
        week, customer_id, churn_class, favourite_product, sms, email_subject, email_body, wecom_text
    from recall_list
    where week in (select week from target_weeks) and arm = 'recall'

),

channels as (

    select week, customer_id, churn_class, 'sms' as channel, sms as words from texts
    union all
    select week, customer_id, churn_class, 'email_subject', email_subject from texts
    union all
    select week, customer_id, churn_class, 'email_body', email_body from texts
    union all
    select week, customer_id, churn_class, 'wecom', wecom_text from texts

),

judged as (

    select
        week, customer_id, churn_class, channel,
        unnest([
            -- the signature opens the message, and its brackets stand nowhere else
            {
                'rule': 'signature', 'severity': 'error',
                'is_broken': channel = 'sms' and (
                    not regexp_matches(words, '^【[^【】]{2,16}】')
                    or length(regexp_replace(words, '[^【】]', '', 'g')) <> 2
                )
            },
            {
                'rule': 'opt_out_ending', 'severity': 'error',
                'is_broken': channel = 'sms' and not suffix(words, '拒收请回复R')
            },
            {'rule': 'too_long', 'severity': 'error', 'is_broken': channel = 'sms' and length(words) > 500},
            {
                'rule': 'forbidden_sign', 'severity': 'error',
                'is_broken': channel = 'sms' and regexp_matches(words, '[¥￥★※]')
            },
            {
                'rule': 'short_link', 'severity': 'error',
                'is_broken': channel = 'sms' and regexp_matches(
                    lower(words),
                    '(^|[^a-z0-9.-])(t\.cn|url\.cn|dwz\.cn|suo\.im|suo\.nz|mrw\.so|bit\.ly|tinyurl\.com|goo\.gl|is\.gd|t\.co)/'
                )
            },
            {
                'rule': 'no_way_to_refuse', 'severity': 'error',
                'is_broken': channel = 'email_body' and not regexp_matches(lower(words), '退订|拒收|unsubscribe')
            },
            -- some carriers' gateways refuse such words whatever the rules say: ask before promising delivery
            {
                'rule': 'wording_gateways_refuse', 'severity': 'look',
                'is_broken': channel = 'sms' and regexp_matches(
                    words, '召回|券|红包|折扣|折上|[0-9]折|特惠|优惠|专享|好久不见|许久未见|回访|回家看看'
                )
            },
            {
                'rule': 'several_segments', 'severity': 'look',
                'is_broken': channel = 'sms' and length(words) > 70
            },
            {
                'rule': 'product_unnamed', 'severity': 'look',
                'is_broken': churn_class = 'A' and contains(words, $unnamed_product)
            }
        ], recursive := true)
    from channels
    where words is not null and $message_rules = 'china'

)

select week, customer_id, churn_class, channel, rule, severity
from judged
where is_broken
union all
select week, customer_id, churn_class, channel, 'placeholder_left' as rule, 'error' as severity
from channels
where regexp_matches(words, '\{\{|\}\}|\{%|%\}|\$\{|#\{')
