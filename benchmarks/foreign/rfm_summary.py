"""The RFM summary of pymc-marketing or of lifetimes; runs in an environment that has it, and pandas.

python rfm_summary.py pymc|lifetimes LINES.parquet AS_OF RESULT.parquet
"""

import json
import os
import sys
import time


def main() -> None:
    """Times the summary without the library's import, which is in the time of the whole process."""
    which, lines, as_of, result = sys.argv[1:]
    import pandas as pd

    if which == "pymc":
        from pymc_marketing.clv.utils import rfm_summary as summary
    else:
        from lifetimes.utils import summary_data_from_transaction_data as summary
    started, used = time.perf_counter(), sum(os.times()[:2])
    columns = ["customer_id", "ordered_at", "line_type", "amount"]
    sales = pd.read_parquet(lines, columns=columns)
    end = pd.Timestamp(as_of) - pd.Timedelta(days=1)
    sales = sales[(sales["line_type"] == "sale") & (sales["ordered_at"] < pd.Timestamp(as_of))]
    found = summary(
        sales, "customer_id", "ordered_at", monetary_value_col="amount", observation_period_end=end
    )
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": sum(os.times()[:2]) - used}
    found = found.reset_index() if found.index.name == "customer_id" else found
    found.to_parquet(result)
    print(json.dumps(took | {"rows": len(found)}))


if __name__ == "__main__":
    main()
