"""What all stages' pictures share: colours for light and dark, fonts, money, and a small SVG.

Belongs here: nothing that knows what is drawn.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

_SYMBOLS: Final = {"CNY": "¥", "GBP": "£", "EUR": "€", "USD": "$", "JPY": "¥", "HKD": "HK$"}
# the viewer's machine picks the first it has: the text stays text
FONTS = "'Noto Sans CJK SC','PingFang SC','Microsoft YaHei','Source Han Sans SC','Noto Sans SC',sans-serif"


@dataclass(frozen=True)
class Theme:
    """The colours that depend on the ground a picture stands on."""

    background: str
    ink: str
    faint: str
    grid: str


LIGHT: Final = Theme("white", "#333333", "#777777", "#e6e6e6")
DARK: Final = Theme("#1b1d21", "#e4e4e4", "#a2a2a2", "#3a3d42")


def to_svg(chart: Any) -> str:
    """An Altair chart as an SVG document."""
    return _draw(json.dumps(chart.to_dict(validate=False), ensure_ascii=False))


# a run draws the same chart for the lineage and for the page; a sixth of a second each
@lru_cache(maxsize=16)
def _draw(vega_lite: str) -> str:
    import vl_convert

    return _slim(str(vl_convert.vegalite_to_svg(vega_lite)))


def _slim(svg: str) -> str:
    """The same drawing in a third of the bytes: it is stored with every run."""
    svg = re.sub(
        r' (?:class|role|aria-[a-z]+|font-family|stroke-width="2"|opacity="1")(?:="[^"]*")?', "", svg
    )
    svg = re.sub(r"\d+\.\d\d+", lambda number: f"{float(number[0]):.1f}", svg)
    # Vega draws a circle as a path of two arcs
    svg = re.sub(
        r'<path transform="translate\(([^,]+),([^)]+)\)" d="M([\d.]+),0A[^"]*"',
        r'<circle cx="\1" cy="\2" r="\3"',
        svg,
    )
    return svg.replace("<svg ", f'<svg font-family="{FONTS}" ', 1)


def money_text(amount: float, currency: str) -> str:
    """An amount in whole units with its currency's sign."""
    symbol = _SYMBOLS.get(currency, f"{currency} ")
    return f"{'−' if amount < 0 else ''}{symbol}{abs(amount):,.0f}"
