"""Review: lists and later orders → what came of them, and what the silent are worth.

Effects are by assignment: a customer counts in the arm they were drawn into, reached or not. What
is said of a week is what was known at its as_of: a past week made again says what was known then.

Limits worth knowing: ``recall_outcomes`` takes off linked refunds only, since credit notes name no order; the
values take off credit notes after the return, too. Refunds still to come of the order that somebody came back
with are not foreseen by ``returner_value``. The past weeks that ``sleeping_value`` learns from hold recalled
customers, too: once a shop has recalled for months, a part of what recall adds is in it.
"""
