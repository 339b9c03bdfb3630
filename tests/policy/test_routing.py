"""Where a model's name leads: never silently to another family, always with a reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.config import parse
from respan_proxy.dialects import catalog
from respan_proxy.errors import MissingCredentials, RequestRejected, UnknownModel
from respan_proxy.policy.routing import NO_LISTS, Route, doors, is_known, route, spoken
from respan_proxy.respan.endpoints import Endpoint, match

CHAT, RESPONSES, MESSAGES = "/api/chat/completions", "/api/responses", "/api/anthropic/v1/messages"
OPENAI, ANTHROPIC, GEMINI = {"OPENAI_API_KEY": "sk-1"}, {"ANTHROPIC_API_KEY": "sk-ant-1"}, {"GEMINI_API_KEY": "AIza1"}
ALL = {**OPENAI, **ANTHROPIC, **GEMINI}


def google(model: str, door: str = "gemini") -> str:
    return f"/api/google/{door}/v1beta/models/{model}:generateContent"


def endpoint_at(path: str, method: str = "POST") -> Endpoint:
    endpoint = match(method, path)
    assert endpoint is not None
    return endpoint


def routed(
    model: str | None,
    path: str = CHAT,
    environ: Mapping[str, str] = ALL,
    mapping: Mapping[str, Any] | None = None,
    *,
    listed: Mapping[str, Collection[str]] = NO_LISTS,
    pin: str | None = None,
    credential: str | None = None,
    method: str = "POST",
) -> Route:
    return route(model, endpoint_at(path, method), parse(mapping or {}, environ), listed=listed, pin=pin, credential=credential)


def target(way: Route) -> tuple[str, str | None]:
    return way.provider.name, way.model


# families and prefixes


@pytest.mark.parametrize(
    ("model", "path", "provider"),
    [
        ("gpt-4.1-nano", CHAT, "openai"),
        ("gpt-5.6-luna", RESPONSES, "openai"),
        ("o3-mini", RESPONSES, "openai"),
        ("text-embedding-3-small", "/api/embeddings", "openai"),
        ("ft:gpt-4o-mini:me::abc", CHAT, "openai"),
        ("claude-sonnet-4-5-20250929", MESSAGES, "anthropic"),
        ("gemini-2.5-flash", google("gemini-2.5-flash"), "gemini"),
        ("text-embedding-004", google("text-embedding-004"), "gemini"),
    ],
)
def test_a_name_goes_to_its_family(model: str, path: str, provider: str) -> None:
    way = routed(model, path)
    assert target(way) == (provider, model)
    assert "family" in way.reason


@pytest.mark.parametrize("model", ["gpt-oss-20b", "gpt-oss:20b", "omni", "llama-3.3-70b", "o", "Ogpt-4"])
def test_names_like_openais_that_are_not_its_own_do_not_go_there(model: str) -> None:
    with pytest.raises(UnknownModel):
        routed(model, environ=OPENAI)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("OpenAI/anything-new", ("openai", "anything-new")),
        ("groq/openai/gpt-oss-20b", ("groq", "openai/gpt-oss-20b")),
    ],
)
def test_a_providers_name_in_front_decides_and_is_taken_off(model: str, expected: tuple[str, str]) -> None:
    assert target(routed(model, environ={**OPENAI, "GROQ_API_KEY": "gsk_1"})) == expected


def test_a_prefix_that_is_no_provider_is_part_of_the_name() -> None:
    way = routed("meta-llama/Llama-3", environ={"TOGETHER_API_KEY": "t"}, listed={"together": {"meta-llama/Llama-3"}})
    assert target(way) == ("together", "meta-llama/Llama-3")


def test_a_name_that_its_provider_lists_whole_keeps_the_prefix() -> None:
    way = routed("openrouter/auto", environ={"OPENROUTER_API_KEY": "sk-or-1"}, listed={"openrouter": {"openrouter/auto"}})
    assert target(way) == ("openrouter", "openrouter/auto")


def test_a_whole_name_goes_to_who_lists_it_when_its_prefix_has_no_key() -> None:
    way = routed("anthropic/claude-x", environ={"OPENROUTER_API_KEY": "sk-or-1"}, listed={"openrouter": {"anthropic/claude-x"}})
    assert target(way) == ("openrouter", "anthropic/claude-x")


def test_within_a_family_the_provider_with_a_key_is_taken() -> None:
    azure = {"AZURE_OPENAI_ENDPOINT": "https://me", "AZURE_OPENAI_API_KEY": "k"}
    assert routed("gpt-4o", environ=azure).provider.name == "azure_openai"
    assert routed("gpt-4o", environ={**azure, **OPENAI}).provider.name == "openai"


def test_the_native_path_of_a_provider_prefers_it_within_the_family() -> None:
    environ = {**GEMINI, "VERTEX_AI_ACCESS_TOKEN": "t", "GOOGLE_CLOUD_PROJECT": "p"}
    assert routed("gemini-2.5-pro", google("gemini-2.5-pro", "vertexai"), environ).provider.name == "vertex_ai"
    assert routed("gemini-2.5-pro", google("gemini-2.5-pro"), environ).provider.name == "gemini"


def test_a_name_never_goes_to_another_family_even_if_that_one_lists_it() -> None:
    with pytest.raises(MissingCredentials, match="ANTHROPIC_API_KEY"):
        routed("claude-x", MESSAGES, environ={"OLLAMA_HOST": "gpu", **OPENAI}, listed={"ollama": {"claude-x"}, "openai": {"claude-x"}})


def test_a_name_goes_to_the_provider_that_lists_it() -> None:
    environ = {"OLLAMA_HOST": "gpu"}
    listed = {"ollama": ["llama3.2:latest", "qwen3:8b"]}
    assert target(routed("qwen3:8b", environ=environ, listed=listed)) == ("ollama", "qwen3:8b")
    assert target(routed("llama3.2", environ=environ, listed=listed)) == ("ollama", "llama3.2")


# routes, aliases, pins, the default


def test_routes_of_the_config_come_before_everything_else() -> None:
    models = {"gpt-4o": "groq/llama-3", "fast": "gpt-4.1-nano", "faster": "fast", "claude": "echo/hello"}
    environ = {**ALL, "GROQ_API_KEY": "gsk_1"}
    assert target(routed("gpt-4o", environ=environ, mapping={"models": models})) == ("groq", "llama-3")
    assert target(routed("faster", mapping={"models": models})) == ("openai", "gpt-4.1-nano")
    assert target(routed("claude", mapping={"models": models})) == ("echo", "echo/hello")


def test_models_named_in_a_providers_table_are_routes_too() -> None:
    mapping = {"providers": {"mine": {"base_url": "http://gpu:1", "auth": "none", "models": ["gpt-4o", "qwen"]}}}
    assert routed("gpt-4o", mapping=mapping).provider.name == "mine"
    assert routed("qwen", mapping=mapping).provider.name == "mine"


def test_a_pinned_provider_is_the_provider() -> None:
    way = routed("some-deployment", environ={"AZURE_OPENAI_ENDPOINT": "https://me", "AZURE_OPENAI_API_KEY": "k"}, pin=" Azure ")
    assert target(way) == ("azure_openai", "some-deployment")
    assert target(routed("openai/gpt-4o", pin="openai")) == ("openai", "gpt-4o")


def test_a_relay_leaves_the_name_as_it_is() -> None:
    environ = {"OPENROUTER_API_KEY": "sk-or-1"}
    assert target(routed("openrouter/auto", "/api/openrouter/v1/chat/completions", environ)) == ("openrouter", "openrouter/auto")
    assert target(routed("claude-x", "/api/openrouter/v1/chat/completions", environ)) == ("openrouter", "claude-x")


def test_a_relay_to_nobody_is_not_found() -> None:
    with pytest.raises(RequestRejected, match="no provider here") as caught:
        routed("x", "/api/nobody/v1/chat/completions")
    assert caught.value.status == 404


def test_the_default_model_serves_names_that_nobody_serves_and_warns() -> None:
    mapping = {"server": {"default_model": "gpt-4.1-nano"}}
    for model in ("no-such-model", "grok-4", "xai/grok-4"):
        way = routed(model, mapping=mapping)
        assert target(way) == ("openai", "gpt-4.1-nano")
        assert way.warnings == ("model:answered_by_default",)
        assert repr(model) in way.reason
        assert "gpt-4.1-nano" in way.reason
    assert routed("gpt-4o", mapping=mapping).warnings == ()


def test_the_default_model_serves_a_request_without_a_model() -> None:
    assert target(routed(None, mapping={"server": {"default_model": "openai/o3"}})) == ("openai", "o3")
    with pytest.raises(RequestRejected, match="default_model") as caught:
        routed(None)
    assert (caught.value.status, caught.value.param) == (400, "model")


def test_a_default_that_leads_nowhere_leaves_the_first_refusal() -> None:
    with pytest.raises(UnknownModel, match="'no-such-model'"):
        routed("no-such-model", mapping={"server": {"default_model": "nor-this"}})


def test_what_names_no_model_goes_to_who_speaks_the_dialect() -> None:
    assert routed(None, "/api/responses/resp_1", method="GET").provider.name == "openai"
    assert routed(None, "/api/responses/resp_1", method="GET", environ={"XAI_API_KEY": "xai-1"}).provider.name == "xai"


# refusals


def test_an_unknown_name_is_told_the_nearest_ones() -> None:
    with pytest.raises(UnknownModel, match="gpt-4o") as caught:
        routed("gtp-4o", environ=OPENAI)
    assert (caught.value.status, caught.value.param, caught.value.code) == (404, "model", "model_not_found")


def test_nearest_names_include_routes_and_lists() -> None:
    with pytest.raises(UnknownModel, match="my-summariser"):
        routed("my-sumariser", mapping={"models": {"my-summariser": "gpt-4o"}})
    with pytest.raises(UnknownModel, match="qwen3:8b"):
        routed("qwen3:8", environ={"OLLAMA_HOST": "gpu", **OPENAI}, listed={"ollama": ["qwen3:8b"]})


@pytest.mark.parametrize(
    ("model", "path", "provider", "dialect"),
    [
        ("claude-x", CHAT, "anthropic", "anthropic.messages"),
        ("claude-x", RESPONSES, "anthropic", "anthropic.messages"),
        ("gpt-4o", MESSAGES, "openai", "openai.chat"),
        ("gpt-4o", RESPONSES, "openai", "openai.responses"),
        ("gpt-4o", google("gpt-4o"), "openai", "openai.chat"),
        ("gemini-2.5-flash", RESPONSES, "gemini", "gemini"),
        ("claude-x", google("claude-x"), "anthropic", "anthropic.messages"),
    ],
)
def test_a_provider_is_asked_in_a_dialect_it_speaks_the_callers_first(model: str, path: str, provider: str, dialect: str) -> None:
    found = routed(model, path)
    assert (found.provider.name, spoken(found.provider, endpoint_at(path), found.model, parse({}, {}))) == (provider, dialect)


@pytest.mark.parametrize(
    ("model", "dialect"),
    [("gpt-4o", "openai.responses"), ("gpt-4o-search-preview", "openai.chat"), ("claude-sonnet-4-6", "anthropic.messages")],
)
def test_a_search_of_the_web_is_asked_where_the_model_has_one(model: str, dialect: str) -> None:
    endpoint = endpoint_at("/api/google/gemini/v1beta/models/m:generateContent")
    environ = {"OPENAI_API_KEY": "sk-x", "ANTHROPIC_API_KEY": "sk-ant-x"}
    config = parse({}, environ, "test.toml", {})
    found = route(model, endpoint, config)
    assert spoken(found.provider, endpoint, found.model, config, {"tools": [{"googleSearch": {}}]}) == dialect


def test_what_does_not_cross_dialects_is_refused_naming_what_does() -> None:
    with pytest.raises(RequestRejected, match="/api/anthropic/v1/messages") as caught:
        routed("claude-x", "/api/embeddings")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("model", "path", "environ", "variable"),
    [
        ("claude-x", MESSAGES, OPENAI, "ANTHROPIC_API_KEY"),
        ("gemini-2.5-flash", google("gemini-2.5-flash"), OPENAI, "GEMINI_API_KEY"),
        ("azure/gpt-4o", CHAT, OPENAI, "AZURE_OPENAI_ENDPOINT"),
        ("ollama/llama3", CHAT, OPENAI, "OLLAMA_HOST"),
        ("groq/llama", CHAT, OPENAI, "GROQ_API_KEY"),
    ],
)
def test_a_missing_credential_is_a_424_that_names_the_variable(model: str, path: str, environ: dict[str, str], variable: str) -> None:
    with pytest.raises(MissingCredentials, match=variable) as caught:
        routed(model, path, environ)
    assert (caught.value.status, caught.value.code) == (424, "missing_credentials")


# echo


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, google("echo")])
def test_echo_is_always_there_and_speaks_everything(path: str) -> None:
    for environ in ({}, ALL):
        way = routed("echo/status-429", path, environ)
        assert target(way) == ("echo", "echo/status-429")
        assert not way.stands_in


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, google("any")])
@pytest.mark.parametrize(
    "model", ["gpt-4.1-nano", "claude-sonnet-4-5-20250929", "gemini-2.5-flash", "gpt-9", "claude-new", "openai/gpt-4o", "azure/gpt-4o"]
)
def test_without_any_key_every_known_name_is_answered_by_echo(model: str, path: str) -> None:
    way = routed(model, path, {}, credential="YOUR_RESPAN_API_KEY")
    assert way.provider.name == "echo"
    assert way.stands_in


@pytest.mark.parametrize("environ", [OPENAI, ANTHROPIC, {"GROQ_API_KEY": "gsk_1"}])
def test_the_first_key_ends_it_for_all_of_them(environ: dict[str, str]) -> None:
    for model, path in (("gpt-4o", CHAT), ("claude-x", MESSAGES), ("gemini-x", google("gemini-x"))):
        try:
            assert routed(model, path, environ).provider.name != "echo"
        except MissingCredentials:
            continue


def test_a_credential_that_may_be_forwarded_ends_it_too() -> None:
    assert target(routed("gpt-4o", environ={}, credential="sk-1")) == ("openai", "gpt-4o")
    with pytest.raises(MissingCredentials):
        routed("claude-x", MESSAGES, {}, credential="sk-1")


def test_echo_stands_in_for_a_moved_provider_too_while_nobody_has_a_key() -> None:
    moved = {"RESPAN_PROXY_OPENAI_BASE_URL": "http://127.0.0.1:1"}
    assert target(routed("gpt-4o", environ=moved)) == ("echo", "gpt-4o")
    assert target(routed("gpt-4o", environ=moved, credential="sk-1")) == ("openai", "gpt-4o")
    with pytest.raises(MissingCredentials, match="OPENAI_API_KEY"):
        routed("gpt-4o", environ={**moved, "GROQ_API_KEY": "gsk_1"})


def test_unknown_names_stay_unknown_without_any_key() -> None:
    with pytest.raises(UnknownModel, match="gpt-4o"):
        routed("gpt4o", environ={})


@given(st.text(min_size=1), st.sampled_from([CHAT, RESPONSES, MESSAGES]), st.sampled_from([{}, OPENAI, ALL]))
def test_any_name_is_routed_or_refused_and_never_to_another_family(model: str, path: str, environ: dict[str, str]) -> None:
    try:
        way = routed(model, path, environ)
    except RequestRejected as refusal:
        assert refusal.status in (400, 404, 424)  # noqa: PT017
        return
    assert way.reason
    families = {name for name, row in catalog.providers().items() if catalog.Globs(row.families).match(model)}
    assert way.provider.name in families | {"echo"} or "/" in model


@pytest.mark.parametrize(
    ("model", "known"), [("gpt-4.1-nano", True), ("groq/whatever-8b", False), ("llama-3.1-8b-instant", True), ("xyz", False), ("", False)]
)
def test_names_are_known_by_heart_or_by_family(model: str, known: bool) -> None:
    assert is_known(model) is known


def test_every_dialect_has_a_door() -> None:
    assert {endpoint.dialect for endpoint in doors("a/b c")} == {"openai.chat", "openai.responses", "anthropic.messages", "gemini"}
