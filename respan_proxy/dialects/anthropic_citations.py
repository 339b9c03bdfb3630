"""Pages behind an answer as Claude tells them: a block of text, and the citations that it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from respan_proxy.dialects.events import TAG, Citation

FOREIGN_INDEX = f"{TAG}page"
"""In the place of the key to what Claude's own search found. Claude would refuse it: it is left out when it comes back (`foreign.py`)."""


def write_citation(citation: Citation) -> dict[str, Any]:
    """Nobody else quotes the page: `cited_text`, which must be there, is empty."""
    page = {"url": citation.url, "title": citation.title or None}
    return {"type": "web_search_result_location", "cited_text": "", "encrypted_index": FOREIGN_INDEX, **page}


def is_foreign(citation: object) -> bool:
    """Whether a citation in a history is one of ours."""
    return isinstance(citation, dict) and isinstance(index := citation.get("encrypted_index"), str) and index.startswith(TAG)


def cut(text: str, begins: int, citations: Iterable[Citation], length: int) -> Iterator[tuple[str, list[Citation]]]:
    """`text`, which begins at character `begins` of `length` in all, in pieces with what is cited in each, as Claude cuts its own.

    A citation belongs where it begins. Those that overlap share a piece, and no piece is white space alone: Claude refuses such a
    block when it comes back.
    """
    spans = [(start - begins, end - begins, citation) for citation in citations for start, end in [citation.within(length)]]
    held = sorted((span for span in spans if 0 <= span[0] < len(text)), key=lambda span: span[:2])
    pieces: list[tuple[int, list[Citation]]] = [(0, [])]  # where each begins
    over = 0
    for start, end, citation in held:
        if start >= over:
            pieces += [(over, []), (start, [])]
        pieces[-1][1].append(citation)
        over = max(over, end)
    pieces.append((min(over, len(text)), []))
    begun, rests_on = pieces[0]
    for (start, cited), (end, _) in zip(pieces[1:], [*pieces[2:], (len(text), [])], strict=True):
        if text[begun:start].strip() and text[start:end].strip():
            yield text[begun:start], rests_on
            begun, rests_on = start, []
        rests_on = rests_on + cited
    yield text[begun:], rests_on
