"""The paths of the gateway: one table that says what each asks for, in whose dialect, and where it goes at a provider.

Sources: Respan's API (its OpenAPI of November 2026 and its docs), and the paths that the official SDKs were seen to call.
Telemetry and Respan's own resources are not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final, Literal
from urllib.parse import unquote, unquote_plus

from multidict import MultiMapping

from respan_proxy.wire.remembered import remembered

Kind = Literal["generate", "embed", "count", "state", "models", "passthrough"]

CHAT: Final = "openai.chat"
RESPONSES: Final = "openai.responses"
ANTHROPIC: Final = "anthropic.messages"
GEMINI: Final = "gemini"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a request asks for, as far as its method and path tell."""

    name: str
    dialect: str
    kind: Kind
    path: str
    """What follows a provider's base URL: a template of `{model}` and, at Gemini, `{version}`."""
    log_type: str | None = None
    """Respan's `log_type`; None where a call is only counted and leaves no row."""
    methods: frozenset[str] = frozenset({"POST"})
    """What this path answers to."""
    provider: str | None = None
    """Whose native path this is, or who is relayed to."""
    is_relay: bool = False
    """`/{provider}/v1/chat/completions`: to that provider and nowhere else, as it stands."""
    model: str | None = None
    """The model, when it stands in the path and not in the body."""
    version: str | None = None
    """The version a Gemini caller named (`v1`, `v1beta`)."""
    place: tuple[str, str] | None = None
    """The project and location a Vertex caller named."""
    stream: bool | None = None
    """Whether the answer is streamed; None when the body says so."""

    def query(self, query: str) -> str:
        """The query string for the provider: as it came, without the key that callers of Gemini put there."""
        if not query:
            return query
        return "&".join(pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]).lower() not in _QUERY_KEYS)


_QUERY_KEYS: Final = frozenset({"key", "api_key", "apikey", "access_token"})

_OPENAI: Final = ("", "/v1")
_ANTHROPIC: Final = ("/anthropic/v1", "/anthropic")
_MESSAGES: Final = (*_ANTHROPIC, "/v1", "")

