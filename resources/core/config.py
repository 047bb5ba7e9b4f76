"""All settings, in one class: environment (`PIPELINE_`, nested with `__`) and `pipeline.toml`.

Each value says its unit, range and meaning; a wrong one is refused at start with the variable's
name and what would be right (`load_settings`). Secrets are `SecretStr`. No other module reads the
environment.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from resources.core.errors import UsageError

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PREFIX = "PIPELINE_"
DAY_S = 86_400.0


def _host_and_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be host:port, such as 127.0.0.1:8080")
    return value


_MAIL = re.compile(r"[!-~]{1,64}@[A-Za-z0-9.-]{1,253}")
_PAGE = re.compile(r"https?://[!-'*-~]{1,300}")


def _contact(value: str) -> str:
    """What goes into a header of every request must not bring another header with it."""
    if _MAIL.fullmatch(value) is None and _PAGE.fullmatch(value) is None:
        raise ValueError("must be an e-mail address, or a URL that begins with https://")
    return value


def _words(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError(f"{value!r} is no network; write it as 10.0.0.0/8") from None
    return value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Networks = Annotated[
    tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_words)
]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_words)]
PROVIDERS = ("pdl", "wikidata", "rdap")


def _provider(value: str) -> str:
    if value not in PROVIDERS:
        raise ValueError(f"{value!r} is no provider; there are: {', '.join(PROVIDERS)}")
    return value


Chain = Annotated[
    tuple[Annotated[str, AfterValidator(_provider)], ...], NoDecode, BeforeValidator(_words)
]
Ports = Annotated[
    tuple[Annotated[int, Field(ge=1, le=65535)], ...], NoDecode, BeforeValidator(_words)
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FetchSettings(_Section):
    """How pages and provider answers are fetched."""

    connect_to: Annotated[str, AfterValidator(_host_and_port)] | None = Field(
        None,
        description="host:port that every connection for pages and providers goes to instead, "
        "in plain HTTP, with the Host header kept. Unset: the internet.",
    )
    allow_networks: Networks = Field(
        (), description="Special-purpose networks that may be connected to all the same, by comma."
    )
    ports: Ports = Field(
        (80, 443), description="Ports that pages and providers may be fetched from, by comma."
    )
    contact: Annotated[str, AfterValidator(_contact)] | None = Field(
        None,
        description="E-mail address or URL put into the User-Agent, so that sites can reach you.",
    )
    concurrency: int = Field(64, ge=1, le=1024, description="Domains scraped at a time by one run.")
    connections_per_host: int = Field(4, ge=1, le=32, description="Connections to one host.")
    extractors: int = Field(
        0, ge=0, le=64, description="Processes that extract pages, per run; 0: one per core."
    )
    pages_per_site: int = Field(
        6, ge=1, le=50, description="Pages fetched per site, home included."
    )
    connect_timeout: float = Field(10, gt=0, le=120, description="Seconds to set up a connection.")
    read_timeout: float = Field(15, gt=0, le=300, description="Seconds between two pieces of data.")
    total_timeout: float = Field(30, gt=0, le=600, description="Seconds for one whole call.")
    domain_timeout: float = Field(
        150, gt=0, le=3600, description="Seconds for one domain in a run."
    )
    max_body_bytes: int = Field(
        5_000_000,
        ge=1_000,
        le=100_000_000,
        description="Largest page taken, decompressed, in bytes.",
    )
    max_redirects: int = Field(5, ge=0, le=20, description="Redirects followed for one page.")
    attempts: int = Field(3, ge=1, le=10, description="Tries of one call within a round.")
    control_names: Words = Field(
        ("iana.org", "wikipedia.org", "cloudflare.com"),
        description="Names, by comma, that resolve wherever the internet can be reached. When a "
        "name is not found and none of these is either, the fault is ours, not the site's.",
    )
    robots_ttl: float = Field(DAY_S, ge=0, description="Seconds a robots.txt is kept.")


class ProviderSettings(_Section):
    """One provider: where it is and how we are known to it."""

    base_url: str | None = Field(None, description="Address instead of the provider's public one.")
    api_key: SecretStr | None = Field(
        None, description="Key; a paid provider without one is left out."
    )
    is_required: bool | None = Field(
        None,
        description="True: a domain waits until this provider has answered. "
        "Default: true for paid providers, false for the others.",
    )
    concurrency: int = Field(
        8, ge=1, le=256, description="Calls to it at a time, by all processes together."
    )
    rate: float = Field(
        10, gt=0, le=10_000, description="Calls a second to it, by all processes together."
    )
    burst: float = Field(
        20, ge=1, le=10_000, description="Calls that may be made at once after a pause."
    )


class ProvidersSettings(_Section):
    """The providers by name."""

    pdl: ProviderSettings = Field(ProviderSettings(), description="People Data Labs (paid).")
    wikidata: ProviderSettings = Field(
        ProviderSettings(concurrency=2, rate=5, burst=5), description="Wikidata SPARQL (no key)."
    )
    rdap: ProviderSettings = Field(
        ProviderSettings(rate=200, burst=200),
        description="RDAP registries (no key); rate, burst and concurrency hold for each registry.",
    )


class Settings(BaseSettings):
    """Every setting of the project."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        # A limit that is "not a number" is never exceeded: --max-credits nan would mean no limit.
        allow_inf_nan=False,
        toml_file=None,
    )

    home: Path = Field(
        PROJECT_ROOT / "var", description="Folder that holds all state. Made absolute at start."
    )
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the ledger. Default: SQLite at HOME/ledger.db."
    )
    batch_size: int = Field(50, ge=1, le=10_000, description="Domains per batch (partition).")
    batch_timeout: float = Field(
        300,
        gt=0,
        description="Seconds of work on one batch, per batch_size domains; what is left waits.",
    )
    phase_timeout: float = Field(
        3600, gt=0, description="Seconds of work in one step; what is left waits for the next run."
    )
    max_retries: int = Field(3, ge=0, le=20, description="More rounds of a domain within one run.")
    max_rounds: int = Field(8, ge=1, le=100, description="Rounds of a domain over all runs.")
    retry_backoff_base: float = Field(
        60, ge=0, le=3600, description="Seconds before the second round; doubles with each one."
    )
    checkpoint_interval: int = Field(
        100, ge=1, le=10_000, description="Most results that one commit may hold."
    )
    enable_auto_recovery: bool = Field(
        True, description="False: unfinished batches are reported, and not run again by themselves."
    )
    circuit_breaker_threshold: int = Field(
        5, ge=1, le=1000, description="Failures in a row that open a breaker."
    )
    circuit_breaker_timeout: float = Field(
        300,
        gt=0,
        le=86_400,
        description="Seconds a breaker stays open before one probe; doubles with each failed one.",
    )
    circuit_breaker_window: float = Field(
        60, gt=0, le=3600, description="Seconds over which a breaker's failure rate is counted."
    )
    circuit_breaker_failure_rate: float = Field(
        0.5, gt=0, le=1, description="Share of failed calls in the window that opens a breaker."
    )
    circuit_breaker_minimum_calls: int = Field(
        20, ge=1, description="Calls in the window before their failure rate counts."
    )
    stuck_after: float = Field(
        1800,
        ge=5,
        description="Seconds without a committed state, call or event before a run counts as "
        "stuck; counted from the end of what it waits for on purpose.",
    )
    recovery_interval: float = Field(
        300, ge=1, description="Seconds between two looks for stuck runs."
    )
    heal_interval: float = Field(
        60, ge=1, description="Seconds between two looks for unfinished batches."
    )
    inbox: str | None = Field(
        None,
        description="Folder or fsspec address (s3://bucket/in) whose files are taken in as lists. "
        "Unset: HOME/inbox.",
    )
    alert_urls: Secrets = Field(
        (), description="Where alerts go, by comma: Apprise URLs such as slack://… or mailto://…."
    )
    alert_allow_networks: Networks = Field(
        (),
        description="Special-purpose networks, by comma, that the names in PIPELINE_ALERT_URLS may "
        "lead to, or that of a proxy. An address that stands there itself needs no opening.",
    )
    alert_link: str = Field(
        "http://127.0.0.1:3000", description="Address of Dagster's UI, as alerts name it."
    )
    alert_interval: float = Field(
        1800, ge=0, description="Seconds between two messages about the same kind of trouble."
    )
    breaker_alert_after: float = Field(
        900, ge=0, description="Seconds a breaker is open before an alert is sent."
    )
    lease: float = Field(
        60, ge=3, le=3600, description="Seconds a worker's claims last without a beat."
    )
    refresh_after: float = Field(
        30 * DAY_S, ge=0, description="Seconds after which a settled domain is stale."
    )
    max_credits: float | None = Field(
        None, ge=0, description="Most credits one run may spend at paid providers. Unset: no limit."
    )
    chain: Chain = Field(
        ("pdl", "wikidata", "rdap"), description="Order in which providers are asked, by comma."
    )
    wanted_fields: Words = Field(
        (),
        description="Profile fields, by comma: once filled, no further provider is asked. "
        "Empty: all are asked.",
    )
    fetch: FetchSettings = Field(FetchSettings(), description="Fetching.")
    providers: ProvidersSettings = Field(ProvidersSettings(), description="Providers.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, toml_file=_toml_file())
        return init_settings, env_settings, toml

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger, with its password: never log it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'ledger.db'}"

    def secrets(self) -> list[str]:
        """All secret values, for the redaction filter."""
        sections = (self.providers.pdl, self.providers.wikidata, self.providers.rdap)
        found = [section.api_key.get_secret_value() for section in sections if section.api_key]
        found += [url.get_secret_value() for url in self.alert_urls]
        if self.database_url is not None:
            _, _, rest = self.database_url.get_secret_value().partition("://")
            credentials, at, _ = rest.rpartition("@")
            if at:
                found.append(credentials.partition(":")[2])
        return found

    @property
    def is_live(self) -> bool:
        """Whether calls go to the internet, and not to one address that plays it."""
        return self.fetch.connect_to is None

    @property
    def internet(self) -> str:
        """Which internet a ledger's facts come from; a ledger never mixes two."""
        return "live" if self.is_live else "connect_to"


