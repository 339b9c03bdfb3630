"""Which piece of a stream holds the first of what the model said: words, thoughts or a call, not the heads that come before them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

# Searches, not parses: one for each chunk until the first hit, 0.1 to 0.3 us (decoding the same chunks: 6 us each).
# Where the answer's head repeats the request (Responses: instructions and tools, twice), a plain `in` is fifty times as fast as `re`.
_SAID: Mapping[str, Callable[[bytes], object]] = {
    "openai.chat": re.compile(
        rb'"(?:content|reasoning_content|reasoning|refusal|data)":\s*"[^"]|"(?:tool_calls|reasoning_details|content)":\s*\[\s*\{'
    ).search,
    "openai.responses": lambda chunk: b'.delta"' in chunk,
    "anthropic.messages": lambda chunk: b'"content_block_delta"' in chunk,
    "gemini": re.compile(rb'"(?:text|data|code)":\s*"[^"]|"functionCall"').search,
}


def first_words(dialect: str, chunks: Iterable[tuple[float, bytes]]) -> float | None:
    """When the first content came: the time of the first chunk (time, whole frames) that holds some; None when none does."""
    says = _SAID[dialect]
    for at, chunk in chunks:
        if says(chunk):
            return at
    return None
