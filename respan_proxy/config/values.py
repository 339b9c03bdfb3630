"""Owns the configured values: frozen, complete, with the defaults that hold when nobody says otherwise."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import quote

from respan_proxy.config.balancing import MAX_WAIT_S, Breaker, Group, Pick
from respan_proxy.config.exports import Export
from respan_proxy.config.faults import Fault
from respan_proxy.dialects import catalog
from respan_proxy.dialects.catalog import NOTHING, Globs
from respan_proxy.dialects.profiles import Rule, profile_of
from respan_proxy.dialects.request import Profile
from respan_proxy.errors import RequestRejected

Content = Literal["full", "errors", "none"]
Durability = Literal["normal", "full"]
CallerKeys = Literal["forward", "never"]
OnLoss = Literal["warn", "silent", "error"]
ParamPrecedence = Literal["respan_params", "top_level"]

# What a base URL may carry as its last segment although the endpoint's path brings a version of its own.
_VERSION = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?$")


# Asked for the Host of every keyless request: 10 us the first time, nothing after it.
@lru_cache(maxsize=256)
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

# More than any list of models that one program uses.
NAMES_REMEMBERED = 1024


def digest(key: str) -> str:
    """`sha256$` and the hex digest. Keys are long and random, so that no slow hash is needed (Respan's own are `sha512$$hex`)."""
    return DIGEST_PREFIX + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Auth:
    """How a secret travels: `header: prefix + secret`; no header means that none is sent."""

    header: str | None = "Authorization"
    prefix: str = "Bearer "

    @classmethod
    def named(cls, scheme: str) -> Auth:
        """From `bearer`, `none` or a header's name."""
        match scheme.lower():
            case "bearer":
                return cls()
            case "none":
                return cls(None, "")
            case _:
                return cls(scheme, "")

    def __str__(self) -> str:
        if self.header is None:
            return "none"
        return "bearer" if self.prefix else self.header


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Longest waits on a provider, in seconds; there is no total limit on a stream that is alive.

    600 s to the first byte is what the OpenAI and Anthropic SDKs allow a whole request; reasoning models stay silent for minutes.
    """

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    silence_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where a provider's wire differs from its dialect, or its doings from its likes'."""

    ask_usage: bool = True
    stores_responses: bool = False
    """It keeps Responses itself: what is stored there is asked for there."""
    counts_tokens: bool = True
    choiceless_chunks: bool = False
    typed_content: bool = False
    bare_names: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a reseller of a company's models changes of that company's body: members left out, members added, and where betas go."""

    omits: tuple[str, ...] = ()
    adds: Mapping[str, str] = field(default_factory=dict)
    betas: str = ""
    """The member that holds the list of the header `anthropic-beta`; empty: the header does."""

    def changes(self, members: Mapping[str, Any], betas: str | None) -> tuple[set[str], dict[str, Any]]:
        """(the members to remove, those to add) for a body with these members. What the caller wrote itself stays."""
        added: dict[str, Any] = dict(self.adds)
        if self.betas and betas:
            added[self.betas] = [beta.strip() for beta in betas.split(",") if beta.strip()]
        return set(self.omits), {name: value for name, value in added.items() if name not in members}


@dataclass(frozen=True, slots=True)
class Deployment:
    """One of several ways to the same provider: a key of its own, perhaps at a place of its own. Empty: as the provider has it.

    `models` are those it serves (empty: all), but for those in `exclude_models`; both are globs on the name that is sent.
    """

    name: str
    key: str | None = field(default=None, repr=False)
    base_url: str = ""
    api_version: str = ""
    weight: float = 1.0
    models: Globs = NOTHING
    exclude_models: Globs = NOTHING

    def serves(self, model: str | None) -> bool:
        if model is None:
            return True
        return (not self.models or self.models.match(model)) and not self.exclude_models.match(model)


@dataclass(frozen=True, slots=True)
class Provider:
    """A company's API, or a server of your own: where it is, what it speaks, how it knows us."""

    name: str
    base_url: str = ""
    dialects: tuple[str, ...] = ("openai.chat",)
    auth: Auth = Auth()
    key: str | None = field(default=None, repr=False)
    key_env: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trace_context: bool = False
    """It is told of what trace a call is a part. Others are told nothing of traces."""
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    timeouts: Timeouts = Timeouts()
    request_bytes: int = 64_000_000
    quirks: Quirks = Quirks()
    caller_keys: CallerKeys = "forward"
    key_pattern: Globs = NOTHING
    bearer_keys: Globs = NOTHING
    families: Globs = NOTHING
    models: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict)
    stream_paths: Mapping[str, str] = field(default_factory=dict)
    bodies: Mapping[str, Envelope] = field(default_factory=dict)
    """By the path that is asked for in the provider's dialect: `/v1/messages`."""
    dialect_models: Mapping[str, Globs] = field(default_factory=dict)
    """Where it speaks several dialects, but each with some of its models only."""
    auth_also: str = ""
    """A second header that carries the key."""
    token_command: tuple[str, ...] = field(default=(), repr=False)
    """A program and its arguments that print a bearer token."""
    key_form: str = ""
    """What its key must be, where people bring something else."""
    version: str = ""
    api_version: str = ""
    project: str = ""
    location: str = ""
    deployments: tuple[Deployment, ...] = ()
    """Where there are several keys or places: all of them; a `key` beside them is one too, named `default`."""
    pick: Pick = "weighted"
    """Which of the deployments is asked first."""
    max_concurrency: int = 0
    """Calls at a time, 0: as many as come. A further one waits `max_wait_s` for its turn."""
    max_wait_s: float = MAX_WAIT_S
    placed: bool = False
    """Its base URL is the user's own, not the one we know."""
    built_in: bool = False
    """Answers in this process."""

    @property
    def usable(self) -> bool:
        """Whether a call can be made without a credential of the caller's."""
        return self.built_in or self.has_key or self.auth.header is None

    @property
    def has_key(self) -> bool:
        """Whether it has a key of its own, or a command that prints one."""
        return self.key is not None or bool(self.token_command)

    def speaks(self, dialect: str, model: str | None = None) -> bool:
        """Whether it is asked in a dialect; of a model, whether that one is."""
        if dialect not in self.dialects:
            return False
        names = self.dialect_models.get(dialect) if model is not None else None
        return names is None or model is None or names.match(model)

    def url(
        self,
        path: str,
        model: str | None = None,
        query: str = "",
        *,
        version: str | None = None,
        place: tuple[str, str] | None = None,
        streams: bool = False,
    ) -> str:
        """The absolute URL of an endpoint's path template (`/chat/completions`, `/v1/messages`, `/{version}/models/{model}:verb`).

        `query` is appended as it is; `model` is percent-encoded; `place`, a caller's project and location at Vertex, stands for ours.
        RequestRejected for a model name that would climb out of its path.
        """
        for start, instead in (*self.stream_paths.items(), *self.paths.items()) if streams else self.paths.items():
            if path.startswith(start) and path[len(start) : len(start) + 1] in ("", "/", ":"):
                path = instead + path[len(start) :]
                break
        # Templates that bring their version go below the version a base URL may end with: `.../v1` + `/v1/messages`.
        base = _VERSION.sub("", self.base_url) if path.startswith(("/v1/", "/{version}/")) else self.base_url
        if "{" in path:
            project, location = self.project, self.location
            if place is not None and "{location}" in path:
                project, location = place
                if not self.placed:  # at Google's own address each region has a host
                    base = base.replace(f"//{_region(self.location)}", f"//{_region(location)}", 1)
            path = self._fill(path, model, version or self.version, project, location)
        if self.api_version and "api-version=" not in query:
            query = f"api-version={self.api_version}&{query}" if query else f"api-version={self.api_version}"
        return f"{base}{path}?{query}" if query else base + path

    def _fill(self, path: str, model: str | None, version: str, project: str, location: str) -> str:
        if "{project}" in path and not project:
            raise RequestRejected(f"provider {self.name!r} has no project: set providers.{self.name}.project or GOOGLE_CLOUD_PROJECT")
        path = path.replace("{version}", version).replace("{project}", project).replace("{location}", location)
        if model is None or "{model}" not in path:
            return path
        if ".." in model.split("/"):
            raise RequestRejected(f"{model!r} is no model name: '..' would lead out of the provider's path", param="model")
        if model.startswith(("models/", "tunedModels/")):
            # Google's resource names bring their collection: `models/x`, `tunedModels/x`.
            path = path.replace("models/{model}", "{model}")
        # A slash stays where names have several segments; an Azure deployment's name and Bedrock's ARNs are one segment.
        kept = "@" if "/deployments/{model}" in path or path.startswith("/model/{model}/") else "@/"
        return path.replace("{model}", quote(model, safe=kept))


def _region(location: str) -> str:
    """What stands in front of the host's name at Vertex."""
    return "" if location == "global" else f"{location}-"


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
    timeouts: Timeouts = Timeouts()
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
