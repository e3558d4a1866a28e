"""rfm_pipeline: finds an online shop's silent churners every week and proves what recalling them brought.

Data flows through four stages, one folder and one Dagster group each, and never back:
``ingest`` → ``diagnose`` → ``recall`` → ``review``. Beside them: ``shop`` (the shop's own decisions),
``weeks`` (the weekly grid), ``warehouse`` (where derived tables live), ``ledger`` (the one thing that
can't be rebuilt), ``orchestration`` and ``definitions`` (what Dagster loads), ``cli`` (the ``rfm`` command).
"""

import sys

# pandera imports pyspark.pandas wherever pyspark is installed, for pandas objects that this package has
# none of: a second of start-up and a warning. Marked as absent, the import is skipped.
sys.modules.setdefault("pyspark.pandas", None)  # type: ignore[arg-type]
