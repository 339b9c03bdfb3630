"""Pages behind an answer as Gemini tells them: a list of pages, and which of them stand behind which bytes of the text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from respan_proxy.dialects.events import Citation, Unsaid
from respan_proxy.dialects.lenient import count, members, objects, text


def read_pages(candidate: Mapping[str, Any], said: str, index: int) -> Iterator[Citation | Unsaid]:
    """What a candidate cites: pages it searched for, and sources that it recites. Google's offsets count UTF-8 bytes of the text so far."""
    grounding, recited = members(candidate.get("groundingMetadata")), members(candidate.get("citationMetadata"))
    encoded = said.encode("utf-8", "surrogatepass")

    def span(told: Mapping[str, Any]) -> tuple[int, int]:
        start, end = (len(encoded[: count(told.get(name))].decode("utf-8", "ignore")) for name in ("startIndex", "endIndex"))
        return start, end

    chunks = grounding.get("groundingChunks")
    chunks = chunks if isinstance(chunks, list) else []
    for support in objects(grounding.get("groundingSupports")):
        start, end = span(members(support.get("segment")))
        numbers = support.get("groundingChunkIndices")
        for number in numbers if isinstance(numbers, list) else ():
            if isinstance(number, int) and 0 <= number < len(chunks):
                yield _page(members(members(chunks[number]).get("web")), start, end, index)
    for source in objects(recited.get("citationSources")) or objects(recited.get("citations")):  # the latter is Vertex's
        yield _page(source, *span(source), index)


def _page(page: Mapping[str, Any], start: int, end: int, index: int) -> Citation | Unsaid:
    url = text(page.get("uri"))
    return Citation(start, end, url, text(page.get("title")) or "", index) if url else Unsaid("citations")


def write_pages(citations: Sequence[Citation], said: str) -> dict[str, Any]:
    """`groundingMetadata`. A citation whose place says nothing (some servers count none) stands behind all of the text."""
    pages: dict[tuple[str, str], int] = {}
    supports: dict[tuple[int, int], list[int]] = {}
    for citation in citations:
        page = pages.setdefault((citation.url, citation.title), len(pages))
        supports.setdefault(citation.within(len(said)), []).append(page)
    at = _bytes_before(said, {place for span in supports for place in span})
    return {
        "groundingChunks": [{"web": {"uri": url, "title": title}} for url, title in pages],
        "groundingSupports": [
            {
                "segment": {"startIndex": at[start], "endIndex": at[end], "text": said[start:end]},
                "groundingChunkIndices": list(dict.fromkeys(numbers)),
            }
            for (start, end), numbers in supports.items()
        ],
    }


def _bytes_before(said: str, places: Iterable[int]) -> Mapping[int, int]:
    """How many UTF-8 bytes stand before each character."""
    before: dict[int, int] = {}
    last = size = 0
    for place in sorted(places):
        size += len(said[last:place].encode("utf-8", "surrogatepass"))
        before[place], last = size, place
    return before
