"""``shop.yaml`` as a typed model: every decision that is the shop's own, with its default and why.

Belongs here: reading and checking the settings. Doesn't belong here: what the settings mean for a table
(that is the stage's SQL) and anything about Dagster.
"""

import difflib
import os
import re
from collections.abc import Hashable
from datetime import date, time
from decimal import Decimal
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from rfm_pipeline.errors import LedgerError, ShopFileError

CHURN_CLASSES = ("A", "B", "C")
ALL_CLASSES = "all"
"""In the place of a class: all three together."""
RECALL, HOLDOUT = "recall", "holdout"
ARMS = (RECALL, HOLDOUT)
"""The arms of a recall list: contacted, and left alone to compare with."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Section(BaseModel):
    """A section of ``shop.yaml``: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _monday(day: date) -> date:
    if day.weekday() != 0:
        raise ValueError(f"{day} is a {day:%A}; a week is named by its Monday")
    return day


Monday = Annotated[date, Field(description="a Monday")]


class ShopSection(Section):
    """Who the shop is and which weeks are looked at."""

    name: str = Field(min_length=1)
    timezone: str = "Asia/Shanghai"
    currency: str = "CNY"
    first_week: Monday
    last_week: Monday | None = None

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"{value!r} is no IANA time zone; write one such as Asia/Shanghai or Europe/London"
            ) from None
        return value

    @field_validator("first_week", "last_week")
    @classmethod
    def _is_monday(cls, value: date | None) -> date | None:
        return None if value is None else _monday(value)

    @model_validator(mode="after")
    def _in_order(self) -> "ShopSection":
        if self.last_week is not None and self.last_week < self.first_week:
            raise ValueError(f"last_week {self.last_week} lies before first_week {self.first_week}")
        return self


class DatabaseSection(Section):
    """The shop's own database as the source of its orders: a table or query, read by what changed."""

    url_env: str = Field(default="RFM_ORDERS_URL", pattern=_VARIABLE)
    table: str | None = None
    query: str | None = None
    columns: dict[str, str] = {}
    updated_at: str = "updated_at"
    overlap_minutes: int = Field(default=60, ge=0)
    batch_rows: int = Field(default=50_000, ge=1)

    @model_validator(mode="after")
    def _exactly_one(self) -> "DatabaseSection":
        if (self.table is None) == (self.query is None):
            raise ValueError("write either table: or query:")
        return self


class DatasetSection(Section):
    """A Parquet dataset of order lines in the canonical columns, read where it is, by Spark."""

    url: str = Field(min_length=1)


class OrdersSection(Section):
    """Where the orders come from and how their columns are read."""

    kind: Literal["files", "database", "parquet"] = "files"
    preset: str = "standard"
    encoding: str | None = None
    delimiter: Literal[",", ";", "\t", "|"] | None = None
    not_products: tuple[str, ...] = ()
    currency: str | None = Field(default=None, pattern=r"^(auto|[A-Z]{3})$")
    date_order: Literal["told", "iso", "month_first", "day_first"] = "told"
    paid_on_delivery: tuple[str, ...] = ()
    max_unpacked_gb: float = Field(default=8, gt=0)
    max_workbook_gb: float = Field(default=1, gt=0)
    database: DatabaseSection | None = None
    dataset: DatasetSection | None = None

    @model_validator(mode="after")
    def _source_is_named(self) -> "OrdersSection":
        if (self.kind == "database") != (self.database is not None):
            raise ValueError("kind: database goes with a section database:, kind: files without one")
        if (self.kind == "parquet") != (self.dataset is not None):
            raise ValueError("kind: parquet goes with a section dataset:, other kinds without one")
        return self


