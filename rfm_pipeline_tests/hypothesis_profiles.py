"""How many random examples a property is tried with: the profiles of hypothesis, and their factors.

``quick`` is for a developer's machine and finds new examples each time, ``ci`` tries the same ones each
time, ``thorough`` tries ten times as many: ``uv run pytest --hypothesis-profile thorough``.
"""

import os

from hypothesis import settings

FACTORS = {"quick": 0.5, "ci": 1.0, "thorough": 10.0}
_USUAL_EXAMPLES = 100


def examples(number: int) -> int:
    """What ``max_examples`` is in the profile in force, for a property that CI tries so often."""
    return _scaled(number, settings.get_current_profile_name())


def _scaled(number: int, profile: str) -> int:
    return max(1, round(number * FACTORS.get(profile, 1.0)))


def load_profiles() -> None:
    """Registers the profiles and loads the one for where the tests run."""
    for name in FACTORS:
        settings.register_profile(
            name,
            max_examples=_scaled(_USUAL_EXAMPLES, name),
            derandomize=name == "ci",
            print_blob=name == "ci",
            deadline=None,
        )
    settings.load_profile("ci" if os.environ.get("CI") else "quick")
