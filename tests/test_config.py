"""The configuration: complete by default, complained about all at once, shown whole in the example and the documentation."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.config import Config, Export, Listen, Provider, digest, parse, parse_env_file
from respan_proxy.config.document import example, tables
from respan_proxy.config.export_tables import EXPORT
from respan_proxy.config.kinds import Unfit, literal, parse_listen
from respan_proxy.config.options import CUSTOMER, GROUP, KEYS, OPTIONS, PROFILES, ROUTE, Option, default_of
from respan_proxy.config.parsing import default_database
from respan_proxy.config.provider_options import DEPLOYMENT, PROVIDER
from respan_proxy.dialects import DIALECTS, catalog
from respan_proxy.dialects.profiles import MEMBERS
from respan_proxy.errors import ConfigError, RequestRejected

ROOT = Path(__file__).parents[1]


def problems_of(mapping: Mapping[str, Any], environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(mapping, environ or {}, "proxy.toml", flags)
    return caught.value.problems


def provider_of(name: str, table: Mapping[str, Any] | None = None, **environ: str) -> Provider:
    found = parse({"providers": {name: table}} if table is not None else {}, environ).provider(name)
    assert found is not None
    return found


# defaults, the example, the documentation


def test_nothing_configured_gives_every_default() -> None:
    config = parse({}, {"HOME": "/nobody"}, platform="linux")
    bare = Config(database="/nobody/.local/share/respan-proxy/respan-proxy.db")
    assert replace(config, providers={}) == bare
    assert config.listen == Listen("127.0.0.1", 7776)
    assert config.any_key
    assert not config.has_provider_key


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.path)
def test_example_shows_every_option_with_its_default_and_why(option: Option) -> None:
    text = (ROOT / "config.example.toml").read_text("utf-8")
    shown = tomllib.loads(text)
    assert option.name in shown[option.section]
    assert option.kind.write(default_of(option)) == option.kind.write(option.kind.read(shown[option.section][option.name]))
    assert re.search(rf"^# {re.escape(option.why)}.*\n{option.name} = ", text, re.MULTILINE)


def test_example_is_the_table_of_options_written_out() -> None:
    assert (ROOT / "config.example.toml").read_text("utf-8") == example(), "run: python -m respan_proxy.config.document example"


def test_example_as_it_stands_changes_nothing() -> None:
    shown = tomllib.loads((ROOT / "config.example.toml").read_text("utf-8"))
    assert parse(shown, {}) == parse({}, {})


def test_example_uncommented_shows_every_option_of_keys_and_providers() -> None:
    text = (ROOT / "config.example.toml").read_text("utf-8")
    shown = tomllib.loads(re.sub(r"^# (?=\[|#|\"?[\w-]+\"? = )", "", text, flags=re.MULTILINE))
    exclude = "key and token_command exclude each other"
    assert set(shown["providers"]["openai"]) == {option.name for option in PROVIDER} - {"token_command"} | {"deployments"}, exclude
    assert set(shown["providers"]["openai"]["deployments"][0]) == {option.name for option in DEPLOYMENT}
    assert set(shown["export"][0]) == {option.name for option in EXPORT}
    assert set(shown["routes"]["gpt-*"]) == {option.name for option in ROUTE}
    assert set(shown["customers"]["*"]) == {option.name for option in CUSTOMER}
    assert set(shown["groups"]["everyday"]) == {option.name for option in GROUP}
    assert set(shown["keys"][0]) == {option.name for option in KEYS} - {"digest"}, "key and digest exclude each other"
    assert "# digest = " in text
    assert set(shown["profiles"][0]) == {option.name for option in PROFILES}
    shown["profiles"][0]["providers"] = ["openai"]
    parse(shown, {"OPENAI_API_KEY": "sk-1", "RESPAN_API_KEY": "k"})


def test_starter_says_nothing_until_a_line_is_uncommented() -> None:
    assert all(not table for table in tomllib.loads(example(commented=True)).values())


def test_documentation_has_the_tables_of_options() -> None:
    assert tables() in (ROOT / "docs" / "configuration.md").read_text("utf-8"), "run: python -m respan_proxy.config.document tables"


def test_every_option_says_why_in_one_line() -> None:
    assert all(
        option.why and "\n" not in option.why and len(option.why) <= 120
        for option in (*OPTIONS, *KEYS, *EXPORT, *CUSTOMER, *ROUTE, *GROUP, *DEPLOYMENT, *PROVIDER)
    )


# passing on


def exports_of(*tables: dict[str, Any], **environ: str) -> tuple[Export, ...]:
    return parse({"export": list(tables)}, environ).exports


@pytest.mark.parametrize(
    ("preset", "environ", "endpoint", "headers"),
    [
        (
            "langfuse",
            {"LANGFUSE_PUBLIC_KEY": "pk-1", "LANGFUSE_SECRET_KEY": "sk-1"},
            "https://cloud.langfuse.com/api/public/otel/v1/traces",
            {"Authorization": "Basic cGstMTpzay0x", "x-langfuse-ingestion-version": "4"},
        ),
        ("phoenix", {}, "http://localhost:6006/v1/traces", {}),
        (
            "phoenix",
            {"PHOENIX_API_KEY": "p-1", "PHOENIX_COLLECTOR_ENDPOINT": "https://phoenix.example/"},
            "https://phoenix.example/v1/traces",
            {"Authorization": "Bearer p-1"},
        ),
        (  # a space of its cloud, as its pages say it
            "phoenix",
            {"PHOENIX_COLLECTOR_ENDPOINT": "https://app.phoenix.arize.com/s/my-space"},
            "https://app.phoenix.arize.com/s/my-space/v1/traces",
            {},
        ),
        ("jaeger", {}, "http://localhost:4318/v1/traces", {}),
        ("tempo", {}, "http://localhost:4318/v1/traces", {}),
        ("respan", {"RESPAN_API_KEY": "r-1"}, "https://api.respan.ai/api/v2/traces", {"Authorization": "Bearer r-1"}),
    ],
)
def test_a_preset_knows_the_place_and_the_form_of_the_key(
    preset: str, environ: dict[str, str], endpoint: str, headers: dict[str, str]
) -> None:
    (export,) = exports_of({"preset": preset}, **environ)
    assert (export.name, export.endpoint, dict(export.headers)) == (preset, endpoint, headers)
    assert (export.encoding, export.compression, export.content) == ("protobuf", "gzip", "none")


@pytest.mark.parametrize(
    ("preset", "given", "endpoint"),
    [
        ("langfuse", "http://localhost:3000", "http://localhost:3000/api/public/otel/v1/traces"),
        ("langfuse", "http://localhost:3000/api/public/otel/", "http://localhost:3000/api/public/otel/v1/traces"),
        ("langfuse", "http://localhost:3000/api/public/otel/v1/traces", "http://localhost:3000/api/public/otel/v1/traces"),
        ("langfuse", "https://tools.example/langfuse", "https://tools.example/langfuse/api/public/otel/v1/traces"),
        ("langfuse", "https://tools.example/langfuse/api/public/otel", "https://tools.example/langfuse/api/public/otel/v1/traces"),
        ("tempo", "https://tempo.example/otlp/v1/traces", "https://tempo.example/otlp/v1/traces"),
        ("respan", "http://127.0.0.1:7776/api", "http://127.0.0.1:7776/api/v2/traces"),
        (None, "http://collector:4318", "http://collector:4318/v1/traces"),
        (None, "https://otel.example/some/path", "https://otel.example/some/path"),
    ],
)
def test_an_endpoint_is_completed_where_it_is_a_beginning(preset: str | None, given: str, endpoint: str) -> None:
    table = {"name": "ours", "endpoint": given, "headers": {"Authorization": "Bearer k"}} | ({"preset": preset} if preset else {})
    assert exports_of(table)[0].endpoint == endpoint


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [
        ([{"preset": "langfuse"}], 'export[1].preset: found "langfuse" without LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY, expected'),
        ([{"preset": "respan"}], 'export[1].preset: found "respan" without RESPAN_API_KEY, expected RESPAN_API_KEY in the environment'),
        ([{"name": "a"}], "export[1].endpoint: found nothing, expected an http:// or https:// URL"),
        ([{"endpoint": "http://a"}], "export[1].name: found nothing, expected a name for the export"),
        ([{"preset": "phoenix", "encoding": "json"}], "export[1].encoding: found a string 'json', expected \"protobuf\""),
        (
            [{"preset": "phoenix"}, {"preset": "phoenix"}],
            "export[2].name: found a string 'phoenix', expected a name that no other export has",
        ),
        ([{"preset": "grafana"}], 'export[1].preset: found a string \'grafana\', expected one of "langfuse", "phoenix"'),
        ([{"preset": "phoenix", "headers": {"X": "env:NOT_SET"}}], "export[1].headers.X: found a string 'env:NOT_SET', expected the name"),
        (
            [{"name": "a", "endpoint": "https://me:the-password@a.example/v1/traces?key=the-key"}],
            "export[1].endpoint: found a string 'https://***@a.example/v1/traces?***', expected an http:// or https:// URL without",
        ),
        ([{"preset": "phoenix", "heders": {}}], "export[1].heders: found an unknown key, expected a known key; did you mean headers?"),
    ],
)
def test_an_export_with_a_mistake_is_refused_naming_key_found_and_expected(tables: list[dict[str, Any]], complaint: str) -> None:
    problems = problems_of({"export": tables})
    assert len(problems) == 1
    assert complaint in problems[0]


def test_a_key_that_no_header_can_carry_is_refused_without_showing_it() -> None:
    (problem,) = problems_of({"export": [{"preset": "respan"}]}, {"RESPAN_API_KEY": "se cret"})
    assert "RESPAN_API_KEY" in problem
    assert "cret" not in problem


def test_headers_of_ones_own_stand_over_a_presets() -> None:
    (export,) = exports_of({"preset": "langfuse", "headers": {"authorization": "Basic mine", "x-langfuse-ingestion-version": "5"}})
    assert export.headers == {"authorization": "Basic mine", "x-langfuse-ingestion-version": "5"}


def test_strings_in_tables_may_come_from_the_environment_too() -> None:
    table = {"base_url": "http://gpu.internal:8000", "headers": {"X-Team": "env:TEAM", "X-Plain": "yes"}}
    assert provider_of("ours", table, TEAM="search").headers == {"X-Team": "search", "X-Plain": "yes"}


# values


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:80", Listen("127.0.0.1", 80)),
        ("8080", Listen("127.0.0.1", 8080)),
        ("[::1]:0", Listen("::1", 0)),
        ("localhost:7776", Listen("localhost", 7776)),
        ("unix:/run/respan.sock", Listen("", 0, "/run/respan.sock")),
    ],
)
def test_listen_is_a_host_and_port_or_a_unix_socket(text: str, listen: Listen) -> None:
    assert parse({"server": {"listen": text}}, {}).listen == listen
    assert parse_listen(str(listen)) == listen


@given(st.text())
def test_any_listen_text_is_read_or_refused(text: str) -> None:
    try:
        listen = parse_listen(text)
    except Unfit:
        return
    assert listen.path or 0 <= listen.port <= 65535


@pytest.mark.parametrize(("size", "octets"), [(5, 5), ("64 MB", 64_000_000), ("2GiB", 2 * 2**30), ("1.5 kb", 1500), ("7", 7), ("0", 0)])
def test_sizes_are_numbers_or_read_with_their_unit(size: object, octets: int) -> None:
    assert parse({"limits": {"request_bytes": size}}, {}).limits.request_bytes == octets


ANYTHING = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(OPTIONS), ANYTHING)
def test_no_value_of_an_option_breaks_parsing_otherwise_than_by_complaint(option: Option, value: object) -> None:
    try:
        parse({option.section: {option.name: value}}, {})
    except ConfigError as error:
        assert all(option.path in problem for problem in error.problems)  # noqa: PT017


@given(st.sampled_from(PROVIDER), ANYTHING)
def test_no_value_of_a_providers_option_does_either(option: Option, value: object) -> None:
    try:
        parse({"providers": {"openai": {option.name: value}}}, {})
    except ConfigError as error:
        assert all(f"providers.openai.{option.name}" in problem for problem in error.problems)  # noqa: PT017


@given(st.dictionaries(st.text(), st.text() | st.dictionaries(st.text(), st.text() | st.lists(st.text()) | st.integers())))
def test_any_document_is_read_or_complained_about(mapping: dict[str, Any]) -> None:
    try:
        config = parse(mapping, {})
    except ConfigError as error:
        assert error.problems  # noqa: PT017
    else:
        assert config.providers


@given(st.recursive(st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])), st.lists))
def test_literals_are_toml_for_the_same_value(value: object) -> None:
    assert tomllib.loads(f"x = {literal(value)}")["x"] == value


def test_a_value_may_come_from_the_environment() -> None:
    config = parse({"server": {"default_model": "env:WHICH"}}, {"WHICH": "gpt-4o"})
    assert config.default_model == "gpt-4o"


def test_flags_win_over_variables_and_variables_over_the_file() -> None:
    mapping = {"server": {"listen": "127.0.0.1:1"}, "store": {"database": "file.db"}}
    environ = {"RESPAN_PROXY_LISTEN": "127.0.0.1:2", "RESPAN_PROXY_DATABASE": "variable.db"}
    assert parse(mapping, {}).listen.port == 1
    assert parse(mapping, environ).listen.port == 2
    both = parse(mapping, environ, flags={"listen": "127.0.0.1:3", "database": "flag.db"})
    assert (both.listen.port, both.database) == (3, "flag.db")


@pytest.mark.parametrize(
    ("environ", "platform", "path"),
    [
        ({"HOME": "/h"}, "linux", "/h/.local/share/respan-proxy/respan-proxy.db"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/data"}, "linux", "/data/respan-proxy/respan-proxy.db"),
        ({"HOME": "/h"}, "darwin", "/h/Library/Application Support/respan-proxy/respan-proxy.db"),
        ({}, "linux", "respan-proxy.db"),
    ],
)
def test_database_lies_in_the_platforms_data_directory(environ: dict[str, str], platform: str, path: str) -> None:
    assert default_database(environ, platform) == path


# complaints


def test_every_mistake_is_reported_at_once_with_file_key_found_and_expected() -> None:
    problems = problems_of(
        {
            "server": {"listen": "nowhere", "ask_usage": "yes"},
            "limits": {"request_bytes": "lots"},
            "timeouts": {"silence_s": 0},
            "providers": {"openai": {"base_url": "api.openai.com"}},
        },
        {"RESPAN_PROXY_KEYS": "nameless"},
    )
    assert len(problems) == 6
    assert all(re.fullmatch(r"(proxy\.toml|environment): \S.*: found .+, expected .+", problem) for problem in problems)
    assert any(problem.startswith("proxy.toml: limits.request_bytes: found a string 'lots', expected a size") for problem in problems)


@pytest.mark.parametrize(
    ("mapping", "key", "near"),
    [
        ({"servr": {}}, "servr", "server"),
        ({"server": {"lisen": 1}}, "server.lisen", "listen"),
        ({"providers": {"openai": {"base_ulr": 1}}}, "providers.openai.base_ulr", "base_url"),
        ({"keys": [{"name": "a", "key": "k", "admin": True}]}, "keys[1].admin", "is_admin"),
        ({"providers": {"opnai": {"key": "k"}}}, "providers.opnai.base_url", "openai"),
        ({"providers": {"azure": {}}}, "providers.azure", "azure_openai"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_known_one(mapping: dict[str, Any], key: str, near: str) -> None:
    assert any(problem.startswith(f"proxy.toml: {key}: ") and near in problem.split(": ", 2)[2] for problem in problems_of(mapping))


def test_an_unknown_variable_of_ours_is_a_mistake_too() -> None:
    (problem,) = problems_of({}, {"RESPAN_PROXY_LISTN": "1"})
    assert problem.startswith("environment: RESPAN_PROXY_LISTN: ")
    assert problem.endswith("did you mean RESPAN_PROXY_LISTEN?")


@pytest.mark.parametrize(
    "mapping",
    [
        {"keys": [{"name": "a", "key": "se cret"}]},
        {"keys": [{"name": "a", "digest": "secret"}]},
        {"keys": "secret"},
        {"providers": {"openai": {"key": "sec ret-secret"}}},
        {"providers": {"openai": {"headers": {"X": "secret\n"}}}},
        {"providers": {"openai": {"headers": "secret"}}},
        {"export": [{"preset": "phoenix", "headers": {"X": "secret\n"}}]},
        {"providers": {"openai": {"proxy": "ftp://user:secret@x"}}},
    ],
)
def test_no_complaint_shows_a_secret(mapping: dict[str, Any]) -> None:
    assert not any("secret" in problem for problem in problems_of(mapping))


def test_no_representation_of_the_configuration_shows_a_secret() -> None:
    config = parse(
        {
            "keys": [{"name": "me", "key": "our-secret"}],
            "providers": {"openai": {"key": "their-secret", "headers": {"X": "header-secret"}}},
            "export": [{"preset": "phoenix", "headers": {"X": "header-secret"}}],
        },
        {},
    )
    assert "secret" not in repr(config)
    assert digest("our-secret") not in repr(config)


def test_an_alias_that_leads_back_to_itself_is_a_mistake() -> None:
    problems = problems_of({"models": {"a": "b", "b": "a", "c": "d"}})
    assert len(problems) == 2
    assert problems[0].startswith("proxy.toml: models.a: ")


# who may reach us


@pytest.mark.parametrize("listen", ["0.0.0.0:7776", "192.168.1.5:80", "[::]:1", "my.host:1", "127.evil.example:1"])
def test_binding_beyond_loopback_without_keys_is_refused_with_the_line_to_add(listen: str) -> None:
    (problem,) = problems_of({}, {}, {"listen": listen})
    line = re.search(r"keys = \[.*?\]", problem)
    assert line
    keys = tomllib.loads(line[0])
    assert str(parse(keys, {}, flags={"listen": listen}).listen) == listen


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.8.8.8:1", "localhost:1", "[::1]:1", "unix:/tmp/s", "1"])
def test_loopback_needs_no_keys(listen: str) -> None:
    assert parse({}, {"RESPAN_PROXY_LISTEN": listen}).listen.is_loopback


def test_a_second_address_beyond_loopback_needs_keys_as_the_first_does() -> None:
    beyond = {"telemetry": {"listen": "0.0.0.0:4318"}}
    (problem,) = problems_of(beyond)
    assert problem.startswith("proxy.toml: telemetry.listen: found a string '0.0.0.0:4318', expected a loopback address, or keys")
    assert str(parse(beyond, {"RESPAN_PROXY_KEYS": "me:a-long-secret"}).telemetry.listen) == "0.0.0.0:4318"


def test_a_second_address_is_another_one_than_the_first() -> None:
    (problem,) = problems_of({"telemetry": {"listen": "127.0.0.1:7776"}})
    assert problem.startswith("proxy.toml: telemetry.listen: found a string '127.0.0.1:7776', expected another address than server.listen")
    assert parse({"telemetry": {"listen": ""}}, {}).telemetry.listen is None


def test_keys_are_kept_as_digests() -> None:
    rows = [
        {"name": "me", "key": "env:MINE", "environment": "prod", "is_admin": True},
        {"name": "b", "digest": "sha256$" + digest("two")[7:].upper()},
    ]
    config = parse({"keys": rows}, {"MINE": "one"})
    assert [(key.name, key.environment, key.is_admin) for key in config.keys] == [("me", "prod", True), ("b", None, False)]
    assert [key.fits(digest(text)) for key, text in zip(config.keys, ["one", "two"], strict=True)] == [True, True]
    assert not config.keys[0].fits(digest("two"))
    assert len({key.id for key in config.keys}) == 2


def test_keys_of_the_environment_take_the_place_of_the_files() -> None:
    config = parse({"keys": [{"name": "file", "key": "one"}]}, {"RESPAN_PROXY_KEYS": "ci:three:test, plain:four"})
    assert [(key.name, key.environment, key.is_admin) for key in config.keys] == [("ci", "test", False), ("plain", None, False)]
    assert not any(key.fits(digest("one")) for key in config.keys)


@pytest.mark.parametrize(
    "rows",
    [
        [{"key": "k"}],
        [{"name": "a"}],
        [{"name": "a", "key": "k", "digest": digest("k")}],
        [{"name": "a", "key": "k"}, {"name": "a", "key": "l"}],
        [{"name": "a", "key": "k"}, {"name": "b", "key": "k"}],
        [{"name": "a", "key": "env:NOT_SET"}],
    ],
)
def test_a_key_without_a_name_of_its_own_and_one_secret_is_a_mistake(rows: list[dict[str, str]]) -> None:
    assert len(problems_of({"keys": rows})) == 1


# providers


def test_a_key_in_the_environment_is_all_a_known_provider_needs() -> None:
    openai = provider_of("openai", OPENAI_API_KEY="sk-1")
    assert (openai.key, openai.base_url, openai.placed) == ("sk-1", "https://api.openai.com/v1", False)
    assert provider_of("gemini", GOOGLE_API_KEY="AIza").key == "AIza"


def test_providers_that_need_a_place_are_absent_until_they_have_one() -> None:
    assert not {"ollama", "azure_openai", "vertex_ai", "vllm"} & set(parse({}, {}).providers)
    assert provider_of("ollama", {}).base_url == "http://127.0.0.1:11434/v1"
    assert provider_of("azure", AZURE_OPENAI_ENDPOINT="https://me.openai.azure.com/").base_url == "https://me.openai.azure.com"
    assert provider_of("vertex_ai", VERTEX_AI_ACCESS_TOKEN="ya29.x").base_url == "https://aiplatform.googleapis.com"


@pytest.mark.parametrize(
    ("host", "base_url"),
    [("gpu", "http://gpu:11434/v1"), ("gpu:1", "http://gpu:1/v1"), ("http://gpu:1/", "http://gpu:1/v1")],
)
def test_ollama_host_may_lack_scheme_and_port(host: str, base_url: str) -> None:
    assert provider_of("ollama", OLLAMA_HOST=host).base_url == base_url


def test_a_variable_moves_a_provider_without_any_file() -> None:
    moved = provider_of("openai", {"base_url": "http://file/v1"}, RESPAN_PROXY_OPENAI_BASE_URL="http://127.0.0.1:9/v1/")
    assert (moved.base_url, moved.placed) == ("http://127.0.0.1:9/v1", True)
    assert provider_of("anthropic", RESPAN_PROXY_ANTHROPIC_BASE_URL="http://127.0.0.1:9").base_url == "http://127.0.0.1:9"


def test_sdk_variables_that_often_point_at_this_proxy_move_nothing() -> None:
    assert not provider_of("openai", OPENAI_BASE_URL="http://localhost:7776/api", OPENAI_API_KEY="sk").placed


def test_a_custom_provider_is_a_table_with_a_base_url() -> None:
    custom = provider_of(
        "my_vllm",
        {
            "base_url": "https://gpu.internal:8000",
            "models": ["qwen3"],
            "auth": "X-Token",
            "dialects": ["openai.chat", "anthropic.messages"],
            "headers": {"X-Team": "a"},
            "proxy": "http://proxy:3128",
            "ca_file": "ca.pem",
            "silence_s": 5,
            "ask_usage": False,
            "caller_keys": "never",
            "request_bytes": "1 MB",
        },
        MY_VLLM_API_KEY="token",
    )
    assert custom.base_url == "https://gpu.internal:8000/v1"
    assert (str(custom.auth), custom.key, custom.models, custom.headers) == ("X-Token", "token", ("qwen3",), {"X-Team": "a"})
    assert (custom.proxy, custom.ca_file, custom.request_bytes, custom.caller_keys) == ("http://proxy:3128", "ca.pem", 1_000_000, "never")
    assert (custom.timeouts.silence_s, custom.timeouts.connect_s, custom.quirks.ask_usage) == (5, 10, False)


def test_a_providers_key_that_names_an_unset_variable_is_a_warning() -> None:
    config = parse({"providers": {"openai": {"key": "env:NOT_SET"}}}, {})
    assert "NOT_SET" in config.warnings[0]
    assert not config.has_provider_key


def test_timeouts_of_a_provider_fall_back_to_the_general_ones() -> None:
    config = parse({"timeouts": {"connect_s": 3}, "providers": {"openai": {"silence_s": 4}}}, {})
    assert (config.providers["openai"].timeouts.connect_s, config.providers["openai"].timeouts.silence_s) == (3, 4)


def test_the_built_in_provider_cannot_be_configured_away() -> None:
    assert problems_of({"providers": {"echo": {"base_url": "http://x"}}})


@pytest.mark.parametrize("row", catalog.providers().values(), ids=lambda row: row.name)
def test_every_known_provider_speaks_dialects_that_exist(row: catalog.ProviderRow) -> None:
    assert row.dialects
    assert set(row.dialects) <= set(DIALECTS)


@pytest.mark.parametrize(
    ("provider", "model"),
    [(provider, model) for provider, models in catalog.models().items() for model in models if provider not in ("groq", "echo")],
)
def test_every_model_known_by_heart_belongs_to_its_providers_family(provider: str, model: str) -> None:
    families = {name for name, row in catalog.providers().items() if catalog.Globs(row.families).match(model)}
    assert provider in families
    assert families <= {provider} | {"openai": {"azure_openai"}, "gemini": {"vertex_ai"}, "anthropic": {"vertex_ai", "foundry"}}.get(
        provider, set()
    )


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("sk-proj-1", "openai"),
        ("sk-ant-api03-1", "anthropic"),
        ("sk-ant-oat01-1", "anthropic"),
        ("AIzaSy", "gemini"),
        ("gsk_1", "groq"),
        ("xai-1", "xai"),
        ("sk-or-v1-1", "openrouter"),
        ("YOUR_RESPAN_API_KEY", None),
        ("", None),
    ],
)
def test_the_form_of_a_key_names_at_most_one_provider(key: str, owner: str | None) -> None:
    owners = [name for name, row in catalog.providers().items() if catalog.Globs(row.key_pattern).match(key)]
    assert owners == ([owner] if owner else [])


# addresses


CHAT, MESSAGES, GENERATE = "/chat/completions", "/v1/messages", "/{version}/models/{model}:generateContent"


@pytest.mark.parametrize(
    ("name", "base_url", "path", "url"),
    [
        ("openai", None, CHAT, "https://api.openai.com/v1/chat/completions"),
        ("openai", "http://x:1", CHAT, "http://x:1/v1/chat/completions"),
        ("openai", "http://x:1/", CHAT, "http://x:1/v1/chat/completions"),
        ("openai", "http://x:1/v1/", CHAT, "http://x:1/v1/chat/completions"),
        ("openai", "http://x:1/gate/way", CHAT, "http://x:1/gate/way/chat/completions"),
        ("groq", "http://x:1", CHAT, "http://x:1/openai/v1/chat/completions"),
        ("anthropic", None, MESSAGES, "https://api.anthropic.com/v1/messages"),
        ("anthropic", "http://x:1/v1", MESSAGES, "http://x:1/v1/messages"),
        ("anthropic", "http://x:1/anthropic/", MESSAGES, "http://x:1/anthropic/v1/messages"),
        ("ollama", "http://x:1", MESSAGES, "http://x:1/v1/messages"),
        ("gemini", None, GENERATE, "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent"),
        ("gemini", "http://x:1/v1beta/", GENERATE, "http://x:1/v1beta/models/m:generateContent"),
        ("gemini", "http://x:1", "/v1/models/{model}:countTokens", "http://x:1/v1/models/m:countTokens"),
        (
            "azure_openai",
            "https://me.azure.com",
            CHAT,
            "https://me.azure.com/openai/deployments/m/chat/completions?api-version=2025-04-01-preview",
        ),
        (
            "azure_openai",
            "https://me.azure.com/openai/",
            "/responses/r_1/cancel",
            "https://me.azure.com/openai/responses/r_1/cancel?api-version=2025-04-01-preview",
        ),
        ("azure_openai", "https://me.azure.com/openai/v1/", CHAT, "https://me.azure.com/openai/v1/chat/completions"),
        ("mine", "http://x:1", CHAT, "http://x:1/v1/chat/completions"),
        ("mine", "http://x:1/v2", CHAT, "http://x:1/v2/chat/completions"),
    ],
)
def test_base_urls_are_taken_with_and_without_slash_and_version(name: str, base_url: str | None, path: str, url: str) -> None:
    assert provider_of(name, {"base_url": base_url} if base_url else {}).url(path, "m") == url


def test_vertex_addresses_name_project_and_region() -> None:
    vertex = provider_of("vertexai", VERTEX_AI_ACCESS_TOKEN="t", GOOGLE_CLOUD_PROJECT="p", GOOGLE_CLOUD_LOCATION="europe-west4")
    assert vertex.url(GENERATE, "gemini-2.5-pro@001", "alt=sse", version="v1beta1") == (
        "https://europe-west4-aiplatform.googleapis.com/v1beta1/projects/p/locations/europe-west4/publishers/google/models/gemini-2.5-pro@001:generateContent?alt=sse"
    )


def test_vertex_without_a_project_is_warned_of_and_refused() -> None:
    config = parse({}, {"VERTEX_AI_ACCESS_TOKEN": "t"})
    assert "project" in config.warnings[0]
    with pytest.raises(RequestRejected, match="GOOGLE_CLOUD_PROJECT"):
        config.providers["vertex_ai"].url(GENERATE, "m")
    assert config.providers["vertex_ai"].url(GENERATE, "m", place=("theirs", "us-east1")) == (
        "https://us-east1-aiplatform.googleapis.com/v1/projects/theirs/locations/us-east1/publishers/google/models/m:generateContent"
    )


@pytest.mark.parametrize(
    ("name", "path", "model", "tail"),
    [
        ("gemini", GENERATE, "models/gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("gemini", GENERATE, "tunedModels/mine-1", "/v1beta/tunedModels/mine-1:generateContent"),
        ("gemini", GENERATE, "a b?c#d:e", "/v1beta/models/a%20b%3Fc%23d%3Ae:generateContent"),
        ("openai", "/models/{model}", "ft:gpt-4o:me::1", "/v1/models/ft%3Agpt-4o%3Ame%3A%3A1"),
        ("openrouter", "/models/{model}", "meta/llama", "/api/v1/models/meta/llama"),
    ],
)
def test_model_names_are_percent_encoded_in_addresses(name: str, path: str, model: str, tail: str) -> None:
    assert provider_of(name).url(path, model).endswith(tail)


def test_a_deployments_name_is_one_segment() -> None:
    azure = provider_of("azure", AZURE_OPENAI_ENDPOINT="https://me")
    assert "/deployments/a%2Fb/" in azure.url("/embeddings", "a/b")


@pytest.mark.parametrize("model", ["..", "../../admin", "a/../../b"])
def test_no_model_name_climbs_out_of_the_providers_path(model: str) -> None:
    with pytest.raises(RequestRejected, match=r"\.\."):
        provider_of("gemini").url(GENERATE, model)


@given(st.text(min_size=1))
def test_no_model_name_ends_the_path_early(model: str) -> None:
    try:
        url = provider_of("gemini").url(GENERATE, model)
    except RequestRejected:
        return
    assert url.endswith(":generateContent")
    assert not {"?", "#", " ", "\n"} & set(url)


def test_a_query_passes_as_it_is() -> None:
    assert provider_of("openai").url("/models", None, "a=%2F&b").endswith("/v1/models?a=%2F&b")
    azure = provider_of("azure", AZURE_OPENAI_ENDPOINT="https://me")
    assert azure.url(CHAT, "m", "api-version=2024-01-01").endswith("?api-version=2024-01-01")
    assert azure.url(CHAT, "m", "x=1").endswith("?api-version=2025-04-01-preview&x=1")


@pytest.mark.parametrize("name", ["azure", "Azure_OpenAI", " azure-openai "])
def test_a_provider_is_found_by_any_of_its_names(name: str) -> None:
    found = parse({}, {"AZURE_OPENAI_ENDPOINT": "https://me"}).provider(name)
    assert found is not None
    assert found.name == "azure_openai"


# .env


def test_env_files_are_read_as_dotenv_reads_them() -> None:
    text = """\ufeff