class SparkSection(Section):
    """The Spark that makes the big tables, and where their files lie."""

    master: str = Field(default="local[*]", min_length=1)
    tables: str | None = None
    conf: dict[str, str] = {}

    @field_validator("conf", mode="before")
    @classmethod
    def _spelled_as_spark_does(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        options = {}
        for name, setting in value.items():
            if not str(name).startswith("spark."):
                raise ValueError(f"{name!r} is no setting of Spark's: they begin with spark.")
            if re.search("secret|password|token|access.key", str(name)):
                raise ValueError(
                    f"{name} doesn't belong into this file: give credentials by the environment or the "
                    "machine's role, see docs/how-to/spark.md"
                )
            options[name] = str(setting).lower() if isinstance(setting, bool) else str(setting)
        return options


class WarehouseSection(Section):
    """Where the derived tables live and how much of the machine they may use."""

    engine: Literal["duckdb", "spark"] = "duckdb"
    memory_limit: str = Field(default="4GB", pattern=r"^\d+(\.\d+)?\s*([KMGT]i?B|%)$")
    threads: int | None = Field(default=None, ge=1)
    lock_wait_seconds: float = Field(default=60, ge=0)
    spark: SparkSection = SparkSection()


class LedgerSection(Section):
    """Where the ledger lives: a file in the home, or PostgreSQL."""

    url_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")


class Threshold(Section):
    """High M begins at a fixed amount, or at a quantile of the week's customers: exactly one of the two."""

    amount: Decimal | None = None
    quantile: Decimal | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _exactly_one(self) -> "Threshold":
        if (self.amount is None) == (self.quantile is None):
            raise ValueError("write either {amount: 2000} or {quantile: 0.75}")
        return self


def _amount_or_quantile(value: Any) -> Any:
    """Lets ``monetary_high: 2000`` stand for ``{amount: 2000}``."""
    return {"amount": value} if isinstance(value, int | float | str | Decimal) else value


class BestsellerRules(Section):
    """What makes a bestseller."""

    top: int = Field(default=20, ge=1)


class RulesSection(Section):
    """The thresholds of the diagnosis. Those in force are stored with every week."""

    frequency_high: int = Field(default=3, ge=1)
    monetary_high: Annotated[Threshold, BeforeValidator(_amount_or_quantile)] = Threshold(
        quantile=Decimal("0.75")
    )
    dormant_after_days: int = Field(default=90, ge=1)
    lapsing_after_days: int = Field(default=60, ge=1)
    bestsellers: BestsellerRules = BestsellerRules()
    product_window_days: int = Field(default=365, ge=7)
    low_price_quantile: Decimal = Field(default=Decimal("0.25"), ge=0, le=1)
    clearance_share: Decimal = Field(default=Decimal("0.5"), gt=0, le=1)
    max_order_gap_days: int = Field(default=3, ge=0)


class Words(Section):
    """The messages for one class, a Jinja template a channel."""

    sms: str
    email_subject: str
    email_body: str
    wecom: str


@cache
def default_messages_text() -> str:
    """The shipped messages, as the YAML text that ``rfm init`` writes into a new ``shop.yaml``."""
    return resources.files("rfm_pipeline.home").joinpath("default_messages.yaml").read_text("utf-8")


def _default_messages() -> dict[str, Words]:
    return {key: Words(**words) for key, words in yaml.safe_load(default_messages_text()).items()}


def _all_different(value: dict[str, str]) -> dict[str, str]:
    if len(set(value.values())) < len(value):
        raise ValueError("each class needs a tag of its own: the tag alone says what is on whom")
    return value


def _one_per_class(value: dict[str, Any]) -> dict[str, Any]:
    if set(value) != set(CHURN_CLASSES):
        raise ValueError("write one entry for each of A, B and C")
    return value


class SendingHours(Section):
    """When messages may be sent, on the shop's clock."""

    begins: time = time(9)
    ends: time = time(21)

    @model_validator(mode="after")
    def _in_order(self) -> "SendingHours":
        if self.begins >= self.ends:
            raise ValueError(f"begins {self.begins:%H:%M} must lie before ends {self.ends:%H:%M}")
        return self


class RecallSection(Section):
    """Who is recalled, with which offer, and how much may happen in one week."""

    weekly_capacity: int = Field(default=500, ge=0)
    holdout_share: Decimal = Field(default=Decimal("0.1"), ge=0, lt=1)
    cooldown_days: int = Field(default=60, ge=0)
    campaign_days: int = Field(default=30, ge=1)
    max_changes: int = Field(default=1000, ge=0)
    allow_past_weeks: bool = False
    holdout_contacts_known: int = Field(default=0, ge=0)
    worklist_names: Literal["masked", "full", "none"] = "masked"
    sending_hours: SendingHours = SendingHours()
    message_rules: Literal["china", "none"] = "china"
    offers: Annotated[dict[str, str], BeforeValidator(_one_per_class)] = {
        "A": "100元专属礼券+新品优先选购权",
        "B": "会员专享特惠场，折上再9折",
        "C": "回访礼",
    }
    tags: Annotated[dict[str, str], BeforeValidator(_one_per_class), AfterValidator(_all_different)] = {
        "A": "静默召回-A类爆款客",
        "B": "静默召回-B类特惠客",
        "C": "静默召回-C类待唤醒",
    }
    words: Annotated[dict[str, Words], BeforeValidator(_one_per_class)] = Field(
        default_factory=_default_messages
    )

    @model_validator(mode="before")
    @classmethod
    def _without_sink(cls, given: Any) -> Any:
        """Passes over ``sink: local``, which homes made before version 0.2 hold and which never chose."""
        if isinstance(given, dict) and given.get("sink") == "local":
            return {name: value for name, value in given.items() if name != "sink"}
        return given


class WecomSection(Section):
    """The WeCom connection. Off by default: the local sink writes the tags to files instead.

    The secrets are never written here: these are the names of the environment variables that hold them.
    """

    enabled: bool = False
    confirmed: bool = False
    corp_id_env: str = Field(default="RFM_WECOM_CORP_ID", pattern=_VARIABLE)
    secret_env: str = Field(default="RFM_WECOM_SECRET", pattern=_VARIABLE)
    robot_key_env: str = Field(default="RFM_WECOM_ROBOT_KEY", pattern=_VARIABLE)
    tag_group: str = Field(default="静默召回", min_length=1, max_length=30)
    staff: tuple[str, ...] = ()
    requests_per_second: float | None = Field(default=5, gt=0)
    in_flight: int = Field(default=5, ge=1, le=5)
    timeout_seconds: float = Field(default=10, gt=0)
    base_url: str = "https://qyapi.weixin.qq.com/cgi-bin"

    @field_validator("base_url")
    @classmethod
    def _is_private(cls, value: str) -> str:
        url = urlsplit(value)
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOOPBACK):
            raise ValueError("the secret may only travel over https:// (or to this machine itself)")
        return value.rstrip("/")


