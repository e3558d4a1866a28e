"""Writes the parts of the reference that come from the code, in place, between their markers.

Run ``uv run python -m docs.generate`` after a change of settings, commands, tables or presets. A test fails
while a page isn't what the code says.

Belongs here: settings from the model of ``shop.yaml``, commands from Typer, tables from the pandera schemas,
folders from their docstrings, presets from their YAML files, as Markdown. Doesn't belong here: text that
people write.
"""

import importlib
import pkgutil
import re
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import typer
from pydantic.fields import FieldInfo

import rfm_pipeline
from rfm_pipeline.cli.app import app
from rfm_pipeline.home.layout import shop_file_text
from rfm_pipeline.ingest.presets import NO_BUYERS, Preset, load_preset
from rfm_pipeline.shop import Section, ShopFile
from rfm_pipeline.warehouse.schema import Table

DOCS = Path(__file__).parent
STAGES = ("ingest", "diagnose", "contacts", "recall", "review")
COMMANDS = typer.main.get_command(app)

_BLOCK = re.compile(
    r"(?P<start><!-- (?P<kind>settings|commands|tables|packages|preset)(?: (?P<name>\w+))? -->\n)"
    r".*?(?P<end><!-- end of (?:\w+) -->)",
    re.DOTALL,
)
_KINDS: Mapping[Any, str] = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    Decimal: "number",
    str: "text",
    date: "date",
    time: "time of day",
}
_BOUNDS = {
    annotated_types.Ge: ("≥", "ge"),
    annotated_types.Gt: (">", "gt"),
    annotated_types.Le: ("≤", "le"),
    annotated_types.Lt: ("<", "lt"),
}


