"""A run of a home, reported step by step: started by the benchmarks as a process of its own.

    python -m benchmarks.steps HOME

Prints, as JSON, the wall and processor seconds from the beginning of each step of ingest and of the newest
week to that of the next; what the filling of the history took is one step.
"""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

from rfm_pipeline.orchestration.runner import Runner
from rfm_pipeline.shop import load_shop

STARTING, HISTORY, WEEK_BEGINS = "starting", "history", "the week begins"


def main() -> None:
    """Runs the home."""
    marks = [(STARTING, time.perf_counter(), time.process_time())]

    def say(message: str) -> None:
        word, _, rest = message.partition(" ")
        name = HISTORY if word == "history" else WEEK_BEGINS if word == "week" else "" if rest else word
        is_within = marks[-1][0] == HISTORY and name != WEEK_BEGINS
        if name and not is_within:
            marks.append((name, time.perf_counter(), time.process_time()))

    shop = load_shop(Path(sys.argv[1]))
    Runner(shop, say).run()
    marks.append(("", time.perf_counter(), time.process_time()))
    spent = {name: (then[1] - wall, then[2] - cpu) for (name, wall, cpu), then in pairwise(marks)}
    print(json.dumps(spent))


if __name__ == "__main__":
    main()
