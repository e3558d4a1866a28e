"""Damaged exports, seeded, each read against a plain reading of the same bytes.

The quick tier damages each file once in each way, the slow tier makes 2,000 damaged files.
Whatever happened to a file, it is either refused by its name, or every row of it is accounted for and an
accepted row says what is in it. The plain reading is made of Python's csv module and a few rules of its
own; it need only be exact for rows that are accepted.
"""

import csv
import gzip
import io
import random
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import xlsxwriter
import xlwt

from rfm_pipeline.errors import OrderFileError
from rfm_pipeline.ingest.files.reading import open_source, read_rows
from rfm_pipeline.ingest.presets import Preset, load_family
from rfm_pipeline_tests.ingest.presets.test_platforms import CASES, csv_text, fixture_rows

ZONE = "Asia/Shanghai"
MUTANTS = 200
PACKED_MUTANTS = 20
ROWS = 60
FIELD_LIMIT = 131_072
ROWS_ABOVE = 10
SEED = 20240501

# case, encoding
FILES = [
    ("taobao_orders", "gb18030"),
    ("taobao_orders", "utf-8-sig"),
    ("taobao_items", "gb18030"),
    ("taobao_items", "utf-8"),
    ("youzan", "utf-8"),
    ("youzan_items", "utf-8-sig"),
    ("jd", "gb18030"),
    ("erp_cn", "gb18030"),
    ("erp_cn", "utf-8"),
    ("shopify", "utf-8"),
]

# A plain reading

SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
NOTHING = {"", "NULL", "null", "Null", "\\N"}
DAMAGED = re.compile(r"[+-]?\d+(\.\d+)?[eE]\+\d{1,3}", re.ASCII)
MOBILE = re.compile(r"(?:\+?86|0086)?[- ]?(1[3-9]\d)[- ]?(\d{4})[- ]?(\d{4})", re.ASCII)
TIME = re.compile(
    # a number may be padded with a space
    r"(\d{4})[-年/.]\s*(\d{1,2})[-月/.]\s*(\d{1,2})日?[Tt]?\s*"
    r"(?:(\d{1,2}):\s*(\d{1,2})(?::\s*(\d{1,2})(\.\d+)?)?)?\s*(Z|z|UTC|[+-]\d{2}:?(?:\d{2})?)?",
    re.ASCII,
)
NOT_PAID = {"否", "无", "no", "false", "0", "0.0", "0.00", "未付款", "待付款"}


@lru_cache(10_000)
def narrow(text: str) -> str:
    """Full-width forms as ordinary ones."""
    return "".join(
        chr(ord(one) - 0xFEE0) if "！" <= one <= "～" else " " if one == "\u3000" else one for one in text
    )


@lru_cache(10_000)
def unwrapped(text: str | None) -> str | None:
    text = (text or "").strip(SPACES)
    if text.startswith('="') and text.endswith('"') and len(text) > 2:
        text = text[2:-1]
    text = text.removeprefix("'").strip(SPACES)
    return None if text in NOTHING else text


@lru_cache(10_000)
def number(text: str | None) -> Decimal | None:
    if text is None:
        return None
    text = narrow(text).strip(SPACES)
    text = re.sub(r"(?i)^(-?)(CNY|RMB|[¥￥$])\s*", r"\1", text)
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d*)?", text):
        text = text.replace(",", "")
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


@lru_cache(10_000)
def whole(text: str) -> str:
    """A number without its empty fraction: some program took an id for an amount."""
    found = re.fullmatch(r"(\d+)\.0+", text, re.ASCII)
    return found[1] if found else text


@lru_cache(10_000)
def moment(text: str | None) -> datetime | None:
    found = TIME.fullmatch(narrow(text or "").strip(SPACES))
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    local = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
    local += timedelta(seconds=float(fraction or 0))
    if offset is None:
        return local
    digits = offset[1:].replace(":", "").ljust(4, "0") if offset[0] in "+-" else "0000"
    sign = -1 if offset[0] == "-" else 1
    ahead = sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return local.replace(tzinfo=timezone(ahead)).astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)


@lru_cache(10_000)
def letters(name: str) -> str:
    """A column's name without case, spaces, underscores, hyphens and wide forms."""
    return re.sub(r"[\s_-]", "", narrow(name)).lower()


def meaning(text: str, words: Mapping[str, Sequence[str]]) -> str | None:
    """What a preset says that a word means; ``*`` stands for anything at its beginning or end."""
    word = narrow(text).lower().replace(" ", "")
    for found, spellings in words.items():
        for spelling in (narrow(one).lower().replace(" ", "") for one in spellings):
            pattern = re.escape(spelling).replace(r"\*", ".*")
            if re.fullmatch(pattern, word, re.DOTALL):
                return found
    return None


