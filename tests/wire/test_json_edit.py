"""Edits of JSON text change what they name and nothing else."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from respan_proxy.wire import json_edit
from respan_proxy.wire.json_edit import UNREAD, Document, JsonProblem, edit, parse, scan

NAMES = ["model", "metadata", 'a"b', "mod\\", "é", "x"]
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.sampled_from([0.5, 1e300, -2.25])
strings = st.text(alphabet='ab"\\{}[]:,\n é🎉model', max_size=12) | st.sampled_from(['"model":1', '\\"model":', "{", '","model":', '{"x":'])
values = st.recursive(
    scalars | strings,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=10,
)
spaces = st.sampled_from(["", "", " ", "\n\t", "\r\n  "])
Members = list[tuple[str, Any, str]]


def spelt(draw: st.DrawFn, text: str) -> str:
    if text and draw(st.integers(0, 5)) == 0:
        data = text.encode("utf-16-be")
        return '"' + "".join(f"\\u{int.from_bytes(data[i : i + 2], 'big'):04x}" for i in range(0, len(data), 2)) + '"'
    return json.dumps(text, ensure_ascii=draw(st.booleans()))


def written(draw: st.DrawFn, value: Any) -> str:
    """The value as JSON text with drawn white space and spellings."""
    space = draw(spaces)
    match value:
        case dict():
            return (
                "{"
                + ",".join(space + spelt(draw, name) + space + ":" + written(draw, inner) for name, inner in value.items())
                + space
                + "}"
            )
        case list():
            return "[" + ",".join(space + written(draw, item) + space for item in value) + "]"
        case str():
            return spelt(draw, value)
        case _:
            return json.dumps(value)


@st.composite
def objects(draw: st.DrawFn) -> tuple[bytes, Members]:
    """An object's text, and its members in order, each with its own text; names may repeat."""
    drawn = draw(st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=7))
    members = [(name, value, spelt(draw, name) + draw(spaces) + ":" + draw(spaces) + written(draw, value)) for name, value in drawn]
    inside = ",".join(draw(spaces) + text + draw(spaces) for _, _, text in members)
    return (draw(spaces) + "{" + (inside or draw(spaces)) + "}" + draw(spaces)).encode(), members


def run(work: Generator[None, None, Document]) -> Document:
    while True:
        try:
            next(work)
        except StopIteration as done:
            document: Document = done.value
            return document


def scan_in_slices(text: bytes, size: int) -> Document:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_edit, "_SLICE_BYTES", size)
        patch.setattr(json_edit, "_DENSE_SLICE_BYTES", size)
        return run(scan(text))