# prefixes | methods | path (a segment in braces is any one segment, {model} also with slashes) | endpoint
_TABLE: Final[tuple[tuple[tuple[str, ...], str, str, Endpoint], ...]] = (
    (_OPENAI, "POST", "/chat/completions", Endpoint("chat.completions", CHAT, "generate", "/chat/completions", "chat")),
    (_OPENAI, "GET", "/chat/completions", Endpoint("chat.completions.list", CHAT, "state", "")),
    (_OPENAI, "GET POST DELETE", "/chat/completions/{id}", Endpoint("chat.completions.stored", CHAT, "state", "")),
    (_OPENAI, "GET", "/chat/completions/{id}/messages", Endpoint("chat.completions.messages", CHAT, "state", "")),
    (_OPENAI, "POST", "/responses", Endpoint("responses", RESPONSES, "generate", "/responses", "response")),
    (_OPENAI, "POST", "/responses/input_tokens", Endpoint("responses.input_tokens", RESPONSES, "count", "", "count_tokens", stream=False)),
    (_OPENAI, "POST", "/responses/compact", Endpoint("responses.compact", RESPONSES, "passthrough", "", "response")),
    (_OPENAI, "GET DELETE", "/responses/{id}", Endpoint("responses.stored", RESPONSES, "state", "")),
    (_OPENAI, "POST", "/responses/{id}/cancel", Endpoint("responses.cancel", RESPONSES, "state", "")),
    (_OPENAI, "GET", "/responses/{id}/input_items", Endpoint("responses.input_items", RESPONSES, "state", "")),
    (_MESSAGES, "POST", "/messages", Endpoint("messages", ANTHROPIC, "generate", "/v1/messages", "chat")),
    (
        _MESSAGES,
        "POST",
        "/messages/count_tokens",
        Endpoint("messages.count_tokens", ANTHROPIC, "count", "/v1/messages/count_tokens", "count_tokens", stream=False),
    ),
    (_MESSAGES, "GET POST", "/messages/batches", Endpoint("messages.batches", ANTHROPIC, "passthrough", "/v1/messages/batches")),
    (_MESSAGES, "GET DELETE", "/messages/batches/{id}", Endpoint("messages.batch", ANTHROPIC, "passthrough", "/v1/messages/batches/{id}")),
    (
        _MESSAGES,
        "POST",
        "/messages/batches/{id}/cancel",
        Endpoint("messages.batch.cancel", ANTHROPIC, "passthrough", "/v1/messages/batches/{id}/cancel"),
    ),
    (
        _MESSAGES,
        "GET",
        "/messages/batches/{id}/results",
        Endpoint("messages.batch.results", ANTHROPIC, "passthrough", "/v1/messages/batches/{id}/results"),
    ),
    (_ANTHROPIC, "GET", "/models", Endpoint("models", ANTHROPIC, "models", "/v1/models")),
    (_ANTHROPIC, "GET", "/models/{model}", Endpoint("model", ANTHROPIC, "models", "/v1/models/{model}")),
    (_OPENAI, "POST", "/embeddings", Endpoint("embeddings", CHAT, "embed", "", "embedding", stream=False)),
    (_OPENAI, "POST", "/completions", Endpoint("completions", CHAT, "passthrough", "", "completion")),
    (_OPENAI, "POST", "/audio/transcriptions", Endpoint("audio.transcriptions", CHAT, "passthrough", "", "transcription")),
    (
        _OPENAI,
        "POST",
        "/audio/transcription",
        Endpoint("audio.transcriptions", CHAT, "passthrough", "/audio/transcriptions", "transcription"),
    ),
    (_OPENAI, "POST", "/audio/translations", Endpoint("audio.translations", CHAT, "passthrough", "", "transcription")),
    (_OPENAI, "POST", "/audio/speech", Endpoint("audio.speech", CHAT, "passthrough", "", "speech")),
    (_OPENAI, "POST", "/images/generations", Endpoint("images.generations", CHAT, "passthrough", "", "image")),
    (_OPENAI, "POST", "/images/edits", Endpoint("images.edits", CHAT, "passthrough", "", "image")),
    (_OPENAI, "POST", "/images/variations", Endpoint("images.variations", CHAT, "passthrough", "", "image")),
    (_OPENAI, "POST", "/moderations", Endpoint("moderations", CHAT, "passthrough", "", "moderation")),
    (_OPENAI, "GET POST", "/files", Endpoint("files", CHAT, "passthrough", "")),
    (_OPENAI, "GET DELETE", "/files/{id}", Endpoint("file", CHAT, "passthrough", "")),
    (_OPENAI, "GET", "/files/{id}/content", Endpoint("file.content", CHAT, "passthrough", "")),
    (_OPENAI, "GET POST", "/batches", Endpoint("batches", CHAT, "passthrough", "")),
    (_OPENAI, "GET", "/batches/{id}", Endpoint("batch", CHAT, "passthrough", "")),
    (_OPENAI, "POST", "/batches/{id}/cancel", Endpoint("batch.cancel", CHAT, "passthrough", "")),
    (_OPENAI, "GET", "/models", Endpoint("models", CHAT, "models", "")),
    (_OPENAI, "GET", "/models/{model}", Endpoint("model", CHAT, "models", "")),
    (
        ("",),
        "POST",
        "/{provider}/v1/chat/completions",
        Endpoint("chat.relay", CHAT, "generate", "/chat/completions", "chat", is_relay=True),
    ),
)

# Gemini's verbs; others pass uncounted.
_VERBS: Final[Mapping[str, Endpoint]] = {
    "generateContent": Endpoint("generateContent", GEMINI, "generate", "", "chat", stream=False),
    "streamGenerateContent": Endpoint("streamGenerateContent", GEMINI, "generate", "", "chat", stream=True),
    "countTokens": Endpoint("countTokens", GEMINI, "count", "", "count_tokens", stream=False),
    "embedContent": Endpoint("embedContent", GEMINI, "embed", "", "embedding", stream=False),
    "batchEmbedContents": Endpoint("batchEmbedContents", GEMINI, "embed", "", "embedding", stream=False),
}

# /google/{door}: whose path it is, by the name in our configuration.
_GOOGLE_DOORS: Final = {"gemini": "gemini", "vertexai": "vertex_ai", "vertex_ai": "vertex_ai"}
_GOOGLE_PASSED: Final = frozenset({"interactions", "cachedContents", "files", "operations", "batches"})
_GOOGLE_VERSION = re.compile(r"/(v[0-9]+[a-z0-9]*)(?=/)")
# The location becomes part of a host's name: nothing but these letters may be in it.
_PLACE = re.compile(r"/projects/([A-Za-z0-9][A-Za-z0-9.:_-]*)/locations/([a-z0-9][a-z0-9-]*)/")
# Not models, but Respan's resources below /models.
_RESERVED_MODELS: Final = frozenset({"public", "list"})

_SLASHES = re.compile("//+")
_NEAR: Final = 3
_NEAR_CHARS: Final = 200


def match(method: str, path: str) -> Endpoint | None:
    """The endpoint of a request, or None. `path` is as it came, percent escapes and all, without the query."""
    entry = _EXACT.get(path)
    if entry is not None:
        return entry.get(method)
    return _match(method, path)


