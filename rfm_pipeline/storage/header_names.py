"""Column names of files that people and platforms write, compared whatever their spelling.

Belongs here: what makes two names the same. Which names a file may have is for its reader to say.
"""

import re
import unicodedata
from functools import lru_cache

_BETWEEN_WORDS = re.compile(r"[\s_\-]+")


@lru_cache(4096)
def header_key(name: str) -> str:
    """A column's name so that its spellings are equal.

    Case, spaces, underscores, hyphens and full-width forms make no difference: ``Customer ID``,
    ``customer_id`` and ``ＣｕｓｔｏｍｅｒＩＤ`` are one name.
    """
    return _BETWEEN_WORDS.sub("", unicodedata.normalize("NFKC", name).replace("\ufeff", "")).lower()