class PlainReading:
    """What the bytes of a CSV export say, row by row."""

    def __init__(self, content: bytes, encoding: str, family: Sequence[Preset], limit: int) -> None:
        cut_rows = cut(content.decode(encoding, errors="replace"), limit)
        # a remark may be above the header: of the first rows the one that knows most
        tops = [[unwrapped_name(name) for name in row or []] for row in cut_rows[: ROWS_ABOVE + 1]]
        known = [max(preset.fit(names) for preset in family) for names in tops]
        at = known.index(max(known)) if known else 0
        self.names, self.rows = (tops[at] if tops else []), cut_rows[at + 1 :]
        fitting = [preset for preset in family if not preset.lacks(self.names)]
        self.preset = max(fitting or family, key=lambda preset: preset.fit(self.names))
        self.known = self._by_order()

    def _by_order(self) -> list[dict[str, str | None]]:
        """Each row by column name; blank fields of an order take those of its rows before, where it is so."""
        rows: list[dict[str, str | None]] = []
        handed: dict[str, dict[str, str]] = {}
        filled = {name for column in self.preset.fill_from_order for name in self.candidates(column)}
        for row in self.rows:
            fields = dict(zip(reversed(self.names), reversed(self._padded(row)), strict=True))
            if filled and row is not None:
                order = fields[self.candidates("order_id")[0]] or ""
                known = handed.setdefault(order, {})
                is_whole = len(row) >= len(self.names) and not any(row[len(self.names) :])
                is_whole = is_whole and not any("\ufffd" in field or "\0" in field for field in row)
                for name in filled:
                    if is_whole and (fields[name] or "").strip(SPACES):
                        known[name] = fields[name] or ""
                    fields[name] = known.get(name)
            rows.append(fields)
        return rows

    def _padded(self, row: list[str] | None) -> list[str | None]:
        width = len(self.names)
        return [*(row or [])[:width], *[None] * (width - len(row or []))]

    def candidates(self, column: str) -> list[str]:
        """The names that are in the header for a column, the column's own first."""
        own = self.spelled(self.preset.columns.get(column, ()))
        others = [self.spelled((name,))[:1] for name in self.preset.fallback.get(column, ())]
        return [*own, *(name for found in others for name in found)]

    def spelled(self, known: Sequence[str]) -> list[str]:
        """The names of the header that are some known ones: as they are spelled, else in another spelling."""
        exact = [name for name in self.names if name in known]
        keys = {letters(name) for name in known}
        return exact or [name for name in self.names if letters(name) in keys]

    def texts(self, row: int, column: str) -> list[str | None]:
        return [unwrapped(self.known[row][name]) for name in self.candidates(column)]

    def text(self, row: int, column: str) -> str | None:
        return next((text for text in self.texts(row, column) if text is not None), None)

    def order_id(self, row: int) -> str | None:
        text = self.text(row, "order_id")
        return None if text is None else whole(narrow(text))

    def customer_id(self, row: int) -> str | None:
        for text in self.texts(row, "customer_id"):
            key = whole(narrow(text or ""))
            if key and "*" not in key and not DAMAGED.fullmatch(key):
                mobile = MOBILE.fullmatch(key)
                key = "".join(mobile.groups()) if mobile else key
                return key.lower() if "@" in key else key
        return None

    def status(self, row: int) -> str | None:
        mark = self.text(row, "paid_mark")
        is_marked = mark is not None and narrow(mark).lower().replace(" ", "") not in NOT_PAID
        text = self.text(row, "order_status")
        if text is None:
            return "paid" if is_marked else "unpaid"
        found = meaning(text, self.preset.statuses)
        was_paid = is_marked or self.came_back(row)
        return "closed" if found == "cancelled" and was_paid else found

    def came_back(self, row: int) -> bool:
        """Whether money was given back, which shows that it had been paid."""
        amounts = [number(self.text(row, column)) or 0 for column in ("refunded_amount", "order_refunded")]
        flag = self.text(row, "refund_flag")
        return max(amounts) > 0 or (flag is not None and meaning(flag, self.preset.refund_words) == "full")

    def quantity(self, row: int) -> Decimal | None:
        if self.preset.row == "order" and self.text(row, "quantity") is None:
            return number(self.text(row, "kinds")) or Decimal(1)
        return number(self.text(row, "quantity"))

    def paid(self, row: int, column: str) -> Decimal | None:
        """The amount given; of a closed order whose amount is 0, what the next columns say it had been."""
        given = number(self.text(row, column))
        if self.is_closed(row) and given == 0:
            others = [number(text) for text in self.texts(row, column)[1:]]
            given = next((other for other in others if other is not None and other > 0), given)
        return given

    def is_closed(self, row: int) -> bool:
        if self.status(row) == "closed":
            return True
        refunded = [number(self.text(row, column)) or 0 for column in ("refunded_amount", "order_refunded")]
        is_cancelled = self.text(row, "cancelled_at") is not None
        return self.status(row) == "paid" and is_cancelled and not any(refunded)

    def amount(self, row: int) -> Decimal | None:
        quantity = self.quantity(row)
        if self.text(row, "amount") is not None:
            paid = self.paid(row, "amount")
            is_return = self.preset.row == "line" and quantity is not None and quantity < 0
            return self.before_refund(row, abs(paid) if is_return and paid is not None else paid)
        price = number(self.text(row, "unit_price"))
        if price is None or quantity is None:
            return None
        off = number(self.text(row, "line_discount")) or Decimal(0)
        return max(abs(quantity) * price - off, Decimal(0))

    def before_refund(self, row: int, paid: Decimal | None) -> Decimal | None:
        """What was paid at first, where the export names what was left of it after a refund."""
        back = number(self.text(row, "refunded_amount"))
        if paid is None or back is None or back <= 0 or self.is_closed(row):
            return paid
        if not self.candidates("gross_amount"):
            return paid
        total = number(self.text(row, "gross_amount"))
        cent = Decimal("0.01")
        makes_up_the_total = total is not None and abs(paid + back - total) < cent
        less_is_left = paid < back and (total is None or paid + back < total + cent)
        return paid + back if makes_up_the_total or less_is_left else paid

    def values(self, row: int) -> dict[str, Any]:
        """What an accepted row has to say."""
        has_own = self.text(row, "amount") is not None
        return {
            "order_id": self.order_id(row),
            "customer_id": self.customer_id(row),
            "ordered_at": moment(self.text(row, "ordered_at")),
            "quantity": self.quantity(row),
            "amount": self.amount(row),
            "order_amount": None if has_own else self.paid(row, "order_amount"),
        }