class ReviewSection(Section):
    """When an answer counts, what harm would matter, and when silence is taken for silence."""

    response_days: int = Field(default=30, ge=1)
    harm_margin: Decimal = Field(default=Decimal("0.01"), gt=0, lt=1)
    dormant_share: Decimal = Field(default=Decimal("0.5"), gt=0, lt=1)


class ShopFile(Section):
    """The whole of ``shop.yaml``."""

    shop: ShopSection
    orders: OrdersSection = OrdersSection()
    warehouse: WarehouseSection = WarehouseSection()
    ledger: LedgerSection = LedgerSection()
    rules: RulesSection = RulesSection()
    recall: RecallSection = RecallSection()
    wecom: WecomSection = WecomSection()
    review: ReviewSection = ReviewSection()

    @model_validator(mode="after")
    def _spark_reads_datasets(self) -> "ShopFile":
        if self.orders.kind == "parquet" and self.warehouse.engine != "spark":
            raise ValueError(
                "orders.kind: parquet is read by Spark: set warehouse.engine: spark, or drop the files into "
                "orders/ with kind: files"
            )
        return self


class Shop(ShopFile):
    """A shop's settings together with its home folder.

    Attributes:
        home: The folder that holds ``shop.yaml``, ``orders/`` and everything the program makes.
    """

    home: Path

    @property
    def zone(self) -> ZoneInfo:
        """The shop's time zone: every timestamp in the warehouse is local to it."""
        return ZoneInfo(self.shop.timezone)

    @property
    def orders_dir(self) -> Path:
        """The landing folder of order exports."""
        return self.home / "orders"

    @property
    def suppression_dir(self) -> Path:
        """Who opted out, as CSV files or workbooks; optional."""
        return self.home / "suppression"

    @property
    def contacts_dir(self) -> Path:
        """How customers can be reached, as CSV files or workbooks; optional."""
        return self.home / "contacts"

    @property
    def outreach_dir(self) -> Path:
        """What came of contacting customers, as CSV files or filled-in work lists; optional."""
        return self.home / "outreach"

    @property
    def warehouse_path(self) -> Path:
        """The DuckDB file: derived from the orders, may be deleted at any time.

        Each engine has its own, so that changing the engine leaves nothing half-true: the other one's is
        made from the orders by the next run.
        """
        if self.warehouse.engine == "spark":
            # with a dataset order_lines are kept elsewhere, and so is what is known of them
            name = "catalog" if self.orders.dataset is None else "dataset_catalog"
            return self.home / "warehouse_spark" / f"{name}.duckdb"
        return self.home / "warehouse.duckdb"

    @property
    def spark_tables(self) -> str:
        """Where the engine spark keeps its tables' files: a folder, or a URL that Spark knows."""
        return self._place(self.warehouse.spark.tables or "warehouse_spark/tables")

    @property
    def dataset_url(self) -> str:
        """Where the Parquet dataset of order lines is: a folder, or a URL that Spark knows."""
        assert self.orders.dataset is not None
        return self._place(self.orders.dataset.url)

    def _place(self, place: str) -> str:
        return place.rstrip("/") if "://" in place else str((self.home / place).resolve())

    @property
    def ledger_url(self) -> str:
        """Where the ledger lives, as an SQLAlchemy URL, with its password if it has one.

        Raises:
            LedgerError: If the environment variable that is to hold it doesn't.
        """
        if self.ledger.url_env is None:
            return f"sqlite:///{self.home / 'ledger.sqlite'}"
        return ledger_url_of(self.ledger.url_env)

    @property
    def out_dir(self) -> Path:
        """What people open: tags, work lists, reports."""
        return self.home / "out"

    @property
    def worklists_dir(self) -> Path:
        """The operations team's work lists, a workbook a week, and the platforms' files beside them."""
        return self.out_dir / "worklists"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own storage for this shop, so that command-line runs show in the UI."""
        return self.home / ".dagster"


def ledger_url_of(variable: str) -> str:
    """The URL of a ledger in PostgreSQL that an environment variable holds.

    Raises:
        LedgerError: If it holds none.
    """
    from rfm_pipeline.storage.database_urls import POSTGRESQL_SCHEMES, url_from_environment

    url = url_from_environment(
        variable, whose="the ledger", setting="ledger.url_env", schemes=POSTGRESQL_SCHEMES, error=LedgerError
    )
    return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def home_from_environment() -> Path:
    """``RFM_HOME`` if set, else ``data`` below the current folder."""
    return Path(os.environ.get("RFM_HOME", "data")).expanduser().resolve()


class _UniqueKeyLoader(yaml.SafeLoader):
    """A YAML loader for which a key that stands twice is an error instead of a silent overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if not isinstance(key, Hashable):
                continue  # YAML's own reader says what is wrong with it
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


