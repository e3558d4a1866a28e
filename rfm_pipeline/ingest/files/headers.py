"""Where the header of a file or a sheet is: there may be remarks above it.

Belongs here: finding the row. What its names mean is for presets to say.
"""

from collections.abc import Callable, Sequence

ROWS_ABOVE_A_HEADER = 10
"""How far down a header is sought."""

Fit = Callable[[Sequence[str]], int]
"""How many of the wanted columns a header holds."""


def header_row(rows: Sequence[Sequence[str]], fit: Fit) -> tuple[int, Sequence[str]]:
    """Of the first rows the one that knows most columns, the first of equals, and how many rows are above it.

    Args:
        rows: The first rows as texts.
        fit: Tells how many wanted columns a header holds.

    Returns:
        The number of rows above it, and the row; an empty row if none of them holds anything.
    """
    filled = [(skip, row) for skip, row in enumerate(rows) if any(cell.strip() for cell in row)]
    return max(filled, key=lambda found: fit(found[1]), default=(0, ()))
