"""Owns the configured values: frozen, complete, with the defaults that hold when nobody says otherwise."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Literal

from respan_proxy.config.balancing import Breaker, Group
from respan_proxy.config.exports import Export
from respan_proxy.config.faults import Fault
from respan_proxy.config.providers import CallerKeys, Provider, Timeouts
from respan_proxy.dialects import catalog
from respan_proxy.dialects.profiles import Rule, profile_of
from respan_proxy.dialects.request import Profile
from respan_proxy.wire.remembered import remembered

Content = Literal["full", "errors", "none"]
Durability = Literal["normal", "full"]
OnLoss = Literal["warn", "silent", "error"]
ParamPrecedence = Literal["respan_params", "top_level"]


# Asked for the Host of every keyless request: 10 us the first time, nothing after it.
@remembered(256)
def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine: `localhost`, what ends in `.localhost` (RFC 6761), 127.0.0.0/8, `::1`."""
    name = host.strip("[]").removesuffix(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Listen:
    """Where callers reach us: `host` and `port`, or the `path` of a unix socket."""

    host: str = "127.0.0.1"
    port: int = 7776
    path: str | None = None

    @property
    def is_loopback(self) -> bool:
        """A unix socket counts: only who may open the file gets in."""
        return self.path is not None or is_loopback(self.host)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much a key, or a customer, may take. None: as much as it likes. Days are those of UTC."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_usd_per_day: float | None = None

    def __bool__(self) -> bool:
        return self != ANYTHING

    def __str__(self) -> str:
        limits = (
            (self.requests_per_minute, "{} requests a minute"),
            (self.tokens_per_minute, "{} tokens a minute"),
            (self.max_usd_per_day, "${:g} a day"),
        )
        return ", ".join(words.format(limit) for limit, words in limits if limit is not None)


ANYTHING = Allowance()


@dataclass(frozen=True, slots=True)
class Key:
    """One of our own keys. Only its digest is kept; `id` is short, stable across restarts, and safe to show."""

    name: str
    digest: str = field(repr=False)
    environment: str | None = None
    is_admin: bool = False
    allowance: Allowance = ANYTHING

    @property
    def id(self) -> str:
        return self.digest.removeprefix(DIGEST_PREFIX)[:8]

    def fits(self, presented: str) -> bool:
        """Whether `presented`, itself a digest, is this key's; takes the same time whatever the answer."""
        return hmac.compare_digest(self.digest, presented)


DIGEST_PREFIX = "sha256$"


def digest(key: str) -> str:
    """`sha256$` and the hex digest. Keys are long and random, so that no slow hash is needed (Respan's own are `sha512$$hex`)."""
    return DIGEST_PREFIX + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    request_bytes: int = 64_000_000
    header_bytes: int = 65_536
    upload_s: float = 120.0
    shutdown_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Spans that apps send: where they may beside `Config.listen`, how large a request of them is, in bytes, and whether one that names
    no call is recognised by its likeness to it."""

    body_bytes: int = 64_000_000
    listen: Listen | None = None
    match_by_likeness: bool = True


@dataclass(frozen=True, slots=True)
class Budgets:
    """What all calls together may cost. Zero is no limit."""

    max_usd_per_day: float = 0.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Zero keeps for ever."""

    age_days: float = 30.0
    size_bytes: int = 2_000_000_000


@dataclass(frozen=True, slots=True)
class State:
    """What is kept for clients between their calls. Zero keeps for ever.

    30 days is how long OpenAI keeps responses; 256 MB are some 100,000 turns of text.
    """

    age_days: float = 30.0
    size_bytes: int = 256_000_000


@dataclass(frozen=True, slots=True)
class Images:
    """What is fetched from the web for a provider that takes images as bytes alone.

    20 MB is what Gemini's documentation allows a request with inline data; 10 s what a person waits for a page.
    """

    fetch: bool = True
    max_bytes: int = 20_000_000
    timeout_s: float = 10.0
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a target is tried again before the first byte, and how long we wait; times in seconds.

    3 and 0.2 s are the numbers of Respan's documentation. No wait is longer than `max_wait_s` (8 s is the longest of OpenAI's and
    Anthropic's SDKs), nor all of a target's together than `budget_s`: a provider that asks for more is believed, and its answer handed on.
    """

    enabled: bool = True
    num_retries: int = 3
    retry_after: float = 0.2
    max_wait_s: float = 8.0
    budget_s: float = 20.0


@dataclass(frozen=True, slots=True)
class ModelRules:
    """What holds for calls that ask for a model whose name fits `glob`, where the request itself says nothing. Times in seconds."""

    glob: str = "*"
    fallback_models: tuple[str, ...] = ()
    first_token_timeout: float | None = None
    simulate: Fault | None = None
    hedge_after_ms: float | None = None


NO_RULES = ModelRules()


@dataclass(frozen=True, slots=True)
class Cache:
    """Answers kept in memory for requests that ask again; each request may say otherwise (`cache_enabled`, `cache_ttl`, `cache_options`).

    30 days is what Respan's page on caching says. 64 MB hold some ten thousand chat answers of a page each.
    """

    enabled: bool = False
    ttl_s: float = 2_592_000.0
    max_bytes: int = 64_000_000
    by_customer: bool = False
    by_model: bool = True


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults made on purpose, for people who test their own error handling."""

    per_request: bool = False


@dataclass(frozen=True, slots=True)
class Echo:
    """The built-in provider's manners."""

    pace_ms: float = 10.0


@dataclass(frozen=True, slots=True)
class Log:
    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


# More than any list of models that one program uses.
NAMES_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that was configured, checked and complete."""

    listen: Listen = Listen()
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    link_header: bool = True
    ask_usage: bool = True
    caller_keys: CallerKeys = "forward"
    default_model: str | None = None
    param_precedence: ParamPrecedence = "respan_params"
    on_loss: OnLoss = "warn"
    database: str = "respan-proxy.db"
    durability: Durability = "normal"
    content: Content = "full"
    body_bytes: int = 8_000_000
    queue_bytes: int = 64_000_000
    retention: Retention = Retention()
    state: State = State()
    limits: Limits = Limits()
    budgets: Budgets = Budgets()
    timeouts: Timeouts = field(default_factory=Timeouts)
    images: Images = Images()
    telemetry: Telemetry = Telemetry()
    retry: Retry = Retry()
    breaker: Breaker = field(default_factory=Breaker)
    cache: Cache = Cache()
    faults: Faults = Faults()
    echo: Echo = Echo()
    log: Log = Log()
    keys: tuple[Key, ...] = ()
    exports: tuple[Export, ...] = ()
    customers: Mapping[str, Allowance] = field(default_factory=dict)
    """By globs on `customer_identifier`; each customer has the whole of it."""
    models: Mapping[str, str] = field(default_factory=dict)
    routes: tuple[ModelRules, ...] = ()
    groups: Mapping[str, Group] = field(default_factory=dict)
    providers: Mapping[str, Provider] = field(default_factory=dict)
    dormant: Mapping[str, Provider] = field(default_factory=dict, repr=False, compare=False)
    """Providers that are known and not configured: there only for a request that brings what they lack."""
    profiles: tuple[Rule, ...] = ()
    """The user's own, which come after those we know."""
    warnings: tuple[str, ...] = ()
    # Twenty patterns are 6 us a request, of a hundred in all: remembered by name, and forgotten when callers invent too many.
    _serving: dict[str, tuple[tuple[Provider, ...], tuple[Provider, ...]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _profiles: dict[tuple[str, str], Profile] = field(default_factory=dict, init=False, repr=False, compare=False)

    def profile(self, provider: str, model: str) -> Profile:
        """What is known about a provider's model, the user's own rules included."""
        found = self._profiles.get((provider, model))
        if found is None:
            if len(self._profiles) >= NAMES_REMEMBERED:
                self._profiles.clear()
            found = self._profiles[provider, model] = profile_of(provider, model, self.profiles)
        return found

    def serving(self, model: str) -> tuple[tuple[Provider, ...], tuple[Provider, ...]]:
        """(the providers whose `models` name it, those whose family it belongs to), in the order of the configuration."""
        found = self._serving.get(model)
        if found is None:
            if len(self._serving) >= NAMES_REMEMBERED:
                self._serving.clear()
            named = tuple(provider for provider in self.providers.values() if model in provider.models)
            family = tuple(provider for provider in self.providers.values() if provider.families.match(model))
            found = self._serving[model] = (named, family)
        return found

    def rules(self, model: str | None) -> ModelRules:
        """What `[routes."GLOB"]` says of a model that is asked for: the first that fits."""
        if not self.routes or model is None:
            return NO_RULES
        return next((rules for rules in self.routes if fnmatchcase(model, rules.glob)), NO_RULES)

    def allowance(self, customer: str) -> Allowance:
        """What `[customers."GLOB"]` says of a customer: the first that fits."""
        return next((allowance for glob, allowance in self.customers.items() if fnmatchcase(customer, glob)), ANYTHING)

    @property
    def any_key(self) -> bool:
        """No keys of our own: any credential gets in, and may be forwarded to the provider whose form it has."""
        return not self.keys

    @property
    def has_provider_key(self) -> bool:
        """The first one ends the time of `echo` standing in for known models."""
        return any(provider.has_key for provider in self.providers.values())

    def provider(self, name: str) -> Provider | None:
        """A provider by its name or by an alias the catalogue knows (`azure`, `google`), in any case, `-` or `_`."""
        plain = name.strip().lower()
        for spelling in (plain, plain.replace("-", "_")):
            if found := self.providers.get(spelling) or self.providers.get(catalog.names().get(spelling, "")):
                return found
        return None
