"""Tokens and money of what an app tells: counted the same way whoever counted them, estimated where nobody did, priced by the one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from respan_proxy.dialects import catalog
from respan_proxy.dialects.observe import estimate_prompt
from respan_proxy.dialects.usage import SHORTEST_WRITING_S, Usage, estimate
from respan_proxy.respan.pricing import MOST_DOLLARS, NOTHING, has_prices, price
from respan_proxy.respan.spans import GENERATIONS, NANO, Row
from respan_proxy.telemetry import messages
from respan_proxy.telemetry.spans import Said
from respan_proxy.wire.remembered import remembered

# Generations whose tokens can be estimated from what was said.
_WRITTEN: Final = frozenset({"chat", "completion", "text", "response", "generation"})
ESTIMATED: Final = "estimated token usage"

# Where a cost comes from that the app told itself.
TOLD: Final = "span"

# Providers by the names of the conventions and of older instrumentations, where the price table has another.
_SELLERS: Final[Mapping[str, str]] = {
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "google_genai": "google",
    "aws.bedrock": "aws",
    "az.ai.openai": "azure",
    "az.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "x_ai": "x-ai",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot_ai": "moonshotai",
}


def count_reasoning(row: Row) -> None:
    """Make `completion_tokens` include those of the thoughts, as the conventions say, where it is plain that they are not: Google counts
    them beside the answer, and instrumentations hand on what it says."""
    thoughts, written = row.reasoning_tokens, row.completion_tokens
    if not thoughts or written is None:
        return
    if thoughts > written or row.total_request_tokens == (row.prompt_tokens or 0) + written + thoughts:
        row.completion_tokens = written + thoughts


def count_cached(row: Row, *, uncached: bool) -> None:
    """Make `prompt_tokens` include what was read from the cache and written to it, and the total both sides at least.

    `uncached`: it is known that whoever counted left the cached ones out.
    """
    if row.prompt_tokens is not None:
        cached = (row.prompt_cache_hit_tokens or 0) + (row.prompt_cache_creation_tokens or 0)
        # Fewer tokens in all than from the cache: whoever counted cannot have included them.
        if cached and (uncached or cached > row.prompt_tokens):
            row.prompt_tokens += cached
    if row.prompt_tokens is not None or row.completion_tokens is not None:
        total = (row.prompt_tokens or 0) + (row.completion_tokens or 0)
        row.total_request_tokens = max(total, row.total_request_tokens or 0)


def estimate_usage(row: Row, said: Said) -> None:
    """Tokens of a generation that told its answer but none of them (streams that were not asked for usage), as Respan estimates them."""
    if row.log_type not in _WRITTEN or row.prompt_tokens is not None or row.completion_tokens is not None:
        return
    if row.status == "failed" or not said.completion_messages:
        return
    row.prompt_tokens = estimate_prompt({"messages": said.prompt_messages or [], "tools": said.tools})
    row.completion_tokens = estimate(messages.words(said.completion_messages))
    row.total_request_tokens = row.prompt_tokens + row.completion_tokens
    row.usage_estimated, row.status = True, "warning"
    row.warnings = ESTIMATED if row.warnings is None else f"{row.warnings}, {ESTIMATED}"


def fill_pace(row: Row) -> None:
    """Of a generation that told its tokens and how long it took: how many it wrote a second, of a stream from its first words on."""
    if row.tokens_per_second is not None or row.log_type not in _WRITTEN or row.status == "failed" or not row.completion_tokens:
        return
    whole_s = row.latency or 0.0
    writing_s = whole_s - (row.time_to_first_token or 0.0) if row.stream else whole_s
    if writing_s < SHORTEST_WRITING_S:
        writing_s = whole_s
    if writing_s >= SHORTEST_WRITING_S:
        row.tokens_per_second = row.completion_tokens / writing_s


def fill_cost(row: Row, told_usd: float | None, prices: Mapping[str, Any] = NOTHING) -> None:
    """Of a generation: what the app says it cost, else tokens at the table's prices (or at `prices`, as `pricing.price` has them);
    unknown stays unknown. Whatever stands around a generation costs nothing itself."""
    row.cost = row.cost_source = None
    if row.log_type not in GENERATIONS:
        return
    if told_usd is not None and 0 <= told_usd < MOST_DOLLARS:
        row.cost, row.cost_source = round(told_usd * NANO), TOLD
        return
    if row.prompt_tokens is None and row.completion_tokens is None:
        return
    usage = Usage(
        prompt=row.prompt_tokens or 0,
        cached=row.prompt_cache_hit_tokens or 0,
        write=row.prompt_cache_creation_tokens or 0,
        output=row.completion_tokens or 0,
        reasoning=row.reasoning_tokens or 0,
    )
    for model in dict.fromkeys((row.model, row.request_model)):
        row.cost, row.cost_source = price(model, seller(row.provider_id, model), usage, row.start_time, prices)
        if row.cost is not None:
            return


@remembered(1024)
def seller(provider: str | None, model: str | None) -> str | None:
    """Whose prices hold: those of the provider named, or else (batch results name none, frameworks themselves) of the one whose family
    the model is of. `openai.chat` is how the Vercel AI SDK names OpenAI."""
    if provider is not None:
        name = provider.lower()
        seller = _SELLERS.get(name) or (name if has_prices(name) else name.partition(".")[0])
        if has_prices(seller):
            return seller
    if model is None:
        return None
    return next((name for name, row in catalog.providers().items() if catalog.Globs(row.families).match(model)), None)
