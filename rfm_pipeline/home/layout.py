"""Making a shop's home folder: the commented ``shop.yaml`` and the folders beside it.

Belongs here: what ``rfm init`` and ``rfm sample`` lay out before the first run. Reading the settings back
is ``shop``'s.
"""

import textwrap
from collections.abc import Sequence
from datetime import date
from importlib import resources
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined

from rfm_pipeline.errors import ShopFileError
from rfm_pipeline.ingest.presets import preset_names
from rfm_pipeline.shop import Shop, default_messages_text, load_shop

GIT_IGNORE = """# made by rfm from the orders, or personal: never commit
warehouse.duckdb*
warehouse_spark/
ledger.sqlite*
out/
outreach/
suppression/outreach_refusals.csv
.dagster/
.staging/
"""


def _inline(value: object) -> str:
    """A value as it stands on one line of YAML."""
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("...").strip()


def shop_file_text(
    *,
    name: str,
    timezone: str,
    currency: str,
    preset: str,
    first_week: date,
    last_week: date | None = None,
    not_products: Sequence[str] = (),
    orders_currency: str | None = None,
) -> str:
    """The text of a new ``shop.yaml`` in which every line explains itself."""
    template = resources.files("rfm_pipeline.home").joinpath("shop_template.yaml").read_text("utf-8")
    words = textwrap.indent(default_messages_text(), "    ")
    # the words hold placeholders of their own, so they go in after the rendering
    rendered = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(template)
    return rendered.render(
        name=_inline(name),
        timezone=_inline(timezone),
        currency=_inline(currency),
        orders_currency=_inline(orders_currency),
        preset=_inline(preset),
        presets=", ".join(preset_names()),
        first_week=first_week.isoformat(),
        last_week="null" if last_week is None else last_week.isoformat(),
        not_products=_inline(list(not_products)),
        words=words,
    )


def make_home(home: Path, shop_file: str) -> Shop:
    """Lays out a new home and reads it back.

    Args:
        home: The folder to make; it may exist, but must not hold a ``shop.yaml`` yet.
        shop_file: The text of ``shop.yaml``.

    Raises:
        ShopFileError: If the home already has a ``shop.yaml``.
    """
    path = home / "shop.yaml"
    if path.exists():
        raise ShopFileError(f"{path} exists already; edit it, or choose another folder.")
    (home / "orders").mkdir(parents=True, exist_ok=True)
    ignore = home / ".gitignore"
    own = ignore.read_text("utf-8").rstrip("\n") + "\n\n" if ignore.exists() else ""
    ignore.write_text(own + GIT_IGNORE, "utf-8")
    path.write_text(shop_file, "utf-8")
    return load_shop(home)