def top_level(text: bytes) -> list[tuple[str, Any]]:
    """The members of an object in order, duplicates and all."""
    seen: list[list[tuple[str, Any]]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen.append(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=keep)
    return seen[-1]


names = st.sampled_from([*NAMES, "absent"])
# None: read by `parse`; a number: by `scan` in slices of so many bytes.
slices = st.none() | st.integers(2, 40)


@given(objects(), st.sets(names), st.dictionaries(names, values, max_size=3), slices)
def test_an_edit_means_what_editing_the_members_means(
    drawn: tuple[bytes, Members], remove: set[str], replace: dict[str, Any], size: int | None
) -> None:
    text, members = drawn
    document = parse(text) if size is None else scan_in_slices(text, size)
    expected = [(name, replace.get(name, value)) for name, value, _ in members if name in replace or name not in remove]
    present = {name for name, _, _ in members}
    expected += [(name, value) for name, value in replace.items() if name not in present]
    assert top_level(edit(document, remove, replace)) == expected


@given(objects(), st.sets(names), st.dictionaries(names, scalars, max_size=2), slices)
def test_members_that_an_edit_does_not_name_keep_every_byte(
    drawn: tuple[bytes, Members], remove: set[str], replace: dict[str, Any], size: int | None
) -> None:
    text, members = drawn
    document = parse(text) if size is None else scan_in_slices(text, size)
    edited, at = edit(document, remove, replace), 0
    for name, _, own in members:
        if name not in remove and name not in replace:
            at = edited.index(own.encode(), at) + len(own.encode())
    assert edited[: edited.index(b"{")] == text[: text.index(b"{")]
    assert edited[edited.rindex(b"}") :] == text[text.rindex(b"}") :]


@given(objects(), slices)
def test_an_edit_of_nothing_gives_the_very_same_bytes(drawn: tuple[bytes, Members], size: int | None) -> None:
    document = parse(drawn[0]) if size is None else scan_in_slices(drawn[0], size)
    assert edit(document, {"absent"}, {}) is drawn[0]


@given(objects(), st.integers(2, 40))
def test_scanning_in_any_slices_reads_what_parsing_reads(drawn: tuple[bytes, Members], size: int) -> None:
    assert scan_in_slices(drawn[0], size).members == parse(drawn[0]).members


@pytest.mark.parametrize(
    ("text", "remove", "replace", "edited"),
    [
        ('{"a":1,"b":2,"c":3}', "b", {}, '{"a":1,"c":3}'),
        ('{"a":1,"b":2,"c":3}', "c", {}, '{"a":1,"b":2}'),
        ('{"a":1,"b":2,"c":3}', "bc", {}, '{"a":1}'),
        ('{ "a" : 1 ,\n "b" : 2 }', "b", {}, '{ "a" : 1  }'),
        ('{"a":1}', "a", {}, "{}"),
        ('{"a":1}', "a", {"z": 1}, '{"z":1}'),
        ("{ }\n", "", {"z": [1]}, '{"z":[1] }\n'),
        ('{"a":1,"b":2}', "b", {"z": 1}, '{"a":1,"z":1}'),
        ('{"a":1,"a":2,"b":1e2}', "a", {}, '{"b":1e2}'),
        ('{"a":1,"b":1e0,"a":{}}', "", {"a": "x"}, '{"a":"x","b":1e0,"a":"x"}'),
        ('{"m":{"a":1},"a":2}', "a", {}, '{"m":{"a":1}}'),
        (r'{"t":"\"a\":1","a":2}', "a", {}, r'{"t":"\"a\":1"}'),
        (r'{"\u0061":1,"m":{"a":2}}', "a", {}, r'{"m":{"a":2}}'),
    ],
)
def test_edits_as_they_look(text: str, remove: str, replace: dict[str, Any], edited: str) -> None:
    assert edit(parse(text.encode()), set(remove), replace).decode() == edited
    assert edit(run(scan(text.encode())), set(remove), replace).decode() == edited


def test_a_value_given_as_json_text_is_written_as_it_is() -> None:
    assert edit(parse(b'{"a":1}'), (), {"a": orjson.Fragment(b"1.50")}) == b'{"a":1.50}'


@given(st.binary() | st.text(alphabet='{}[]":,\\ x1tn', max_size=30).map(str.encode), st.integers(2, 20))
@example(b'{"a":"\\', 2)
@example(b'{"a":{"\\', 3)
@example(b'{"', 2)
def test_garbage_raises_nothing_but_json_problem(data: bytes, size: int) -> None:
    for read in (parse, lambda text: scan_in_slices(text, size)):
        try:
            document = read(data)
        except JsonProblem:
            continue
        assert isinstance(document.members, dict)


@pytest.mark.parametrize("nested", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000])
@pytest.mark.parametrize("read", [parse, lambda text: run(scan(text))])
def test_absurd_nesting_is_a_json_problem(read: Any, nested: bytes) -> None:
    with pytest.raises(JsonProblem):
        read(b'{"a":' + nested + b"}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected a JSON object, found an empty body"),
        (b" \n", "expected a JSON object, found an empty body"),
        (b"[1]", "expected a JSON object, found an array"),
        (b'"x"', "expected a JSON object, found a string"),
        (b"null", "expected a JSON object, found null"),
        (b'{"a":1,\n "b":oops}', "line 2 column 6"),
        (b'{"a":1} x', "line 1 column 9"),
    ],
)
def test_a_problem_says_where_and_what_was_found(text: bytes, message: str) -> None:
    with pytest.raises(JsonProblem, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[1]", "expected a JSON object, found '.1.' at line 1 column 1"),
        (b'{"a":1,\n}', "expected a member name in quotes at line 2 column 1, found '}'"),
        (b'{"a" 1}', "expected a colon at line 1 column 6, found '1}'"),
        (b'{"a":}', "expected a value at line 1 column 6"),
        (b'{"a":1 "b":2}', "expected a comma or the closing brace at line 1 column 8"),
        (b'{"a":1} x', "expected the end of the body at line 1 column 9"),
        (b'{"a":"x', "the string at line 1 column 6 is never closed"),
        (b'{"a":[1', "the array at line 1 column 6 is never closed"),
        (b'{"a":oops}', "member 'a' at line 1 column 6 is not JSON"),
    ],
)
def test_a_scan_says_where_and_what_was_found(text: bytes, message: str) -> None:
    with pytest.raises(JsonProblem, match=message):
        run(scan(text))


def test_a_scan_leaves_big_members_unread_and_edits_around_them() -> None:
    image = "A" * 70_000
    text = orjson.dumps({"model": "m", "messages": [{"content": image}], "respan_params": {"note": "x"}})
    document = run(scan(text))
    assert document.members == {"model": "m", "messages": UNREAD, "respan_params": {"note": "x"}}
    assert json.loads(edit(document, {"respan_params"}, {"model": "n"})) == {"model": "n", "messages": [{"content": image}]}


def test_a_scan_of_megabytes_gives_way_many_times() -> None:
    text = orjson.dumps({"a": ["x" * 500_000], "b": [[{}]] * 200_000, "c": '"\\' * 300_000})
    assert sum(1 for _ in scan(text)) > 50
