"""A check of the built site: a page loads nothing from elsewhere, so that its reader meets no third party.

Belongs here: what MkDocs calls while it builds. Doesn't belong here: text of the pages.
"""

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

_FROM_ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\ssrc=["']?(?:https?:)?//"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preconnect|preload|icon))[^>]*\shref=["']?(?:https?:)?//"""
)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Refuses a page that loads a script, a style or a picture from another host.

    Raises:
        PluginError: If it does.
    """
    if found := _FROM_ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_path}: it loads from elsewhere: {found[0]}")
    return output