def up_to_date(text: str) -> str:
    """A page with all its generated blocks as the code has them."""
    makers: dict[str, Callable[[str], str]] = {
        "settings": lambda _: settings(),
        "commands": lambda _: commands(),
        "tables": lambda _: tables(),
        "packages": lambda _: packages(),
        "preset": lambda name: preset_tables(load_preset(name)),
    }
    return _BLOCK.sub(
        lambda block: f"{block['start']}\n{makers[block['kind']](block['name'])}\n\n{block['end']}", text
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# Settings


def settings() -> str:
    """Every setting of ``shop.yaml``: type, default, meaning; a heading a section."""
    meanings = _meanings()
    parts = []
    for name, field in ShopFile.model_fields.items():
        section = field.annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        parts += [f"## {name}", "", _first_paragraph(section.__doc__), ""]
        parts += ["| setting | type | default | meaning |", "|---|---|---|---|"]
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        parts += [
            f"| `{path.removeprefix(f'{name}.')}` | {kind} | {default} | {_cell(meanings[path])} |"
            for path, kind, default in _fields(name, section, default)
        ]
        parts.append("")
    return "\n".join(parts).strip()


def _first_paragraph(docstring: str | None) -> str:
    return " ".join((docstring or "").strip().split("\n\n")[0].split())


def _fields(prefix: str, section: type[Section], values: Section | None) -> Iterator[tuple[str, str, str]]:
    """Path, type and default of every setting below a section; settings of its own sections included."""
    for name, field in section.model_fields.items():
        path = f"{prefix}.{name}"
        inner = _section_in(field.annotation)
        value = getattr(values, name) if values is not None else _default(field)
        if inner is None:
            yield path, _kind(field), _shown(field, value)
        else:
            if value is None:
                yield path, "section or `null`", "`null`"
            yield from _fields(path, inner, value)


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _section_in(annotation: Any) -> type[Section] | None:
    """The section that a field holds, ``| None`` and ``Annotated`` aside."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and not get_origin(part) and issubclass(part, Section):
            return None if get_origin(annotation) is dict else part
    return None


def _kind(field: FieldInfo) -> str:
    bounds = [
        f"{_BOUNDS[type(rule)][0]} {getattr(rule, _BOUNDS[type(rule)][1])}"
        for rule in field.metadata
        if type(rule) in _BOUNDS
    ]
    return ", ".join([_name_of(field.annotation), *bounds])


def _name_of(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _name_of(parts[0])
    if origin is Literal:
        return ", ".join(f"`{_cell(repr(part)[1:-1])}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join("`null`" if part is type(None) else _name_of(part) for part in parts)
    if origin is tuple:
        return "list of texts"
    if origin is dict:
        inner = parts[1]
        if isinstance(inner, type) and issubclass(inner, Section):
            return f"a class: {', '.join(f'`{name}`' for name in inner.model_fields)}"
        return "name: text"
    return _KINDS[annotation]


def _shown(field: FieldInfo, value: Any) -> str:
    if field.is_required():
        return "required" if value is None else f"`{value}`"
    if field.default_factory is not None:
        return "the shipped words"
    return f"`{_cell(_yaml(value))}`"


def _yaml(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case time():
            return f"{value:%H:%M}"
        case tuple():
            return f"[{', '.join(value)}]"
        case dict():
            return f"{{{', '.join(f'{key}: {word}' for key, word in value.items())}}}"
    return str(value)


class _Meanings(dict[str, str]):
    """Comments by setting; a setting without one has that of the setting that holds it."""

    def __missing__(self, path: str) -> str:
        outer, dot, _ = path.rpartition(".")
        if not dot:
            raise KeyError(path)
        return self[outer]


def _meanings() -> _Meanings:
    """What the comments of a new ``shop.yaml`` say of each setting: it is written there, once."""
    text = shop_file_text(
        name="myshop",
        timezone="Asia/Shanghai",
        currency="CNY",
        preset="standard",
        first_week=date(2026, 1, 5),
        last_week=None,
    )
    meanings, path = _Meanings(), []  # type: tuple[_Meanings, list[str]]
    for line in text.splitlines():
        # settings that are off are commented out, one level deeper
        line = re.sub(r"^  #   (?=\w+: )", "    ", line)
        found = re.match(r"^(?P<indent> *)(?P<key>\w+):(?P<rest>.*)$", line)
        if found is None:
            continue
        path = [*path[: len(found["indent"]) // 2], found["key"]]
        _, sign, comment = found["rest"].rpartition("  # ")
        if sign:
            meanings[".".join(path)] = comment.strip()
    return meanings


# Commands


def commands() -> str:
    """Every command with its arguments and options; a heading a command."""
    parts = []
    for path, command in _commands("rfm", COMMANDS):
        parameters = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
        parts += [f"## {path}", "", f"```sh\n{' '.join([path, *map(_usage, parameters)])}\n```", ""]
        parts += [re.sub(r"(?<!\n)\n(?!\n)", " ", (command.help or "").strip()), ""]
        if parameters:
            parts += ["| parameter | default | meaning |", "|---|---|---|"]
            parts += [_parameter_row(parameter) for parameter in parameters]
            parts.append("")
    return "\n".join(parts).strip()


def _commands(path: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(f"{path} {name}", command)
        elif not command.hidden:
            yield f"{path} {name}", command


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"{parameter.name.upper()}{'...' if parameter.nargs != 1 else ''}"
    names = "/".join([*parameter.opts, *parameter.secondary_opts])
    use = names if parameter.is_flag else f"{names} {parameter.name.upper()}"
    return use if parameter.required else f"[{use}]"


def _parameter_row(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    default = "required" if parameter.required else ""
    if parameter.default not in (None, False) and not parameter.required:
        default = f"`{parameter.opts[0] if parameter.is_flag else parameter.default}`"
    shown = ", ".join(f"`{name}`" for name in names)
    return f"| {shown} | {default} | {_cell(parameter.help or '')} |"


# Tables


def all_tables() -> dict[str, list[Table]]:
    """The tables of each stage, in the order in which its ``schemas.py`` writes them."""
    names = [
        module.name
        for module in pkgutil.walk_packages(rfm_pipeline.__path__, "rfm_pipeline.")
        if module.name.endswith(".schemas")
    ]
    found: dict[str, list[Table]] = {}
    seen: set[str] = set()
    for name in sorted(names, key=lambda name: STAGES.index(name.split(".")[1])):
        module = importlib.import_module(name)
        new = [
            value for value in vars(module).values() if isinstance(value, Table) and value.name not in seen
        ]
        seen.update(table.name for table in new)
        found.setdefault(name.split(".")[1], []).extend(new)
    return found


def tables() -> str:
    """Every table of the warehouse with its key and columns; a heading a table."""
    parts = []
    for stage, of_stage in all_tables().items():
        parts += [f"## {stage.capitalize()}", ""]
        for table in of_stage:
            weeks = "Replaced week by week." if table.weekly else "Not weekly."
            key = ", ".join(f"`{column}`" for column in table.key)
            parts += [f"### {table.name}", "", f"Key: {key}. {weeks}", ""]
            parts += ["| column | type | null | meaning |", "|---|---|---|---|"]
            parts += [
                f"| `{name}` | {table.column_types[name]} | {'yes' if column.nullable else ''} "
                f"| {_cell(column.description or '')} |"
                for name, column in table.schema.columns.items()
            ]
            parts.append("")
    return "\n".join(parts).strip()


# Folders


def packages() -> str:
    """Every folder of the package with the first paragraph of its docstring."""
    lines = ["| folder | what belongs in it |", "|---|---|"]
    for module in pkgutil.walk_packages(rfm_pipeline.__path__, "rfm_pipeline."):
        if module.ispkg:
            folder = module.name.removeprefix("rfm_pipeline.").replace(".", "/")
            words = _first_paragraph(importlib.import_module(module.name).__doc__).replace("``", "`")
            lines.append(f"| `{folder}/` | {_cell(words)} |")
    return "\n".join(lines)


# Presets


def preset_tables(preset: Preset) -> str:
    """A preset's columns, and the words that it knows."""
    lines = [
        f"One row is {'an order' if preset.row == 'order' else 'a line'}. "
        f"Written in: {', '.join(preset.encodings)}.",
        *(["", f"**No buyer**: {NO_BUYERS}."] if preset.hides_buyers else []),
        "",
        "| our column | column of the export | else, where it is empty, masked or damaged | needed |",
        "|---|---|---|---|",
    ]
    for column, names in preset.columns.items():
        own = " or ".join(f"`{name}`" for name in names)
        others = ", then ".join(f"`{name}`" for name in preset.fallback.get(column, ()))
        lines.append(f"| {column} | {own} | {others} | {'yes' if column in preset.required else ''} |")
    words = [
        *((f"order_status: {status}", found) for status, found in preset.statuses.items()),
        *((f"refund_flag: {refund}", found) for refund, found in preset.refund_words.items()),
    ]
    if words:
        lines += ["", "| what it means | words |", "|---|---|"]
        lines += [f"| {what} | {', '.join(f'`{word}`' for word in found)} |" for what, found in words]
    notes = []
    if preset.empty_words:
        notes.append(f"Stands for nothing: {', '.join(f'`{word}`' for word in preset.empty_words)}.")
    if preset.day_in_order_id:
        notes.append(f"Without a time, the order's number says the day: `{preset.day_in_order_id}`.")
    if preset.fill_from_order:
        notes.append(f"On an order's first row only: {', '.join(preset.fill_from_order)}.")
    if preset.row == "order":
        separators = " ".join(f"`{separator}`" for separator in preset.title_separator)
        notes.append(f"Titles are separated by one of: {separators}.")
    if preset.packed:
        separators = " ".join(f"`{separator}`" for separator in preset.packed_separator)
        notes.append(
            f"A row may pack several lines in {', '.join(preset.packed)}, separated by one of: {separators}."
        )
    if preset.beside:
        notes.append(f"Files beside it may be: {', '.join(f'`{name}`' for name in preset.beside)}.")
    if preset.credit_note_prefix:
        notes.append(f"Orders that begin with `{preset.credit_note_prefix}` are credit notes.")
    lists = {
        "Paid in part": preset.partly_paid,
        "Delivered": preset.delivered,
        "No sale by payment method": preset.no_sale_payments,
        "No sale by name": preset.no_sale_names,
        "Outside of the order's amount": preset.beside_goods,
        "No products by name": preset.not_product_names,
    }
    for what, words in lists.items():
        if words:
            notes.append(f"{what}: {', '.join(f'`{word}`' for word in words)}.")
    if preset.not_products:
        notes.append(f"No products: {', '.join(f'`{code}`' for code in preset.not_products)}.")
    for note in notes:
        lines += ["", note]
    return "\n".join(lines)


if __name__ == "__main__":
    for page in DOCS.rglob("*.md"):
        page.write_text(up_to_date(page.read_text("utf-8")), "utf-8")
