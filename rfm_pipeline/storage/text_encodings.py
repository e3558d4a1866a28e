"""Which encoding the bytes of a text file have: orders, contacts and opt-outs alike.

Belongs here: judging bytes. What to do with a file that fits no encoding is for its reader to say.
"""

import re
from collections.abc import Iterable, Sequence

import polars as pl

BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
USUAL = ("utf-8", "gb18030")
"""What Chinese platforms and spreadsheet programs write; GBK is a part of GB18030."""

_NAMES = {"gbk": "gb18030", "gb2312": "gb18030", "cp936": "gb18030", "utf-8-sig": "utf-8", "utf8": "utf-8"}


def codec_name(name: str) -> str:
    """One name for the names of an encoding: ``GBK`` is ``gb18030``.

    Raises:
        LookupError: If Python knows no such encoding.
    """
    "".encode(name)
    lowered = name.lower().replace("_", "-")
    return _NAMES.get(lowered, lowered)


def marked_encoding(content: bytes) -> str | None:
    """The encoding that a byte order mark names; None without one."""
    return next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), None)


def possible_encodings(head: bytes, usual: Sequence[str] = USUAL) -> list[str]:
    """The encodings that a file's beginning may have, by its marks and bytes, the likeliest first.

    Args:
        head: The beginning; it may end in the middle of a character.
        usual: What such files are written in, where the bytes alone don't tell.
    """
    marked = marked_encoding(head)
    if marked is not None:
        return [marked]
    zeros = head.count(b"\x00")
    if zeros > len(head) // 4:
        # Latin text in UTF-16 has a zero in every second byte
        return ["utf-16-le" if head[1::2].count(b"\x00") > zeros // 2 else "utf-16-be"]
    if is_utf8(head[: head.rfind(b"\n") + 1] or head):
        # further on it may turn out to be something else
        return ["utf-8", *(name for name in usual if name != "utf-8")]
    return [*usual, *(name for name in ("utf-16-le", "utf-16-be") if zeros)]


def whole_encoding(content: bytes, usual: Sequence[str] = USUAL) -> str:
    """The encoding in which a whole small file is text, all of it.

    Args:
        content: The file. UTF-16 and NUL bytes are no text here: such a file can't be written back as it was.
        usual: The encodings tried, in their order.

    Returns:
        Python's name of it; ``utf-8-sig`` for UTF-8 with a byte order mark.

    Raises:
        UnicodeError: If it has none of them. Most of what is broken in a UTF-8 file could be read as GB18030,
            as words that nobody wrote; so where most of it is sound UTF-8, it is broken UTF-8.
    """
    if b"\0" in content:
        raise UnicodeError("a NUL byte is no text")
    if is_utf8(content):
        return "utf-8-sig" if marked_encoding(content) == "utf-8" else "utf-8"
    if marked_encoding(content) == "utf-8" or _is_broken_utf8(content):
        raise UnicodeError("broken UTF-8")
    for name in usual:
        try:
            content.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    raise UnicodeError(f"neither {' nor '.join(usual)}")


def is_utf8(piece: bytes) -> bool:
    """Whether bytes that begin and end between characters are UTF-8."""
    if piece.isascii():
        return True
    # Polars checks faster than Python decodes
    try:
        return pl.Series([piece]).cast(pl.String, strict=False).null_count() == 0
    except pl.exceptions.ComputeError:
        return False


def most_are_utf8(lines: Iterable[bytes]) -> bool:
    """Whether at least as many lines with more than ASCII are UTF-8 as are not."""
    balance = 0
    for line in lines:
        if not line.isascii():
            try:
                line.decode()
                balance += 1
            except UnicodeDecodeError:
                balance -= 1
    return balance >= 0


def _is_broken_utf8(content: bytes) -> bool:
    """Whether more characters beyond ASCII are sound UTF-8 than broken."""
    foreign = re.sub(r"[\x00-\x7f]", "", content.decode("utf-8", errors="replace"))
    return 2 * foreign.count("\ufffd") < len(foreign)