@lru_cache(maxsize=1)
def _composed(text: str) -> yaml.Node | None:
    """The nodes of a YAML text; many lines of one text are asked for."""
    return yaml.compose(text, Loader=yaml.SafeLoader)


def line_of(text: str, path: tuple[int | str, ...]) -> int | None:
    """The 1-based line on which a key of the YAML text stands, or None if it isn't written there."""
    node = _composed(text)
    line = None
    for part in path:
        if not isinstance(node, yaml.MappingNode):
            break
        for key_node, value_node in node.value:
            if key_node.value == str(part):
                line, node = key_node.start_mark.line + 1, value_node
                break
        else:
            break
    return line


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed beside the last part of ``path``."""
    model: Any = ShopFile
    for part in path[:-1]:
        field = model.model_fields.get(str(part)) if hasattr(model, "model_fields") else None
        if field is None:
            # recall.words.A.sms: the mapping's values are the model
            model = Words if "words" in path else None
            break
        model = field.annotation
    return list(getattr(model, "model_fields", {}))


def _explain(error: ValidationError, text: str, path: Path) -> str:
    """One line a problem: where it stands, what is wrong, what was expected."""
    lines = []
    for problem in error.errors():
        place = tuple(part for part in problem["loc"] if not str(part).startswith("function-"))
        name = ".".join(str(part) for part in place)
        line = line_of(text, place)
        where = f"{path}, line {line}" if line else str(path)
        if problem["type"] == "extra_forbidden":
            known = _known_keys(place)
            near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            lines.append(f"{where}: unknown key {name!r}; {hint}")
        elif problem["type"] == "missing":
            lines.append(f"{where}: {name!r} is missing")
        else:
            message = re.sub(r"^Value error, ", "", problem["msg"])
            lines.append(f"{where}: {name}: {message}")
    return "\n".join(lines)


def load_shop(home: Path) -> Shop:
    """Reads and checks ``shop.yaml``.

    Args:
        home: The shop's folder.

    Raises:
        ShopFileError: If the file is missing, no YAML, or says something that can't be; the message
            names file, line, key and what was expected.
    """
    home = Path(home).expanduser().resolve()
    path = home / "shop.yaml"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ShopFileError(
            f"{path} is missing. Make a home with `rfm init {home}`, or name another with --home or RFM_HOME."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ShopFileError(f"{path} can't be read as UTF-8 text: {error}") from None
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ShopFileError(f"{path} is no valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ShopFileError(f"{path} must hold sections such as `shop:` and `orders:`")
    try:
        settings = ShopFile.model_validate(content)
    except ValidationError as error:
        raise ShopFileError(_explain(error, text, path)) from None
    return Shop(home=home, **{name: getattr(settings, name) for name in ShopFile.model_fields})
