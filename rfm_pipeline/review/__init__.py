"""Review: lists and later orders → what came of them.

Effects are by assignment: a customer counts in the arm they were drawn into, whoever was really reached.
"""