def unwrapped_name(name: str) -> str:
    return unwrapped(name.replace("\ufeff", "")) or ""


def cut(text: str, limit: int) -> list[list[str] | None]:
    """The rows; None for a row with a field longer than the limit."""
    csv.field_size_limit(limit)
    reader = csv.reader(io.StringIO(text, newline=""))
    rows: list[list[str] | None] = []
    while True:
        try:
            rows.append(next(reader))
        except StopIteration:
            return rows
        except csv.Error:
            rows.append(None)


# Ways to damage a file

Damage = Callable[[bytes, random.Random, str], bytes]


def place(content: bytes, dice: random.Random) -> int:
    """A place in the file; seldom in its header, for most damage there ends with a refusal."""
    start = 0 if dice.random() < 0.05 else content.find(b"\n") + 1
    return dice.randrange(start, len(content))


def line_places(content: bytes, dice: random.Random) -> tuple[list[bytes], int]:
    lines = content.splitlines(keepends=True)
    return lines, dice.randrange(1, len(lines))


def flip_bytes(content: bytes, dice: random.Random, _: str) -> bytes:
    damaged = bytearray(content)
    for _ in range(dice.choice([1, 1, 3, 20])):
        damaged[place(content, dice)] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def overwrite_bytes(content: bytes, dice: random.Random, _: str) -> bytes:
    at, length = place(content, dice), dice.randrange(1, 30)
    return content[:at] + dice.randbytes(length) + content[at + length :]


def cut_out(content: bytes, dice: random.Random, _: str) -> bytes:
    at, length = place(content, dice), dice.choice([1, 2, 10, 100, 1000])
    return content[:at] + content[at + length :]


def cut_off(content: bytes, dice: random.Random, _: str) -> bytes:
    return content[: place(content, dice)]


def repeat(content: bytes, dice: random.Random, _: str) -> bytes:
    at, length = place(content, dice), dice.choice([1, 2, 10, 100, 1000])
    return content[: at + length] + content[at:]


def mix_encodings(content: bytes, dice: random.Random, encoding: str) -> bytes:
    """Some lines of the other encoding: files put together by hand are like this."""
    other = "utf-8" if encoding == "gb18030" else "gb18030"
    lines, first = line_places(content, dice)
    for i in range(first, min(first + dice.randrange(1, 4), len(lines))):
        lines[i] = lines[i].decode(encoding.removesuffix("-sig")).encode(other)
    return b"".join(lines)


