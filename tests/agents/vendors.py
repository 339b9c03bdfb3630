"""The vendors that a client may ask here, each by one model's name, and what each was told."""

from __future__ import annotations

from typing import Any

from tests.dialects.crossing import assert_typed
from tests.fakes.provider import FakeProvider, Received

MODELS = {
    "openai": "gpt-5.1",  # reasons, takes custom tools
    "openai_old": "gpt-4o",  # does neither
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-2.5-flash",
    "compatible": "qwen3-32b",  # a server of one's own that speaks OpenAI's chat and nothing else
}


def config(provider: FakeProvider) -> dict[str, Any]:
    """For a proxy in front of all of them: the three big ones come from the environment."""
    return {"providers": {"my_vllm": {"base_url": f"{provider.url}/v1", "models": [MODELS["compatible"]], "auth": "none"}}}


def dialect(request: Received) -> str:
    """The one in which a vendor was asked."""
    path = request.target.partition("?")[0]
    for end, name in (("/chat/completions", "openai.chat"), ("/responses", "openai.responses"), ("/messages", "anthropic.messages")):
        if path.endswith(end):
            return name
    assert path.endswith(("Content", "countTokens", "count_tokens", "input_tokens")), path
    return "gemini"


def assert_taken(request: Received) -> None:
    """The vendor's own types allow what it was sent."""
    assert_typed(dialect(request), request.json)
