"""Every path of the gateway, in every spelling its clients use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from respan_proxy.respan.endpoints import allowed, dialect_of, match, near

CHAT, RESPONSES, ANTHROPIC, GEMINI = "openai.chat", "openai.responses", "anthropic.messages", "gemini"

# method, path after /api, dialect, kind, path at the provider, log type
PATHS = [
    ("POST", "/chat/completions", CHAT, "generate", "/chat/completions", "chat"),
    ("GET", "/chat/completions/chatcmpl-1", CHAT, "state", "/chat/completions/chatcmpl-1", None),
    ("POST", "/responses", RESPONSES, "generate", "/responses", "response"),
    ("POST", "/responses/input_tokens", RESPONSES, "count", "/responses/input_tokens", "count_tokens"),
    ("GET", "/responses/resp_1", RESPONSES, "state", "/responses/resp_1", None),
    ("DELETE", "/responses/resp_1", RESPONSES, "state", "/responses/resp_1", None),
    ("POST", "/responses/resp_1/cancel", RESPONSES, "state", "/responses/resp_1/cancel", None),
    ("GET", "/responses/resp_1/input_items", RESPONSES, "state", "/responses/resp_1/input_items", None),
    ("POST", "/anthropic/v1/messages", ANTHROPIC, "generate", "/v1/messages", "chat"),
    ("POST", "/anthropic/messages", ANTHROPIC, "generate", "/v1/messages", "chat"),
    ("POST", "/v1/messages", ANTHROPIC, "generate", "/v1/messages", "chat"),
    ("POST", "/anthropic/v1/messages/count_tokens", ANTHROPIC, "count", "/v1/messages/count_tokens", "count_tokens"),
    ("POST", "/v1/messages/count_tokens", ANTHROPIC, "count", "/v1/messages/count_tokens", "count_tokens"),
    ("GET", "/anthropic/v1/models", ANTHROPIC, "models", "/v1/models", None),
    ("GET", "/anthropic/v1/messages/batches/b_1/results", ANTHROPIC, "passthrough", "/v1/messages/batches/b_1/results", None),
    ("POST", "/embeddings", CHAT, "embed", "/embeddings", "embedding"),
    ("POST", "/completions", CHAT, "passthrough", "/completions", "completion"),
    ("POST", "/audio/transcriptions", CHAT, "passthrough", "/audio/transcriptions", "transcription"),
    ("POST", "/audio/transcription", CHAT, "passthrough", "/audio/transcriptions", "transcription"),
    ("POST", "/audio/speech", CHAT, "passthrough", "/audio/speech", "speech"),
    ("POST", "/images/generations", CHAT, "passthrough", "/images/generations", "image"),
    ("POST", "/moderations", CHAT, "passthrough", "/moderations", "moderation"),
    ("POST", "/files", CHAT, "passthrough", "/files", None),
    ("GET", "/files/file-1/content", CHAT, "passthrough", "/files/file-1/content", None),
    ("POST", "/v1/batches/b_1/cancel", CHAT, "passthrough", "/batches/b_1/cancel", None),
    ("GET", "/models", CHAT, "models", "/models", None),
    ("POST", "/groq/v1/chat/completions", CHAT, "generate", "/chat/completions", "chat"),
]


@pytest.mark.parametrize(("method", "path", "dialect", "kind", "at_provider", "log_type"), PATHS)
@pytest.mark.parametrize("spelling", ["/api{}", "{}", "/api{}/", "/{}", "//api/{}//"])
def test_every_path_is_served_in_every_spelling(
    spelling: str, method: str, path: str, dialect: str, kind: str, at_provider: str, log_type: str | None
) -> None:
    endpoint = match(method, spelling.format(path))
    assert endpoint is not None
    assert (endpoint.dialect, endpoint.kind, endpoint.path, endpoint.log_type) == (dialect, kind, at_provider, log_type)
    assert method in endpoint.methods


@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/embeddings", "/models", "/files", "/audio/speech"])
def test_openais_paths_are_served_with_and_without_v1(path: str) -> None:
    method = "GET" if path == "/models" else "POST"
    assert match(method, f"/v1{path}") == match(method, path) == match(method, f"/api/v1{path}")


@pytest.mark.parametrize(
    ("path", "provider", "version", "model"),
    [
        ("/api/google/gemini/v1/models/gemini-2.5-flash:{}", "gemini", "v1", "gemini-2.5-flash"),
        ("/api/google/gemini/v1beta/models/gemini-2.5-flash:{}", "gemini", "v1beta", "gemini-2.5-flash"),
        ("/api/google/gemini/models/gemini-2.5-flash:{}", "gemini", None, "gemini-2.5-flash"),
        ("/api/google/gemini/v1beta/models/models/x:{}", "gemini", "v1beta", "x"),
        ("/api/google/gemini/v1beta/tunedModels/mine:{}", "gemini", "v1beta", "tunedModels/mine"),
        ("/api/google/vertexai/v1beta1/publishers/google/models/gemini-3:{}", "vertex_ai", None, "gemini-3"),
        ("/api/google/vertexai/v1beta1/projects/p/locations/l/publishers/google/models/g:{}", "vertex_ai", None, "g"),
        ("/api/google/vertexai/v1beta1/models/x:{}", "vertex_ai", None, "x"),
        ("/v1beta/models/gemini-2.5-flash:{}", "gemini", "v1beta", "gemini-2.5-flash"),
        ("/v1/models/gemini-2.5-flash:{}", "gemini", "v1", "gemini-2.5-flash"),
        ("/v1beta/models/echo/status-429:{}", "gemini", "v1beta", "echo/status-429"),
        ("/v1beta/models/a%2Fb%20c%3Ad:{}", "gemini", "v1beta", "a/b c:d"),
        ("/v1beta/models/gemini-2.5-flash%3A{}", "gemini", "v1beta", "gemini-2.5-flash"),
    ],
)
@pytest.mark.parametrize(
    ("verb", "kind", "stream"),
    [
        ("generateContent", "generate", False),
        ("streamGenerateContent", "generate", True),
        ("countTokens", "count", False),
        ("embedContent", "embed", False),
        ("batchEmbedContents", "embed", False),
        ("predictLongRunning", "passthrough", None),
    ],
)
def test_google_is_served_in_every_version_form_and_verb(
    path: str, provider: str, version: str | None, model: str, verb: str, kind: str, stream: bool | None
) -> None:
    endpoint = match("POST", path.format(verb))
    assert endpoint is not None
    assert (endpoint.dialect, endpoint.kind, endpoint.stream, endpoint.path) == (
        GEMINI,
        kind,
        stream,
        f"/{{version}}/models/{{model}}:{verb}",
    )
    assert (endpoint.provider, endpoint.version, endpoint.model) == (provider, version, model)


@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent", "countTokens", "batchEmbedContents"])
@pytest.mark.parametrize("model", ["echo/hello", "anthropic/claude-sonnet-4-6", "openai/ft:gpt-4o:org::id"])
def test_a_model_with_a_slash_may_stand_where_models_do(model: str, verb: str) -> None:
    """As @ai-sdk/google 4.0 writes it."""
    there = match("POST", f"/api/google/gemini/v1beta/models/{model}:{verb}")
    assert there is not None and there.model == model
    assert match("POST", f"/api/google/gemini/v1beta/{model}:{verb}") == there
    assert match("GET", f"/api/google/gemini/v1beta/{model}:{verb}") is None
    assert match("POST", f"/api/google/gemini/v1beta/../{model}:{verb}") is None


@pytest.mark.parametrize(
    ("scope", "place"),
    [
        ("projects/p-1/locations/us-central1/publishers/google/", ("p-1", "us-central1")),
        ("projects/example.com:p/locations/global/publishers/google/", ("example.com:p", "global")),
        ("publishers/google/", None),
        ("projects/p/locations/evil.com%2F/publishers/google/", None),
        ("projects/p/locations/evil.com#/publishers/google/", None),
        ("projects/../locations/global/publishers/google/", None),
    ],
)
def test_a_vertex_callers_project_and_location_are_kept(scope: str, place: tuple[str, str] | None) -> None:
    endpoint = match("POST", f"/api/google/vertexai/v1beta1/{scope}models/gemini-2.5-flash:generateContent")
    assert endpoint is not None and endpoint.place == place


@pytest.mark.parametrize(
    ("path", "dialect", "model"),
    [
        ("/api/models/gpt-4o", CHAT, "gpt-4o"),
        ("/v1/models/ft:gpt-4o:org::id", CHAT, "ft:gpt-4o:org::id"),
        ("/api/models/meta-llama/llama-3/", CHAT, "meta-llama/llama-3"),
        ("/v1/models/meta%2Fllama", CHAT, "meta/llama"),
        ("/api/anthropic/v1/models/claude-x", ANTHROPIC, "claude-x"),
        ("/api/google/gemini/v1/models/gemini-x", GEMINI, "gemini-x"),
        ("/v1beta/models", GEMINI, None),
    ],
)
def test_models_are_served_in_all_three_flavours(path: str, dialect: str, model: str | None) -> None:
    endpoint = match("GET", path)
    assert endpoint is not None
    assert (endpoint.kind, endpoint.dialect, endpoint.model) == ("models", dialect, model)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/models/public/"),
        ("POST", "/api/models/list/"),
        ("POST", "/api/v2/traces"),
        ("POST", "/api/v1/traces"),
        ("POST", "/api/openai/v1/traces/ingest"),
        ("POST", "/api/request-logs/list/"),
        ("GET", "/api/responses/.."),
        ("GET", "/api/files/%2e%2e/content"),
        ("POST", "/v1beta/models/../x:generateContent"),
        ("POST", "/v1beta/models/:generateContent"),
        ("GET", "/api/models/a/%2E%2E/b"),
        ("PUT", "/api/chat/completions"),
        ("GET", "/v1beta/models/x:generateContent"),
        ("POST", "/"),
        ("GET", ""),
        ("GET", "/api"),
    ],
)
def test_what_is_not_the_gateways_is_not_matched(method: str, path: str) -> None:
    assert match(method, path) is None


def test_a_relay_goes_to_the_provider_in_its_path() -> None:
    endpoint = match("POST", "/api/open%5Frouter/v1/chat/completions")
    assert endpoint is not None
    assert endpoint.is_relay
    assert endpoint.provider == "open_router"


def test_braces_in_an_id_are_not_taken_for_a_template() -> None:
    endpoint = match("GET", "/responses/{model}")
    assert endpoint is not None
    assert endpoint.path == "/responses/%7Bmodel%7D"


def test_the_methods_of_a_path_are_known() -> None:
    assert allowed("/api/responses") == {"POST"}
    assert allowed("/api/responses/resp_1") == {"GET", "DELETE"}
    assert allowed("/api/nothing") == frozenset()


def test_a_callers_key_does_not_go_on_in_the_query() -> None:
    endpoint = match("POST", "/v1beta/models/m:streamGenerateContent")
    assert endpoint is not None
    assert endpoint.query("alt=sse&key=secret&%24alt=x%2fy&%6bey=secret") == "alt=sse&%24alt=x%2fy"
    assert endpoint.query("") == ""


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("/api/chat/completion", "/api/chat/completions"),
        ("/v1/mesages", "/v1/messages"),
        ("/api/embedding", "/api/embeddings"),
        ("/api/anthropic/v1/message", "/api/anthropic/v1/messages"),
    ],
)
def test_near_names_the_path_that_was_meant(path: str, first: str) -> None:
    assert near(path)[0] == first


def test_near_names_nothing_for_what_is_like_nothing() -> None:
    assert near("/favicon.ico") == []


@pytest.mark.parametrize(
    ("path", "headers", "query", "dialect"),
    [
        ("/api/anthropic/v1/nothing", {}, "", ANTHROPIC),
        ("/api/google/gemini/v1/nothing", {}, "", GEMINI),
        ("/v1beta/nothing", {}, "", GEMINI),
        ("/api/responses/a/b/c", {}, "", RESPONSES),
        ("/api/nothing", {}, "", CHAT),
        ("/api/nothing", {"anthropic-version": "2023-06-01"}, "", ANTHROPIC),
        ("/v1/models", {}, "", CHAT),
        ("/v1/models", {"Anthropic-Version": "2026-10-21"}, "", ANTHROPIC),
        ("/v1/models", {"x-goog-api-key": "k"}, "", GEMINI),
        ("/v1/models", {}, "pageSize=5&key=k", GEMINI),
        ("/api/anthropic/v1/models", {"x-goog-api-key": "k"}, "", ANTHROPIC),
    ],
)
def test_a_callers_dialect_is_told_by_path_then_headers(path: str, headers: dict[str, str], query: str, dialect: str) -> None:
    assert dialect_of(path, CIMultiDict(headers), query) == dialect


@given(
    st.sampled_from(["GET", "POST", "DELETE", "PATCH"]),
    st.lists(
        st.sampled_from(["api", "v1", "models", "google", "gemini", "responses", "..", ":", "%3A", "%", "{model}", "x:y", ""]), max_size=9
    ),
)
def test_any_path_is_matched_or_not_but_never_raises(method: str, segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    endpoint = match(method, path)
    assert endpoint is None or endpoint.path.startswith("/")
    assert dialect_of(path, {}) in (CHAT, RESPONSES, ANTHROPIC, GEMINI)