# a comment
A=1
export B = two words # not this
C='single # $A' # this neither
D="line\\nnext \\"q\\""
E=
F=a#b
not an assignment
G="unfinished
H = last
"""
    found = parse_env_file(text)
    assert {name: found.get(name) for name in "ABCDEFH"} == {
        "A": "1",
        "B": "two words",
        "C": "single # $A",
        "D": 'line\nnext "q"',
        "E": "",
        "F": "a#b",
        "H": "last",
    }


@given(st.text())
def test_no_env_file_breaks_reading(text: str) -> None:
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in parse_env_file(text).items())


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True),
        st.text(st.characters(exclude_characters="'\r\n", exclude_categories=["Cs"])),
    )
)
def test_quoted_values_of_an_env_file_survive(values: dict[str, str]) -> None:
    assert parse_env_file("\n".join(f"{name}='{value}'" for name, value in values.items())) == values


# [[profiles]]


def test_every_fact_of_a_profile_is_an_option() -> None:
    assert {option.name for option in PROFILES} == MEMBERS | {"models", "providers"}


def test_a_users_profile_holds_over_what_is_known_for_the_models_and_providers_it_names() -> None:
    rule = {"models": ["o3*"], "providers": ["openai"], "refuses": ["-stop"], "max_tokens": 7, "user_field": "", "efforts": ["low"]}
    config = parse({"profiles": [rule, {"models": ["o3-mini"], "max_tokens": 9}]}, {})
    known = parse({}, {}).profile("openai", "o3")
    profile = config.profile("openai", "o3")
    assert profile == replace(known, refuses=known.refuses - {"stop"}, max_tokens=7, user_field=None, efforts=("low",))
    assert config.profile("openai", "o3-mini").max_tokens == 9
    assert config.profile("openrouter", "o3") == parse({}, {}).profile("openrouter", "o3")


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"max_token": 5}, "profiles[1].max_token: found an unknown key, expected a known key; did you mean max_tokens?"),
        ({"max_tokens": 0}, "profiles[1].max_tokens: found a number 0, expected a whole number above 0"),
        ({"thinking": "deep"}, "profiles[1].thinking: found a string 'deep', expected one of"),
        ({"models": "o3"}, "profiles[1].models: found a string 'o3', expected a list of globs"),
        ({"models": []}, "profiles[1].models: found a list [], expected a list of globs"),
        ({"efforts": ["huge"]}, "profiles[1].efforts: found a list ['huge'], expected a list out of"),
        ({"providers": ["azure"]}, "providers: found a string 'azure', expected a provider's name, or a glob; did you mean azure_openai?"),
        ({"providers": ["opneai"]}, "did you mean openai?"),
    ],
)  # fmt: skip
def test_a_profile_with_a_mistake_is_refused_naming_key_found_and_expected(rule: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"profiles": [rule]}, {}, "my.toml")
    assert complaint in caught.value.problems[0] and caught.value.problems[0].startswith("my.toml: ")


def test_profiles_must_be_tables() -> None:
    with pytest.raises(ConfigError, match=r"profiles: found a table, expected \[\[profiles\]\] tables"):
        parse({"profiles": {"models": ["x"]}}, {})


def test_a_deployment_without_a_key_never_gets_anothers() -> None:
    table = {
        "providers": {
            "openai": {"deployments": [{"name": "one", "key": "sk-1"}, {"name": "two", "base_url": "https://elsewhere.example/v1"}]}
        }
    }
    with pytest.raises(ConfigError, match=r"providers\.openai\.deployments\[2\]\.key: found nothing, expected a key"):
        parse(table, {})
    both = parse(table, {"OPENAI_API_KEY": "sk-for-all"}).providers["openai"].deployments
    assert [(one.name, one.key) for one in both] == [("default", "sk-for-all"), ("one", "sk-1"), ("two", None)]


@pytest.mark.parametrize("form", ["written", "env"])
def test_a_service_account_as_a_key_is_told_the_form_that_works(form: str) -> None:
    account = '{"type": "service_account", "private_key": "-----BEGIN"}'
    key = account if form == "written" else "env:ACCOUNT"
    config = parse({"providers": {"vertex_ai": {"key": key, "project": "p"}}}, {"ACCOUNT": account})
    assert config.providers["vertex_ai"].key is None
    assert any("vertex_ai: its key is not used: expected" in warning and "BEGIN" not in warning for warning in config.warnings)
