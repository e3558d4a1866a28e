"""Presets: how the columns of an export become the canonical columns, one YAML file each.

Belongs here: header names, status words, credit notes, codes that are no products. How values are typed
is ``ingest.reading``'s.
"""

import difflib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from rfm_pipeline.errors import OrderFileError, ShopFileError

Status = Literal["paid", "unpaid", "cancelled", "closed"]


class Preset(BaseModel):
    """How one platform's export is read.

    Attributes:
        name: What ``orders.preset`` calls it.
        description: Whose layout it is.
        columns: Canonical column to the header names it may stand under.
        required: The canonical columns without which the file can't be read.
        credit_note_prefix: Orders whose id begins with this are credit notes: all their lines are returns.
        statuses: What the words of the column ``order_status`` mean.
        not_products: SKUs that are no products; ``GIFT*`` means all that begin with GIFT.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    columns: dict[str, tuple[str, ...]]
    required: tuple[str, ...]
    credit_note_prefix: str | None = None
    statuses: dict[Status, tuple[str, ...]] = {}
    not_products: tuple[str, ...] = ()

    def map_header(self, path: Path, header: Sequence[str]) -> dict[str, str]:
        """Finds the canonical columns in a file's header; names are compared trimmed.

        Returns:
            Canonical column to the header name as it stands in the file.

        Raises:
            OrderFileError: If a required column is missing or a name that is needed stands twice.
        """
        mapping: dict[str, str] = {}
        trimmed = [name.strip() for name in header]
        missing: list[tuple[str, ...]] = []
        for column, names in self.columns.items():
            found = [i for i, name in enumerate(trimmed) if name in names]
            if len(found) > 1:
                raise OrderFileError(
                    f"{path}: the header has the column {trimmed[found[0]]!r} more than once; keep one."
                )
            if found:
                mapping[column] = header[found[0]]
            elif column in self.required:
                missing.append(names)
        if missing:
            free = [
                name for name, given in zip(trimmed, header, strict=True) if given not in mapping.values()
            ]
            near = [match for name in missing[0] for match in difflib.get_close_matches(name, free, n=1)]
            hint = f" (is {near[0]!r} meant?)" if near else ""
            lacks = ", ".join(" or ".join(repr(name) for name in names) for names in missing)
            raise OrderFileError(
                f"{path}: the header lacks {lacks}{hint}, which preset {self.name!r} needs; "
                f"it has: {', '.join(trimmed)}. Is orders.preset in shop.yaml the right one? "
                f"Known presets: {', '.join(preset_names())}."
            )
        return mapping


def preset_names() -> list[str]:
    """The shipped presets."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load_preset(name: str) -> Preset:
    """Reads a shipped preset.

    Raises:
        ShopFileError: If there is none of that name.
    """
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ShopFileError(
            f"there is no preset {name!r}.{hint} Known presets: {', '.join(preset_names())} "
            "(orders.preset in shop.yaml)."
        )
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text("utf-8")
    return Preset(name=name, **yaml.safe_load(text))


def not_product_pattern(codes: Sequence[str]) -> str:
    """The codes that are no products as one regular expression for normalised SKUs.

    Args:
        codes: Codes in any case; a trailing ``*`` stands for whatever follows.
    """
    parts = []
    for code in sorted({code.strip().upper() for code in codes}):
        parts.append(re.escape(code[:-1]) + ".*" if code.endswith("*") else re.escape(code))
    return f"^({'|'.join(parts)})$" if parts else "^$"
