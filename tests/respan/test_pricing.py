"""A call costs what genai-prices says it costs, for every model it knows; what nobody knows is unknown."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices.data import providers

from respan_proxy.dialects.usage import Usage
from respan_proxy.respan.pricing import PROVIDERS, price
from respan_proxy.respan.spans import NANO

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
USAGES = (
    Usage(prompt=1_000, output=500),
    Usage(prompt=12_307, cached=9_000, write=2_304, output=550, reasoning=120),
    Usage(prompt=1_200_001, cached=400_000, output=9_001),
)


def reference(usage: Usage) -> Any:
    said = {
        "input_tokens": usage.prompt,
        "cache_read_tokens": usage.cached,
        "cache_write_tokens": usage.write,
        "output_tokens": usage.output,
        "output_reasoning_tokens": usage.reasoning,
    }
    return genai_prices.Usage(**said)


def is_plain(prices: Any) -> bool:
    """Whether a count of tokens is enough: some models are priced by the hour, the page or the image."""
    return prices.input_mtok is not None and prices.output_mtok is not None


@pytest.mark.parametrize("at", [NOON, datetime(2025, 3, 1, 20, 15, tzinfo=UTC)], ids=lambda at: at.date().isoformat())
@pytest.mark.parametrize("provider", providers, ids=lambda provider: provider.id)
def test_every_model_costs_what_genai_prices_says(provider: Any, at: datetime) -> None:
    for model in provider.models:
        for usage in USAGES:
            nano, source = price(model.id, provider.id, usage, at.timestamp())
            try:
                expected = genai_prices.calc_price(reference(usage), model.id, provider_id=provider.id, genai_request_timestamp=at)
            except LookupError:  # not even by the name it is listed under
                assert nano is None
                continue
            if is_plain(expected.model_price):
                assert nano is not None, model.id
                assert abs(nano - expected.total_price * NANO) <= Decimal("0.5"), model.id
                assert str(source).startswith("genai-prices 20")
            else:
                assert nano is None, model.id


def test_the_names_of_our_providers_lead_to_the_table() -> None:
    known = {provider.id for provider in providers}
    assert set(PROVIDERS.values()) <= known


def test_cached_and_written_tokens_are_charged_once() -> None:
    # 100 fresh tokens at the full price, 700 written, 200 read.
    nano, _ = price("claude-sonnet-4-5", "anthropic", Usage(prompt=1000, cached=200, write=700))
    assert nano == 100 * 3_000 + 700 * 3_750 + 200 * 300


def test_a_long_prompt_pays_the_higher_price_for_all_its_tokens() -> None:
    short, _ = price("gemini-2.5-pro", "gemini", Usage(prompt=200_000))
    long, _ = price("gemini-2.5-pro", "gemini", Usage(prompt=200_001))
    assert short == 200_000 * 1_250
    assert long == 200_001 * 2_500


def test_dated_and_prefixed_names_are_found() -> None:
    usage = Usage(prompt=1_000_000, output=1_000_000)
    plain = price("gpt-4.1-nano", "openai", usage)
    assert plain[0] is not None
    assert price("gpt-4.1-nano-2025-04-14", "openai", usage) == plain
    assert price("openai/gpt-4.1-nano", "openai", usage) == plain
    assert price("gpt-4.1-nano", "azure_openai", usage)[0] is not None
    assert price("models/gemini-2.5-flash", "gemini", usage) == price("gemini-2.5-flash", "google", usage)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4.1-nano", None),
        (None, "openai"),
        ("gpt-4.1-nano", "my-own-server"),
        ("gpt-4.1-nano", "echo"),
        ("not-a-model", "openai"),
        ("whisper-1", "openai"),
    ],
)
def test_what_the_table_does_not_know_costs_none_not_zero(model: str | None, provider: str | None) -> None:
    assert price(model, provider, Usage(prompt=1000, output=10)) == (None, None)


def test_more_cached_than_read_is_not_a_refund() -> None:
    nano, _ = price("gpt-4.1-nano", "openai", Usage(prompt=10, cached=1_000_000, output=5, reasoning=500))
    assert nano is not None
    assert nano > 0


def test_a_price_said_in_the_request_stands_above_the_table() -> None:
    usage = Usage(prompt=1000, cached=400, output=500, reasoning=100)
    said = {"prompt_unit_price": 2, "completion_unit_price": 10.5}
    assert price("gpt-4.1", "openai", usage, said=said) == (2_000_000 + 5_250_000, "prompt_unit_price, completion_unit_price")
    assert price("a-model-of-our-own", "openai", usage, said=said) == (7_250_000, "prompt_unit_price, completion_unit_price")


def test_the_side_that_is_not_said_costs_what_the_table_says() -> None:
    usage = Usage(prompt=1000, output=500)
    table, source = price("gpt-4.1", "openai", Usage(output=500))
    nano, sources = price("gpt-4.1", "openai", usage, said={"prompt_unit_price": 0})
    assert (nano, sources) == (table, f"prompt_unit_price, {source}")
    assert price("nobody-knows", "openai", usage, said={"prompt_unit_price": 1}) == (None, None)


@pytest.mark.parametrize("dollars", [-1, 1e300, float("nan"), "2", None])
def test_a_price_that_is_none_is_not_taken(dollars: Any) -> None:
    usage = Usage(prompt=1000, output=500)
    assert price("gpt-4.1", "openai", usage, said={"prompt_unit_price": dollars})[0] == price("gpt-4.1", "openai", usage)[0]
