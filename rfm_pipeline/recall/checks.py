"""What must hold for the recall stage's tables."""

from collections.abc import Sequence

from rfm_pipeline.contacts.schemas import FINDINGS, OUTREACH_FINDINGS, OUTREACH_LOG
from rfm_pipeline.ledger import FORGOTTEN
from rfm_pipeline.recall.schemas import CUSTOMER_TAGS, RECALL_LIST, TAG_PLAN
from rfm_pipeline.warehouse.checks import MINE, TableCheck, unique_key
from rfm_pipeline.warehouse.sql import read_sql

# a forgotten customer's row stays for the counts, without anything that could be sent
NOT_FORGOTTEN = f"not starts_with(customer_id, '{FORGOTTEN}')"

_RULES = (
    "signature",
    "opt_out_ending",
    "too_long",
    "forbidden_sign",
    "short_link",
    "no_way_to_refuse",
    "placeholder_left",
    "wording_gateways_refuse",
    "several_segments",
    "product_unnamed",
)

OUTREACH_LOG_CHECKS = [
    unique_key(OUTREACH_LOG),
    TableCheck(
        table=OUTREACH_LOG.name,
        name="holdout_is_left_alone",
        description="No outcome file names a contact with a hold-out customer, but for as many as were "
        "looked into (recall.holdout_contacts_known). The rows are in out/outreach/to_look_at.csv.",
        sql=f"""
            select
                greatest(count(distinct (week, customer_id)) - $holdout_contacts_known, 0)
                    as new_holdout_contacts,
                count(distinct (week, customer_id)) as holdout_contacts
            from {OUTREACH_FINDINGS.name} where reason = 'holdout'
        """,
    ),
    TableCheck(
        table=OUTREACH_LOG.name,
        name="every_row_is_taken",
        description="Every filled-in row of every outcome file is in the log. Those that aren't are in "
        "out/outreach/to_look_at.csv, with what was expected.",
        sql=f"""
            select
                count(*) as to_look_at,
                {", ".join(f"count(*) filter (reason = '{name}') as {name}" for name in FINDINGS)}
            from (select distinct source_file, sheet, row_no, reason from {OUTREACH_FINDINGS.name})
        """,
        # a bad row stops nothing; what may be an unread refusal stops the recall where contacts are read
        blocking=False,
    ),
]

RECALL_LIST_CHECKS = [
    unique_key(RECALL_LIST),
    TableCheck(
        table=RECALL_LIST.name,
        name="all_silent",
        description="Everybody on the list was a silent churner of the week.",
        sql=f"""
            select count(*) as customers_not_silent
            from recall_list l
            where {MINE} and {NOT_FORGOTTEN} and not exists (
                select 1 from silent_churners s where s.week = l.week and s.customer_id = l.customer_id
            )
        """,
        # a sealed list is not computed again when orders are corrected later
        blocking=False,
    ),
    TableCheck(
        table=RECALL_LIST.name,
        name="coupons_are_unique",
        description="Every contacted customer has a coupon code of their own.",
        sql=f"""
            select
                count(*) filter (arm = 'recall') - count(distinct coupon_code) filter (arm = 'recall')
                    as missing_or_doubled_codes
            from recall_list where {MINE} and {NOT_FORGOTTEN}
        """,
    ),
    TableCheck(
        table=RECALL_LIST.name,
        name="holdout_share",
        description="The hold-out of each class has the size that recall.holdout_share asks for.",
        sql=f"""
            select
                coalesce(max(abs(holdout - round(listed * $holdout_share::decimal(9, 8)))), 0)::double
                    as greatest_deviation,
                coalesce(sum(holdout), 0)::bigint as holdout,
                coalesce(sum(listed), 0)::bigint as listed
            from (
                select week, churn_class, count(*) as listed,
                    count(*) filter (arm = 'holdout') as holdout
                from recall_list where {MINE} group by week, churn_class
            )
        """,
        # the share may have been another when a sealed list was drawn
        blocking=False,
    ),
    TableCheck(
        table=RECALL_LIST.name,
        name="words_are_whole",
        description="No text is empty or has a placeholder left in it.",
        sql=f"""
            select count(*) as broken_texts
            from (
                select unnest([sms, email_subject, email_body, wecom_text]) as words
                from recall_list where {MINE}
            )
            where trim(words) = '' or contains(words, '{{{{') or contains(words, '}}}}')
        """,
    ),
    TableCheck(
        table=RECALL_LIST.name,
        name="words_may_be_sent",
        description="The texts keep the rules for promotional messages (recall.message_rules): signature, "
        "opt-out, length, signs, links, a way to refuse. Says beside it how many speak of recall or coupons, "
        "which some carriers' gateways refuse: delivery of those can't be promised.",
        sql=f"""
            select
                count(*) filter (severity = 'error') as broken_rules,
                {", ".join(f"count(*) filter (rule = '{rule}') as {rule}" for rule in _RULES)}
            from ({read_sql("rfm_pipeline.recall", "message_rules")})
        """,
    ),
]

TAG_PLAN_CHECKS = [
    unique_key(TAG_PLAN),
    TableCheck(
        table=TAG_PLAN.name,
        name="holdout_is_left_alone",
        description="No tag is added to a customer of the week's hold-out.",
        sql=f"""
            select count(*) as holdout_customers
            from tag_plan p
            join recall_list l on l.week = p.week and l.customer_id = p.customer_id
            where p.{MINE} and p.action = 'add' and l.arm = 'holdout'
        """,
    ),
]

CUSTOMER_TAGS_CHECKS = [
    unique_key(CUSTOMER_TAGS),
    TableCheck(
        table=CUSTOMER_TAGS.name,
        name="nothing_left_open",
        description="Every tag change of a sealed week is done, or can't be: who is no WeCom contact gets no "
        "tag. What is open is done by the next run.",
        sql=f"""
            select
                count(*) filter (status in ('pending', 'failed')) as open_changes,
                count(*) filter (status = 'done') as done_changes,
                count(*) filter (status = 'unmatched') as without_contact
            from customer_tags where {MINE} and {NOT_FORGOTTEN}
        """,
        blocking=False,
    ),
    TableCheck(
        table=CUSTOMER_TAGS.name,
        name="nothing_refused",
        description="No tag change was refused for good: those are in out/tags/<week>_problems.csv for a "
        "human to see to.",
        sql=f"""
            select count(*) as refused_changes
            from customer_tags where {MINE} and {NOT_FORGOTTEN} and status = 'rejected'
        """,
        blocking=False,
    ),
]


def required_before_sending(earlier_checks: Sequence[TableCheck]) -> list[tuple[str, str]]:
    """(table, check) of every check that must have passed before anything is sent.

    Args:
        earlier_checks: The checks of the earlier stages.
    """
    every = (*earlier_checks, *OUTREACH_LOG_CHECKS, *RECALL_LIST_CHECKS, *TAG_PLAN_CHECKS)
    return [(check.table, check.name) for check in every if check.blocking]
