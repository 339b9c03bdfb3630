"""Owns the table of options: parsing, complaints, `config.example.toml` and docs/configuration.md are all read off it.

Options of providers stand in provider_options.py, those of exports in export_tables.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from respan_proxy.config.balancing import PICKS
from respan_proxy.config.kinds import (
    COUNT,
    DIGEST,
    FAULT,
    FLAG,
    GLOBS,
    LISTEN,
    LISTEN_OR_NONE,
    MEMBERS,
    NUMBER,
    ORIGINS,
    SECONDS,
    SECRET,
    SIZE,
    TEXT,
    TEXTS,
    WEIGHT,
    WHOLE,
    Kind,
    choice,
    texts_of,
)
from respan_proxy.config.values import Config
from respan_proxy.dialects import catalog
from respan_proxy.dialects.efforts import EFFORTS


@dataclass(frozen=True, slots=True)
class Option:
    """One line of the configuration: `[section] name = default`, and why one would change it.

    In `[server]`, `[store]`, `[limits]`, ... the default is that of the dataclass field of the same name (`Config`, `Limits`, ...).
    In `[[keys]]` and `[providers.NAME]` it is `default`, text for people, because it depends on the row of the provider.
    """

    section: str
    name: str
    kind: Kind
    why: str
    variable: str = ""
    default: str = ""
    sample: object = None
    instead_of: str = ""
    """The option of the same table that it excludes."""

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"


# What each section sets: its fields lie on Config itself, or on the value of that name.
FLAT = frozenset({"server", "store"})

DIALECTS = catalog.providers()["echo"].dialects

OPTIONS = (
    Option(
        "server", "listen", LISTEN, "where callers reach us; beyond loopback only with [[keys]] (restart to change)", "RESPAN_PROXY_LISTEN"
    ),
    Option("server", "allowed_hosts", TEXTS, "further values of Host that a keyless proxy answers to (a DNS name of this machine)"),
    Option(
        "server",
        "allowed_origins",
        ORIGINS,
        "web pages that may call us from a browser, as https://host[:port]; answered with CORS headers",
    ),
    Option(
        "server",
        "caller_keys",
        choice("forward", "never"),
        "may a caller's own provider key serve where none is configured? (keyless only)",
    ),
    Option("server", "default_model", TEXT, "serves a name that no configured provider serves, with a warning"),
    Option(
        "server",
        "ask_usage",
        FLAG,
        "ask OpenAI chat streams for usage and withhold the extra chunk; false is true to the byte, rows estimate",
    ),
    Option("server", "link_header", FLAG, "send X-Respan-Log-Id: Respan's tracer then links its span to our row instead of counting twice"),
    Option(
        "server",
        "param_precedence",
        choice("respan_params", "top_level"),
        "who wins when a parameter comes twice: respan_params > header > top level, or top level > respan_params > header",
    ),
    Option(
        "server",
        "on_loss",
        choice("warn", "silent", "error"),
        "what a translation between dialects could not carry (a seed, a penalty): a header, the row alone, or a 400",
    ),
    Option("store", "database", TEXT, "the SQLite file; empty: the platform's data directory (restart to change)", "RESPAN_PROXY_DATABASE"),
    Option("store", "content", choice("full", "errors", "none"), "whose bodies reach the disk: every call's, failed ones', nobody's"),
    Option(
        "store",
        "durability",
        choice("normal", "full"),
        "full waits for the disk at every commit; normal may lose the last ones at a power cut (restart to change)",
    ),
    Option("store", "body_bytes", SIZE, "a longer body is cut in the row, and marked; what passes through is not touched"),
    Option("store", "queue_bytes", SIZE, "memory for rows that wait for the disk; beyond it bodies are dropped first, then rows, counted"),
    Option("retention", "age_days", NUMBER, "rows older than this go; 0 keeps them"),
    Option("retention", "size_bytes", SIZE, "the oldest bodies, then rows, go when the database without [state] is larger; 0 keeps them"),
    Option("state", "age_days", NUMBER, "what has not been used for so long goes; 0 keeps it"),
    Option("state", "size_bytes", SIZE, "what has not been used for longest goes when all of it is larger; 0 keeps it"),
    Option("limits", "request_bytes", SIZE, "a longer request, also after decompression, is answered 413"),
    Option("limits", "header_bytes", SIZE, "a longer request line or header is answered 431; agents send large ones (restart to change)"),
    Option("limits", "upload_s", SECONDS, "a body that has not arrived by then is answered 408"),
    Option("limits", "shutdown_s", SECONDS, "how long open streams may go on after SIGTERM, or until a second one (restart to change)"),
    Option("budgets", "max_usd_per_day", NUMBER, "all calls together, per day of UTC; beyond it 429 until midnight; 0 is no limit"),
    Option("timeouts", "connect_s", SECONDS, "to a provider's socket, TLS included; else 504"),
    Option("timeouts", "first_byte_s", SECONDS, "from the request to the head of the answer; else 504; reasoning models think for minutes"),
    Option("timeouts", "silence_s", SECONDS, "between two pieces of an answer; else the stream ends with an error event"),
    Option("images", "fetch", FLAG, "fetch images by URL for a provider that needs their bytes (Gemini); false hands it the URL"),
    Option("images", "max_bytes", SIZE, "all images of a request together; more is answered 400"),
    Option("images", "timeout_s", SECONDS, "an image that has not arrived by then is answered 400"),
    Option("images", "allow_private", FLAG, "fetch from private, loopback and link-local addresses too: callers then reach them"),
    Option("telemetry", "body_bytes", SIZE, "a longer request of spans, also after decompression, is answered 413"),
    Option(
        "telemetry",
        "listen",
        LISTEN_OR_NONE,
        'a second address, for spans alone: "127.0.0.1:4318" is where OpenTelemetry looks by itself (restart to change)',
    ),
    Option(
        "telemetry",
        "match_by_likeness",
        FLAG,
        "a span around a call, of its key, model and usage, is that call; if false, calls of the Agents SDK count twice",
    ),
    Option("retry", "enabled", FLAG, "try a target again before the first byte: connection errors, 408 409 429 500 502 503 504 529"),
    Option("retry", "num_retries", WHOLE, "how often; a request's retry_params win"),
    Option("retry", "retry_after", NUMBER, "seconds before the first retry, then twice as long each time, where the provider does not say"),
    Option("retry", "max_wait_s", NUMBER, "a provider that asks for a longer wait is not waited for: its answer is handed on"),
    Option("retry", "budget_s", NUMBER, "all waits of a call for one target together"),
    Option("breaker", "failures", WHOLE, "how often in a row a target fails before it rests; 0: none ever rests"),
    Option("breaker", "span_s", SECONDS, "within how many seconds"),
    Option("breaker", "rest_s", SECONDS, "how long it rests; then one call tries, and its success ends the rest"),
    Option("cache", "enabled", FLAG, "keep answers also of requests that do not say cache_enabled; one that says false is never kept"),
    Option("cache", "ttl_s", SECONDS, "how long an answer is kept where the request has no cache_ttl; 30 days"),
    Option("cache", "max_bytes", SIZE, "memory for kept answers, requests included; those not asked for longest go first; 0 keeps none"),
    Option("cache", "by_customer", FLAG, "each customer_identifier has answers of its own (cache_options.cache_by_customer)"),
    Option("cache", "by_model", FLAG, "false: an answer serves whatever model it came from (cache_options.is_cached_by_model)"),
    Option("faults", "per_request", FLAG, "let requests ask for faults (X-Respan-Simulate, respan_params.simulate); else 403"),
    Option("echo", "pace_ms", NUMBER, "between two pieces of the built-in provider's streams"),
    Option("log", "format", choice("text", "json"), "text for people, or one JSON object a line for programs"),
    Option("log", "level", choice("debug", "info", "warning", "error"), "what is worth a line on stderr"),
)


def _allowance(section: str) -> tuple[Option, ...]:
    """What `Allowance` explains at length; the names are its members."""
    return (
        Option(section, "requests_per_minute", COUNT, "calls begun in any minute; beyond it 429", default="no limit", sample=60),
        Option(section, "tokens_per_minute", COUNT, "tokens of calls ended in any minute", default="no limit", sample=100_000),
        Option(section, "max_usd_per_day", WEIGHT, "cost of a day of UTC; beyond it 429 until midnight", default="no limit", sample=5),
    )


KEYS = (
    Option("keys", "name", TEXT, "how logs and lists call this key", default="required", sample="me"),
    Option("keys", "key", SECRET, "the key itself; hashed when read, never kept", default="this or digest", sample="env:RESPAN_API_KEY"),
    Option("keys", "digest", DIGEST, "instead of key: its SHA-256", default="this or key", instead_of="key"),
    Option(
        "keys", "environment", TEXT, '"test", "prod" or a name of your own; every row of this key carries it', default="none", sample="test"
    ),
    Option("keys", "is_admin", FLAG, "may read the rows of other keys", default="false", sample=False),
    *_allowance("keys"),
)

CUSTOMER = _allowance("customers.GLOB")

ROUTE = (
    Option(
        "routes.GLOB",
        "fallback_models",
        TEXTS,
        "models to ask in turn when this one fails; a request's own fallback_models win",
        default="[]",
        sample=("claude-sonnet-4-5", "gemini-2.5-flash"),
    ),
    Option(
        "routes.GLOB",
        "first_token_timeout",
        SECONDS,
        "seconds until the first words (an unstreamed call: until its answer); then the next model is asked",
        default="the provider's first_byte_s",
        sample=30,
    ),
    Option(
        "routes.GLOB",
        "simulate",
        FAULT,
        "a fault made on purpose, to test how an app bears it; rows, warnings and errors call it simulated",
        default="none",
        sample={"status": 503, "retry_after": 1, "share": 0.2},
    ),
    Option(
        "routes.GLOB",
        "hedge_after_ms",
        NUMBER,
        "a target that has said nothing for so long gets company: the next one is asked too, the first to answer wins",
        default="off",
        sample=2000,
    ),
)

GROUP = (
    Option(
        "groups.NAME",
        "models",
        MEMBERS,
        "the models, each with its weight",
        default="required",
        sample=({"model": "gpt-4o", "weight": 2}, {"model": "claude-sonnet-4-5", "weight": 1}),
    ),
    Option(
        "groups.NAME",
        "pick",
        choice(*PICKS),
        "by weight, by how quick they were, by calls in flight, or one after the other",
        default='"weighted"',
        sample="weighted",
    ),
)


def _profile(name: str, kind: Kind, why: str, default: str, sample: object) -> Option:
    return Option("profiles", name, kind, why, default=default, sample=sample)


# What `Profile` in dialects/request.py explains at length; the names are its members.
PROFILES = (
    _profile("models", GLOBS, 'which: globs on the name at the provider, in lower case; "!" in front excludes', '["*"]', ("qwen3*",)),
    _profile("providers", GLOBS, "at which providers", '["*"]', ("my_vllm",)),
    _profile("dialect", choice(*DIALECTS), "the dialect it is asked in, where its provider has several", "any", "openai.chat"),
    _profile(
        "dialect_for",
        choice("translated", "reasoned_tools", "all"),
        "what is asked in it: what is translated anyway; calls of its provider's other dialects too, with tools to reason about; or all",
        '"translated"',
        "all",
    ),
    _profile("version", TEXT, "anthropic-version of translated requests", '"2023-06-01"', "2023-06-01"),
    _profile("sampling", FLAG, "takes temperature, top_p, top_k; at OpenAI also penalties, logprobs and logit_bias", "true", True),
    _profile("refuses", TEXTS, 'members that a translation leaves out; adds up, "-name" takes one out again', "[]", ("stop", "-verbosity")),
    _profile("rejects", TEXTS, "members it answers 400 to: dropped from chat requests of its own callers too; adds up", "[]", ("seed",)),
    _profile(
        "sampling_efforts", TEXTS, 'reasoning efforts at which it samples although it rejects that else; "": none was said', "[]", ("none",)
    ),
    _profile("extra_params", TEXTS, 'members beyond its dialect that it takes; adds up, "-name" takes one out again', "[]", ("top_k",)),
    _profile("thinking", choice("adaptive", "budget", "level", "none"), "the form of its thinking", "by its dialect", "none"),
    _profile("thinking_default_on", FLAG, "thinks unless told not to", "false", False),
    _profile("efforts", texts_of(*EFFORTS), "the efforts it takes, from least to most", "all of its dialect's", ("low", "high")),
    _profile("structured", FLAG, "takes a JSON schema for its answer", "true", False),
    _profile("max_tokens", COUNT, "the most it can be asked for", "unknown", 32768),
    _profile("default_max_tokens", COUNT, "sent where the dialect demands a limit and the caller gave none", "8192", 8192),
    _profile("max_tokens_field", choice("max_completion_tokens", "max_tokens"), "what its limit is called", "the provider's", "max_tokens"),
    _profile(
        "user_field", choice("safety_identifier", "user", ""), "what the user's id is called; empty: nothing", "the provider's", "user"
    ),
    _profile("seed_field", TEXT, "what the seed is called; empty: it takes none", '"seed"', "random_seed"),
    _profile("max_stops", COUNT, "how many stop strings it takes", "4", 4),
    _profile("call_ids", choice("any", "nine"), "ids of calls; nine: exactly nine letters and digits", '"any"', "any"),
    _profile("encrypted_reasoning", FLAG, "ask for reasoning.encrypted_content (Responses)", "false", False),
    _profile("mid_system", FLAG, "takes system messages in the middle of a conversation (Claude)", "false", False),
    _profile("replays_reasoning", FLAG, "wants its reasoning_content back in turns that call tools", "false", False),
)

SECTIONS = (
    *dict.fromkeys(option.section for option in OPTIONS),
    "keys",
    "export",
    "customers",
    "models",
    "routes",
    "groups",
    "providers",
    "profiles",
)


def default_of(option: Option) -> object:
    """The default of an option of a plain section."""
    owner: object = Config() if option.section in FLAT else getattr(Config(), option.section)
    value: object = getattr(owner, option.name)
    # Where the default database lies depends on the platform: in the file it is empty.
    return "" if option.path == "store.database" else value


def in_section(section: str) -> Iterator[Option]:
    return (option for option in OPTIONS if option.section == section)
