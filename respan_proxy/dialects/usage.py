"""What a reply cost in tokens, as one arithmetic for all dialects, and the estimate used when a provider kept it to itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from respan_proxy.dialects.lenient import count, members
from respan_proxy.frozen import frozen

# Tokens that came within less were not written one after the other: they lay in one buffer, and tell nothing of a pace.
SHORTEST_WRITING_S: Final = 0.001


@frozen
class Usage:
    """Tokens of one reply. `prompt` is everything read (`cached` and `write` are parts of it: read from and written to a
    provider's cache), `output` everything generated (`reasoning` is a part of it). `estimated`: no provider said so."""

    prompt: int = 0
    cached: int = 0
    write: int = 0
    output: int = 0
    reasoning: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        return self.prompt + self.output

    @property
    def fresh(self) -> int:
        """What was read at the full price: neither from the cache nor into it (Anthropic's `input_tokens`). Never negative."""
        return max(0, self.prompt - self.cached - self.write)


def estimate(text: str) -> int:
    """Tokens in a text when nobody counted them: UTF-8 bytes / 4, rounded up (OpenAI's rule of thumb: a token is about 4 characters)."""
    return (len(text.encode("utf-8", "surrogatepass")) + 3) // 4


def openai_usage(usage: Mapping[str, Any]) -> Usage:
    """OpenAI's `usage`, in the names of chat and embeddings (`prompt_tokens`) or of responses and images (`input_tokens`)."""
    read = members(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    made = members(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    return Usage(
        prompt=count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        cached=count(read.get("cached_tokens") or usage.get("prompt_cache_hit_tokens")),  # the latter is DeepSeek's
        write=count(read.get("cache_write_tokens")),
        output=count(usage.get("completion_tokens", usage.get("output_tokens"))),
        reasoning=count(made.get("reasoning_tokens")),
    )
