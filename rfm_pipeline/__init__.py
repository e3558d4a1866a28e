"""rfm_pipeline: finds an online shop's silent churners every week and proves what recalling them brought.

Data flows through four stages, one folder and one Dagster group each, and never back:
``ingest`` → ``diagnose`` → ``recall`` → ``review``. Beside them: ``shop`` (the shop's own decisions),
``weeks`` (the weekly grid), ``warehouse`` (where derived tables live), ``ledger`` (the one thing that
can't be rebuilt), ``automation`` and ``definitions`` (what Dagster loads), ``cli`` (the ``rfm`` command).
"""