def _toml_file() -> Path:
    return Path(os.environ.get(PREFIX + "CONFIG", PROJECT_ROOT / "pipeline.toml"))


def _variable(location: tuple[int | str, ...]) -> str:
    return PREFIX + "__".join(str(part).upper() for part in location if isinstance(part, str))


def _unknown_variables() -> list[str]:
    """Misspelt variables: pydantic-settings ignores what it does not know in the environment."""
    known = {"CONFIG"}
    for name, info in Settings.model_fields.items():
        known.add(name.upper())
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            known.add(name.upper() + "__")
    return sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX)
        and name[len(PREFIX) :] not in known
        and not any(k.endswith("__") and name[len(PREFIX) :].startswith(k) for k in known)
    )


def load_settings(**overrides: Any) -> Settings:
    """Read and check all settings; `home` comes back absolute.

    Args:
        overrides: Values that go before the environment and `pipeline.toml`.

    Raises:
        UsageError: a value is wrong or a name unknown; says which and what would be right.
    """
    unknown = _unknown_variables()
    if unknown:
        raise UsageError(
            f"Unknown setting {', '.join(unknown)}: no such variable; "
            "`pipeline doctor --settings` lists all of them."
        )
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise UsageError(_explain(error)) from None
    except (SettingsError, ValueError) as error:
        where = f"the environment or {_toml_file()}"
        raise UsageError(f"Settings cannot be read from {where}: {error}.") from None
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def _explain(error: ValidationError) -> str:
    """One sentence a problem: variable, value (secrets excepted) and what would be right."""
    sentences = []
    for problem in error.errors():
        location = problem["loc"]
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            sentences.append(f"{_variable(location)}: no such setting.")
            continue
        secret = any("key" in str(part) or "url" in str(part) for part in location)
        value = "" if secret else f" (it is {str(problem['input'])[:80]!r})"
        sentences.append(f"Setting {_variable(location)} is wrong{value}: {message}.")
    return " ".join(sentences)