def swap_columns(content: bytes, dice: random.Random, _: str) -> bytes:
    lines, _first = line_places(content, dice)
    for i in dice.sample(range(1, len(lines)), 5):
        fields = lines[i].split(b",")
        one, two = dice.randrange(len(fields)), dice.randrange(len(fields))
        fields[one], fields[two] = fields[two], fields[one]
        lines[i] = b",".join(fields)
    return b"".join(lines)


def swell_a_field(content: bytes, dice: random.Random, _: str) -> bytes:
    filler = dice.choice([b"x", b"7", b" ", b"\xd6\xd0", b'""', b"\n", b"a,"])
    lengths = [1_000] if filler == b"\n" else [1_000, 131_000, 131_100, 140_000, 300_000]
    at, length = place(content, dice), dice.choice(lengths)
    return content[:at] + filler * (length // len(filler)) + content[at:]


def insert_nuls(content: bytes, dice: random.Random, _: str) -> bytes:
    for _i in range(dice.choice([1, 5])):
        at = place(content, dice)
        content = content[:at] + b"\0" * dice.choice([1, 1, 50]) + content[at:]
    return content


def mix_line_ends(content: bytes, dice: random.Random, _: str) -> bytes:
    lines = content.splitlines(keepends=True)
    ends = dice.choice([[b"\r"], [b"\n"], [b"\r", b"\n"], [b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r\n"]])
    return b"".join(line.rstrip(b"\r\n") + dice.choice(ends) for line in lines)


def insert_signs(content: bytes, dice: random.Random, _: str) -> bytes:
    for _i in range(dice.choice([1, 2, 6])):
        at = place(content, dice)
        sign = dice.choice([b'"', b",", b"\n", b"\r", b"'", b"=", b"*", b"\t", b" ", b";", b"-", b"E+"])
        content = content[:at] + sign + content[at:]
    return content


def shuffle_lines(content: bytes, dice: random.Random, _: str) -> bytes:
    header, *lines = content.splitlines(keepends=True)
    dice.shuffle(lines)
    return b"".join([header, *lines])


def leave_little(content: bytes, dice: random.Random, _: str) -> bytes:
    header = content[: content.find(b"\n") + 1]
    little = [
        b"",
        b"\r\n",
        b"\xef\xbb\xbf",
        b"\0",
        header,
        header.strip(),
        header + b"\r\n",
        header + b"\0\0",
    ]
    return dice.choice([*little, header + header, header[: len(header) // 2], b"\r\n" + content])


DAMAGES: list[Damage] = [
    flip_bytes,
    flip_bytes,
    overwrite_bytes,
    cut_out,
    cut_off,
    repeat,
    mix_encodings,
    swap_columns,
    swell_a_field,
    insert_nuls,
    mix_line_ends,
    insert_signs,
    insert_signs,
    shuffle_lines,
    leave_little,
]


# The test


def enlarged(fixture: str) -> list[list[str]]:
    """A fixture's rows again and again, each time with other orders, its footer at the end."""
    header, *rows = fixture_rows(fixture)
    names = [name.strip() for name in header]
    order = names.index(next(n for n in ("主订单编号", "订单编号", "订单号", "Name") if n in names))
    footer = [rows.pop()] if re.match("合计|总计|Total", rows[-1][0]) else []
    more = []
    for number_ in range(ROWS // len(rows) + 1):
        for row in rows:
            again = list(row)
            again[order] = re.sub(r"(\d)(\D*)$", rf"\g<1>{number_}\2", row[order])
            more.append(again)
    return [header, *more[:ROWS], *footer]


def read_all(path: Path, family: Sequence[Preset]) -> pl.DataFrame:
    with TemporaryDirectory() as folder:
        frames = list(read_rows(open_source(path, family), ZONE, Path(folder)))
    return pl.concat(frames) if frames else pl.DataFrame(schema={"disposition": pl.String})


def read_or_refusal(path: Path, family: Sequence[Preset]) -> tuple[pl.DataFrame | None, str]:
    try:
        return read_all(path, family), ""
    except OrderFileError as error:
        return None, str(error)


def disagreements(
    rows: pl.DataFrame, content: bytes, encoding: str, family: Sequence[Preset]
) -> Iterator[str]:
    # in an otherwise regular file a field may have any length
    plain = PlainReading(content, encoding, family, 10**9)
    if rows.height != len(plain.rows):
        plain = PlainReading(content, encoding, family, FIELD_LIMIT)
    if rows.height != len(plain.rows):
        yield f"{rows.height} rows read, {len(plain.rows)} seen"
        return
    for row in rows.filter(pl.col("disposition") == "accepted").to_dicts():
        said = plain.values(row["row_no"] - 1)
        for column, expected in said.items():
            value = row[column]
            is_near = value == expected
            if isinstance(value, Decimal) and expected is not None:
                is_near = abs(value - expected) <= Decimal("0.001" if column == "quantity" else "0.0001")
            if not is_near:
                yield f"row {row['row_no']}: {column} is {value!r}, should be {expected!r}"


@pytest.mark.parametrize("mutants", [len(DAMAGES), pytest.param(MUTANTS, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("case", "encoding"), FILES)
def test_damaged_files_are_refused_or_read_as_they_stand(
    tmp_path: Path, case: str, encoding: str, mutants: int
) -> None:
    preset, fixture, _, _, _ = CASES[case]
    family = load_family(preset)
    content = csv_text(enlarged(fixture)).encode(encoding)
    path = tmp_path / "orders.csv"
    accepted = refused = 0
    problems = []
    for mutant in range(mutants):
        damage = DAMAGES[mutant % len(DAMAGES)]
        damaged = damage(content, random.Random(f"{SEED} {case} {encoding} {mutant}"), encoding)
        path.write_bytes(damaged)
        rows, refusal = read_or_refusal(path, family)
        if rows is None:
            assert refusal.startswith(f"{path}: ")
            refused += 1
            continue
        dispositions = rows["disposition"].value_counts()
        assert set(dispositions["disposition"]) <= {"accepted", "unpaid", "rejected"}
        found = disagreements(rows, damaged, encoding.removesuffix("-sig"), family)
        problems += [f"{mutant} {damage.__name__}: {one}" for one in found]
        accepted += rows.filter(pl.col("disposition") == "accepted").height
    assert problems == []
    # most damage leaves most of the file readable
    assert refused < mutants // 3
    assert accepted > mutants * ROWS // 4


def packed(suffix: str, rows: list[list[str]], path: Path) -> bytes:
    text = csv_text(rows)
    if suffix in (".csv.gz", ".tsv.gz", ".txt.gz"):
        return gzip.compress(text.encode("gb18030"))
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("orders.csv", text.encode("gb18030"))
        return path.read_bytes()
    if suffix == ".xls":
        old = xlwt.Workbook(encoding="utf-8")
        page = old.add_sheet("orders")
        for i, row in enumerate(rows):
            for j, cell in enumerate(row):
                page.write(i, j, cell)
        old.save(str(path))
        return path.read_bytes()
    if suffix == ".xlsx":
        with xlsxwriter.Workbook(path, {"strings_to_formulas": False}) as book:
            sheet = book.add_worksheet()
            for i, row in enumerate(rows):
                sheet.write_row(i, 0, row)
    else:
        header, *lines = rows
        columns = {name: [line[i] for line in lines] for i, name in enumerate(header)}
        pl.DataFrame(columns).write_parquet(path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".csv.gz", ".txt.gz", ".zip", ".xlsx", ".xls", ".parquet"])
@pytest.mark.parametrize("damage", ["cut off", "flipped", "cut out"])
def test_damaged_archives_are_refused_or_read_whole(tmp_path: Path, suffix: str, damage: str) -> None:
    """Gzip, zip and workbooks have a check sum; Parquet and old workbooks have none, and may say anything."""
    family = load_family("jd")
    path = tmp_path / f"orders{suffix}"
    content = packed(suffix, enlarged("jd"), path)
    path.write_bytes(content)
    whole = read_all(path, family)
    assert whole.height == ROWS + 1
    refused = 0
    for mutant in range(PACKED_MUTANTS):
        dice = random.Random(f"{SEED} {suffix} {damage} {mutant}")
        at = dice.randrange(len(content))
        if damage == "cut off":
            damaged = content[:at]
        elif damage == "cut out":
            damaged = content[:at] + content[at + dice.randrange(1, 200) :]
        else:
            damaged = content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :]
        path.write_bytes(damaged)
        rows, refusal = read_or_refusal(path, family)
        if rows is None:
            assert refusal.startswith(f"{path}: ")
            refused += 1
            continue
        if suffix not in (".parquet", ".xls"):
            assert rows.equals(whole), f"mutant {mutant} is neither refused nor read whole"
    assert refused > 0 if damage == "flipped" else refused > PACKED_MUTANTS * 3 // 4
