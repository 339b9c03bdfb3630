"""Pages behind an answer, as a client of Claude is told them: each with the block of text that it stands behind."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given

from respan_proxy.dialects.anthropic_messages import DIALECT
from respan_proxy.dialects.chat import Refusal, Text, assemble
from respan_proxy.dialects.dialect import WriteContext
from respan_proxy.dialects.events import Citation, End, Event, Finish, TextDelta, ToolDelta, ToolEnd, ToolStart, Unsaid
from respan_proxy.wire.sse import Decoder
from tests.dialects import telling
from tests.dialects.vectors import counter


def written(*events: Event) -> list[dict[str, Any]]:
    writer = DIALECT.writer(WriteContext(now=1, new_id=counter()))
    return [orjson.loads(frame.data) for frame in Decoder().feed(b"".join(writer.feed(event) for event in events))]


def page(start: int, end: int, name: str = "p") -> Citation:
    return Citation(start, end, f"https://{name}.test", name)


def cited_blocks(*events: Event) -> list[tuple[str, list[str]]]:
    body = orjson.loads(DIALECT.write_reply([*events, Finish("stop", None), End()], WriteContext(now=1, new_id=counter())))
    return [(block["text"], [told["title"] for told in block.get("citations", ())]) for block in body["content"] if block["type"] == "text"]


@pytest.mark.parametrize(
    ("citations", "blocks"),
    [
        ([page(4, 7)], [("one ", []), ("two", ["p"]), (" three", [])]),
        ([page(0, 3), page(4, 7, "q")], [("one ", ["p"]), ("two", ["q"]), (" three", [])]),
        ([page(8, 13)], [("one two ", []), ("three", ["p"])]),
        ([page(0, 6), page(4, 7, "q"), page(5, 6, "r")], [("one two", ["p", "q", "r"]), (" three", [])]),
        ([page(4, 7), page(4, 7, "q")], [("one ", []), ("two", ["p", "q"]), (" three", [])]),
        ([page(3, 4), page(7, 8, "q")], [("one ", ["p"]), ("two ", ["q"]), ("three", [])]),
        ([page(0, 0)], [("one two three", ["p"])]),
        ([page(99, 100)], [("one two three", ["p"])]),
    ],
)
def test_a_whole_text_is_cut_where_its_citations_are(citations: list[Citation], blocks: list[tuple[str, list[str]]]) -> None:
    assert cited_blocks(TextDelta("one two three"), *citations) == blocks


def test_a_citation_belongs_to_the_text_that_holds_its_beginning() -> None:
    call: list[Event] = [ToolStart(0, "a", "f"), ToolDelta(0, "{}"), ToolEnd(0)]
    told = cited_blocks(TextDelta("one"), *call, TextDelta("two"), page(3, 6), page(1, 4, "q"))
    assert told == [("o", []), ("ne", ["q"]), ("two", ["p"])]


def test_what_follows_a_citation_is_a_block_of_its_own_but_for_white_space() -> None:
    payloads = written(TextDelta("one"), page(0, 3), TextDelta("\n"), TextDelta("two "), TextDelta("three"), page(4, 13, "q"), End())
    said: list[Any] = []
    for payload in payloads:
        if payload["type"] == "content_block_start":
            said.append([])
        elif payload["type"] == "content_block_delta":
            said[-1].append(payload["delta"].get("text") or payload["delta"]["citation"])
    assert [[piece["url"] if isinstance(piece, dict) else piece for piece in block] for block in said] == [
        ["one", "https://p.test", "\n"],
        ["two ", "three", "https://q.test"],
    ]
    assert said[0][1] == {
        "type": "web_search_result_location", "cited_text": "", "encrypted_index": "gw1.page", "url": "https://p.test", "title": "p",
    }  # fmt: skip


@given(telling.replies())
def test_every_citation_is_told_where_its_words_are_or_told_as_lost(events: list[Event]) -> None:
    want, lost = assemble(events).choices[0], list[str]()
    context = WriteContext(now=1, new_id=counter(), lost=lost.append)
    whole = orjson.loads(DIALECT.write_reply(events, context))
    heard = assemble(DIALECT.read_reply(orjson.dumps(whole))).choices[0]
    texts = [part.text for part in want.parts if isinstance(part, (Text, Refusal))]
    assert "".join(block["text"] for block in whole["content"] if block["type"] == "text") == "".join(texts)
    assert len(heard.citations) == len(want.citations) and lost == []
    bare = [block for block in whole["content"] if block["type"] == "text" and not block["text"].strip()]
    assert len(bare) <= sum(not text.strip() for text in texts), "no cut makes a block that Claude would refuse"
    writer, reader = DIALECT.writer(context), DIALECT.reader()
    stream = b"".join(writer.feed(event) for event in events) + writer.close()
    told = assemble(reader.feed(stream) + reader.close()).choices[0]
    assert told.text == want.text + want.refusal or want.refusal
    assert len(told.citations) + lost.count("citations") == len(want.citations)


def test_places_in_documents_and_what_hosted_tools_brought_are_not_said() -> None:
    place = {"type": "char_location", "cited_text": "x", "document_index": 0}
    body = {"content": [{"type": "text", "text": "so", "citations": [place]}, {"type": "bash_code_execution_tool_result"}]}
    said = DIALECT.read_reply(orjson.dumps(body))
    assert said[1:] == [TextDelta("so"), Unsaid("citations"), Unsaid("hosted_tools"), End()]