_AT_PROVIDER: Final[Mapping[tuple[str, str], str]] = {
    (CHAT, "generate"): "/chat/completions",
    (RESPONSES, "generate"): "/responses",
    (ANTHROPIC, "generate"): "/v1/messages",
    (GEMINI, "generate"): "/{version}/models/{model}:generateContent",
    (CHAT, "embed"): "/embeddings",
    (GEMINI, "embed"): "/{version}/models/{model}:batchEmbedContents",
    (RESPONSES, "count"): "/responses/input_tokens",
    (ANTHROPIC, "count"): "/v1/messages/count_tokens",
    (GEMINI, "count"): "/{version}/models/{model}:countTokens",
}


def at_provider(dialect: str, kind: Kind, *, streams: bool = False) -> tuple[str, str]:
    """Path template and query with which a provider is asked in its own dialect, for a request that came in another."""
    if dialect == GEMINI and kind == "generate" and streams:
        return "/{version}/models/{model}:streamGenerateContent", "alt=sse"
    return _AT_PROVIDER[dialect, kind], ""


def streams_array(dialect: str, query: str) -> bool:
    """Whether a stream of this dialect is one JSON array instead of events: Gemini's is, unless the caller asks for `alt=sse`."""
    return dialect == GEMINI and "alt=sse" not in query.split("&")


def allowed(path: str) -> frozenset[str]:
    """The methods that a path answers to; empty for one that is not served."""
    return frozenset(method for method in ("GET", "POST", "DELETE") if match(method, path) is not None)


def near(path: str) -> list[str]:
    """Up to three paths of the gateway that look like this one, the likest first."""
    served = {f"/api{prefix}{pattern}" for prefixes, _, pattern, _ in _TABLE for prefix in prefixes}
    served |= {f"/api/google/gemini/v1beta/models/{{model}}:{verb}" for verb in _VERBS}
    found = get_close_matches("/api" + _plain(path[:_NEAR_CHARS]), sorted(served), _NEAR, 0.7)
    return [served_path.removeprefix("" if path.startswith("/api") else "/api") for served_path in found]


def dialect_of(path: str, headers: Mapping[str, str] | MultiMapping[str], query: str = "") -> str:
    """Whose shape a caller expects, for the model lists that three dialects share and for paths that are not served.

    By the path where it says so, else by what only one company's clients send.
    """
    path = _plain(path)
    if path.startswith("/anthropic/") or path.endswith(("/messages", "/messages/count_tokens")):
        return ANTHROPIC
    if path.startswith(("/google/", "/v1beta", "/v1alpha")) or _verb(path):
        return GEMINI
    if path.startswith(("/responses", "/v1/responses")):
        return RESPONSES
    if "anthropic-version" in headers:
        return ANTHROPIC
    if "x-goog-api-key" in headers or "x-goog-api-client" in headers or any(pair.startswith("key=") for pair in query.split("&")):
        return GEMINI
    return CHAT


def collapsed(path: str) -> str:
    """The path without doubled slashes."""
    return _SLASHES.sub("/", path)


def _plain(path: str) -> str:
    """The path without `/api`, doubled slashes and the last slash: `/chat/completions`."""
    path = collapsed(path)
    if path == "/api" or path.startswith("/api/"):
        path = path[4:]
    return path.removesuffix("/")


# Paths with a model or an id in them come again.
@remembered(1024)
def _match(method: str, path: str) -> Endpoint | None:
    path = _plain(path)
    if (entry := _EXACT.get(path)) is not None:
        return entry.get(method)
    if (endpoint := _google(method, path)) is not None:
        return endpoint
    for pattern, methods, endpoint in _PATTERNS:
        if method in methods and (found := pattern.fullmatch(path)) is not None:
            return _filled(endpoint, found.groupdict())
    return None


def _filled(endpoint: Endpoint, found: Mapping[str, str]) -> Endpoint | None:
    if any(segment in (".", "..") for value in found.values() for segment in unquote(value).split("/")):
        return None
    path = endpoint.path
    if (id_ := found.get("id")) is not None:
        path = path.replace("{id}", _escaped(id_))
    model = found.get("model")
    if model in _RESERVED_MODELS:
        return None
    provider = found.get("provider", endpoint.provider)
    return replace(endpoint, path=path, model=unquote(model) if model else None, provider=unquote(provider) if provider else None)


def _escaped(text: str) -> str:
    """Braces of the caller's would be taken for those of a template."""
    return text.replace("{", "%7B").replace("}", "%7D")


