"""The start page: what to do next, for whoever opens it; nothing that a stranger could use."""

from __future__ import annotations

import re

import aiohttp

from respan_proxy.config import parse
from respan_proxy.server.pages import start_page
from tests.conftest import StartProxy


async def test_the_root_leads_to_the_page_and_the_page_names_the_address_it_was_reached_at(start_proxy: StartProxy) -> None:
    proxy = await start_proxy({}, {})
    headers = {"Host": "app.localhost:1234"}
    async with aiohttp.ClientSession() as client, client.get(f"{proxy.root}/", headers=headers, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/ui/")
    async with aiohttp.ClientSession() as client, client.get(f"{proxy.root}/ui/", headers=headers) as response:
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert "http://app.localhost:1234/api/anthropic" in page
    assert "<script" not in page
    assert "'none'" in policy
    assert "unsafe" not in policy


def test_a_name_in_the_host_header_is_text_and_not_markup() -> None:
    assert "<img" not in start_page(parse({}, {}), "http://<img src=x>/api")


def test_it_says_that_echo_stands_in_only_while_it_does() -> None:
    assert "echo</code>, the built-in provider" in start_page(parse({}, {}), "http://localhost/api")
    assert "echo</code>, the built-in provider" not in start_page(parse({}, {"GROQ_API_KEY": "gsk_1"}), "http://localhost/api")


def test_no_key_is_shown_and_behind_keys_no_provider_either() -> None:
    environ = {"OPENAI_API_KEY": "sk-the-secret", "RESPAN_PROXY_OPENAI_BASE_URL": "http://gpu.internal/v1"}
    assert "http://gpu.internal/v1" in start_page(parse({}, environ), "http://localhost/api")
    assert "sk-the-secret" not in start_page(parse({}, environ), "http://localhost/api")
    assert "gpu.internal" not in start_page(parse({}, {**environ, "RESPAN_PROXY_KEYS": "me:mine"}), "http://localhost/api")


def test_it_says_where_an_app_sends_its_spans_and_with_which_key() -> None:
    page = start_page(parse({}, {}), "http://localhost:1/api")
    assert "RESPAN_BASE_URL=http://localhost:1/api\nexport RESPAN_API_KEY=any\n" in page
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:1/api" in page
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in page
    page = start_page(parse({}, {"RESPAN_PROXY_KEYS": "me:mine"}), "http://localhost:1/api")
    assert "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20YOUR_KEY" in page


def test_only_variables_that_are_enough_by_themselves_are_named() -> None:
    named = set(re.findall(r"([A-Z]+_API_KEY)(?:=\.\.\.|</code>)", start_page(parse({}, {}), "http://localhost/api")))
    for variable in named:
        assert parse({}, {variable: "a-key"}).has_provider_key, variable
    assert "OPENAI_API_KEY" in named
