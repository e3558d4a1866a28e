"""What must hold for the review stage's tables."""

from rfm_pipeline.review.schemas import RECALL_OUTCOMES
from rfm_pipeline.warehouse.checks import MINE, TableCheck, unique_key

RECALL_OUTCOMES_CHECKS = [
    unique_key(RECALL_OUTCOMES),
    TableCheck(
        table=RECALL_OUTCOMES.name,
        name="nobody_returned_twice",
        description="No arm has more returned customers than assigned ones.",
        sql=f"""
            select count(*) filter (returned > assigned) as wrong_arms
            from recall_outcomes where {MINE}
        """,
    ),
]
