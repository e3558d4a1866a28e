"""What an export's file name says of its age: a time stamp, dates, and the numbers that browsers add.

Belongs here: reading names. Which of two exports is the newer is for ``ingest.precedence`` to say.
"""

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

_FULL_TIME = re.compile(r"(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)[ T_-]?(\d\d)[:.-]?(\d\d)(?:[:.-]?(\d\d))?(?!\d)")
_UNIX_TIME = re.compile(r"^(\d{10})(?:\d{3})?(?!\d)")
_DATES = (
    re.compile(r"(?<!\d)(?P<y>20\d\d)[-_./年](?P<m>\d{1,2})[-_./月](?P<d>\d{1,2})日?(?!\d)"),
    re.compile(r"(?<!\d)(?P<y>20\d\d)(?P<m>\d\d)(?P<d>\d\d)(?=\d{4}(?:\d\d)?(?!\d)|(?!\d))"),
    re.compile(r"(?<!\d)(?P<y>20\d\d)[-_./年](?P<m>\d{1,2})月?(?!\d)"),
)
_COPY = re.compile(r"(?i)\s*(?:-\s*)?(?:副本|复件|\bcopy\b)(?:\s+of\b)?")
_BROWSERS_NUMBER = re.compile(r"\s*[(（](\d+)[)）]$")
_NUMBER = re.compile(r"\d+")

NameKey = tuple[tuple[tuple[int, int, int], ...], tuple[int, ...], int, int]
"""The dates of a name, its other numbers, whether it is a copy, and the number in brackets at its end."""


def time_stamp(name: str, zone: str) -> datetime | None:
    """When a platform says that it wrote the file: the latest full time in its name.

    Known are a Unix time at the beginning (``1791430000_orders.csv``) and a date with hours and minutes
    (``ExportOrderList202405311203.csv``).

    Args:
        name: The file's name, folders included or not.
        zone: The shop's time zone.

    Returns:
        The shop-local time; None if the name holds none.
    """
    stem = _stem(name)
    found = [_time_of(match) for match in _FULL_TIME.finditer(stem)]
    if unix := _UNIX_TIME.match(stem):
        moment = datetime.fromtimestamp(int(unix[1]), UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        found.append(moment if 2000 <= moment.year < 2100 else None)
    return max((moment for moment in found if moment is not None), default=None)


def name_key(name: str) -> NameKey:
    """A key that orders names as people read them: ``(2)`` before ``(10)``, the unnumbered one before both.

    Args:
        name: The file's name below ``orders/``; folders count, too.
    """
    path = PurePosixPath(name)
    stem, number = _stem(name), 0
    if bracket := _BROWSERS_NUMBER.search(stem):
        stem, number = stem[: bracket.start()], int(bracket[1])
    is_copy = bool(_COPY.search(stem))
    text = _COPY.sub("", "/".join((*path.parts[:-1], stem)))
    dates: list[tuple[int, int, int]] = []
    for pattern in _DATES:
        dates += [found for match in pattern.finditer(text) if (found := _date_of(match))]
        text = pattern.sub(" ", text)
    return tuple(dates), tuple(int(digits) for digits in _NUMBER.findall(text)), int(is_copy), number


def _stem(name: str) -> str:
    base = PurePosixPath(name).name
    return re.sub(r"(?i)(\.csv|\.tsv|\.txt|\.xlsx?|\.parquet|\.zip|\.gz)+$", "", base)


def _date_of(match: re.Match[str]) -> tuple[int, int, int] | None:
    found = match.groupdict()
    month, day = int(found["m"]), int(found.get("d") or 0)
    return (int(found["y"]), month, day) if 1 <= month <= 12 and day <= 31 else None


def _time_of(match: re.Match[str]) -> datetime | None:
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