def _google(method: str, path: str) -> Endpoint | None:
    """Native Google paths, behind `/google/{gemini|vertexai}` or bare, in every form of version and scope."""
    provider = "gemini"
    rest = path
    has_door = path.startswith("/google/")
    if has_door:
        door, _, tail = path[len("/google/") :].partition("/")
        rest = f"/{tail}" if door in _GOOGLE_DOORS else f"/{door}/{tail}"
        provider = _GOOGLE_DOORS.get(door, provider)
    version = None
    if (found := _GOOGLE_VERSION.match(rest)) is not None:
        version, rest = found[1], rest[found.end() :]
    # /v1/models is OpenAI's as well; only its methods and verbs tell.
    is_googles = has_door or (version is not None and version != "v1")
    # `echo/hello:generateContent`: the Vercel AI SDK takes a model with a slash in its name for a path.
    if is_googles and rest.rpartition(":")[2] in _VERBS and not _verb(rest):
        rest = f"/models{rest}"
    if "/publishers/" in rest or rest.startswith("/projects/"):
        provider = "vertex_ai"
    # Vertex's versions are not Gemini's: there the configured one holds.
    if provider == "vertex_ai" or version == "v1beta1":
        version = None
    if verb := _verb(rest):
        found = _PLACE.match(rest)
        place = (found[1], found[2]) if found is not None else None
        return _call(rest, verb, provider, version, place) if method == "POST" else None
    if not is_googles:
        return None
    if method == "GET" and (rest == "/models" or rest.startswith("/models/")):
        model = unquote(rest[len("/models/") :]) or None
        name, template = ("model", "/{version}/models/{model}") if model else ("models", "/{version}/models")
        return Endpoint(name, GEMINI, "models", template, None, _GET, provider, model=model, version=version)
    name = rest[1:].partition("/")[0]
    if method in _ANY and name in _GOOGLE_PASSED and ".." not in unquote(rest).split("/"):
        return Endpoint(name, GEMINI, "passthrough", "/{version}" + _escaped(rest), None, _ANY, provider, version=version)
    return None


def _verb(path: str) -> str:
    """What is asked of a Google model: the word after the last colon of `.../models/M:verb`, "" for any other path."""
    last = max(path.rfind("/models/"), path.rfind("/tunedModels/"))
    if last == -1:
        return ""
    if ":" not in path and "%3" in path:
        path = unquote(path)
    verb = path[last:].rpartition(":")
    return verb[2] if verb[1] and verb[2].isalpha() else ""


def _call(path: str, verb: str, provider: str, version: str | None, place: tuple[str, str] | None) -> Endpoint | None:
    tuned, plain = path.rfind("/tunedModels/"), path.rfind("/models/")
    start = tuned + 1 if tuned > plain else plain + len("/models/")
    model = unquote(path[start:]).rpartition(":")[0]
    if not model or ".." in model.split("/"):
        return None
    endpoint = _VERBS.get(verb) or Endpoint(verb, GEMINI, "passthrough", "")
    return replace(endpoint, path=f"/{{version}}/models/{{model}}:{verb}", model=model, provider=provider, version=version, place=place)


_GET: Final = frozenset({"GET"})
_ANY: Final = frozenset({"GET", "POST", "PATCH", "DELETE"})


def _exact() -> dict[str, dict[str, Endpoint]]:
    """Every spelling of the paths without a variable part, so that most requests cost one look-up."""
    table: dict[str, dict[str, Endpoint]] = {}
    for prefixes, methods, pattern, endpoint in _TABLE:
        if "{" in pattern:
            continue
        for spelling in [f"{api}{prefix}{pattern}{slash}" for prefix in prefixes for api in ("", "/api") for slash in ("", "/")]:
            for method in methods.split():
                table.setdefault(spelling, {})[method] = _placed(endpoint, pattern, methods)
    return table


def _patterns() -> list[tuple[re.Pattern[str], frozenset[str], Endpoint]]:
    segments = {"id": "(?P<id>[^/]+)", "model": "(?P<model>.+)", "provider": "(?P<provider>[^/]+)"}
    table = []
    for prefixes, methods, pattern, endpoint in _TABLE:
        if "{" in pattern:
            where = "|".join(map(re.escape, prefixes))
            what = re.sub(r"\{(\w+)\}", lambda found: segments[found[1]], pattern)
            table.append((re.compile(f"(?:{where}){what}"), frozenset(methods.split()), _placed(endpoint, pattern, methods)))
    return table


def _placed(endpoint: Endpoint, pattern: str, methods: str) -> Endpoint:
    """The table's entry made whole: its path at the provider, if it is the same as here, its methods, whose path it is."""
    owner = "anthropic" if endpoint.dialect == ANTHROPIC else None
    return replace(endpoint, path=endpoint.path or pattern, methods=frozenset(methods.split()), provider=owner)


_EXACT: Final = _exact()
_PATTERNS: Final = _patterns()
