"""Texts that people open in a spreadsheet program."""

import polars as pl


def no_formula(text: pl.Expr) -> pl.Expr:
    """The text with an apostrophe before what a spreadsheet would take for a formula."""
    return pl.when(text.str.contains(r"^[=+\-@\t\r]")).then(pl.lit("'") + text).otherwise(text).name.keep()
