"""Requests of Responses: how items become turns and turns items, and what is mapped, told as lost or refused on the way."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.types.responses import Response, ResponseCreateParams

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.chat import Reasoning, Refusal, Text, ToolCall
from respan_proxy.dialects.events import Finish, Opaque, ToolDelta, ToolEnd, ToolStart
from respan_proxy.dialects.request import (
    Attachment,
    ChatRequest,
    Custom,
    FileRef,
    Function,
    HostedBlock,
    Inline,
    JsonSchema,
    Link,
    Losses,
    Profile,
    Thinking,
    ToolChoice,
    ToolResult,
    Turn,
    WebSearch,
    Written,
)
from respan_proxy.dialects.responses_request_read import read_request
from respan_proxy.dialects.responses_request_write import write_request
from respan_proxy.errors import RequestRejected, Untranslatable
from tests.dialects import telling
from tests.dialects.crossing import crossed
from tests.dialects.typed import complaints

CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
LONG = "c" * 70
HANDOFF = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
USER = Turn("user", (Text("hi"),), "messages[0]")


def read(**members: Any) -> ChatRequest:
    return read_request({"model": "m", "input": "hi", **members})


def asked(*turns: Turn, **members: Any) -> ChatRequest:
    return ChatRequest(**{"dialect": "openai.chat", "model": "m", "turns": turns or (USER,), **members})


def written(request: ChatRequest, profile: Profile | None = None) -> tuple[dict[str, Any], list[str]]:
    """(body, notices); the body is one that the SDK's types allow."""
    losses = Losses()
    members = write_request(request, profile or Profile(), losses).members
    assert complaints(members, ResponseCreateParams) == []
    return members, losses.notices


class TestReading:
    def test_probabilities_that_the_answer_would_not_show_are_not_asked_for(self) -> None:
        assert read(top_logprobs=3).top_logprobs is None

    def test_a_conversation_of_an_agent_is_read_turn_by_turn(self) -> None:
        request = read(
            instructions="I",
            input=[
                {"role": "developer", "content": "D"},
                {"role": "user", "content": "go"},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "ENC"},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok", "annotations": []}]},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "*** Begin"},
                {"type": "function_call_output", "call_id": "c1", "output": "r"},
                {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
                {"role": "system", "content": "later"},
                {"role": "user", "content": "more"},
            ],
        )
        assert request.system == (Text("I"), Text("D"))
        assert [turn.role for turn in request.turns] == ["user", "assistant", "user", "user", "system", "user"]
        assert request.turns[1] == Turn(
            "assistant",
            (
                Reasoning("t", Opaque("openai", "ENC", id="rs_1")),
                Text("ok"),
                ToolCall("c1", "f", "{}"),
                ToolCall("c2", "patch", "*** Begin", True),
            ),
            "input[2]",
        )
        assert request.turns[2].parts == (ToolResult("c1", (Text("r"),)),)
        assert request.turns[3].parts == (ToolResult("c2", (Text("done"),), custom=True),)

    def test_two_messages_of_the_assistant_are_two_turns_unless_calls_are_open(self) -> None:
        said = {"role": "assistant", "content": "a"}
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
        assert len(read(input=[said, said]).turns) == 2
        assert len(read(input=[call, said]).turns) == 1

    def test_state_of_other_providers_travels_in_encrypted_content(self) -> None:
        item = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gw1.anthropic.redacted:DATA"}
        assert read(input=[{"role": "user", "content": "a"}, item]).turns[1].parts == (
            Reasoning("", Opaque("anthropic", "DATA", redacted=True)),
        )

    def test_every_kind_of_content_is_read(self) -> None:
        content = [
            {"type": "input_text", "text": "q", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"},
            {"type": "input_image", "file_id": "file-1", "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
            {"type": "input_file", "file_url": "https://a.test/b.pdf"},
            {"type": "input_file", "filename": "n.md", "file_data": "bm90ZQ=="},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        ]
        assert read(input=[{"role": "user", "content": content}]).turns[0].parts == (
            Text("q", cache={"type": "ephemeral"}),
            Attachment("image", Inline("iVBORw0KGgo="), "image/png", detail="low"),
            Attachment("image", FileRef("openai", "file-1"), detail="auto"),
            Attachment("document", Inline("JVBERi0="), "application/pdf", "a.pdf"),
            Attachment("document", Link("https://a.test/b.pdf")),
            Attachment("document", Written("note"), "text/markdown", "n.md"),
            Attachment("audio", Inline("AAAA"), "audio/mp3"),
        )

    def test_tools_of_every_kind_are_read(self) -> None:
        request = read(
            tools=[
                {"type": "function", "name": "open", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}},
                {"type": "function", "name": "closed", "parameters": CLOSED},
                {"type": "function", "name": "said", "parameters": CLOSED, "strict": False},
                {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
                {
                    "type": "web_search",
                    "filters": {"allowed_domains": ["a.test"]},
                    "user_location": {"type": "approximate", "city": "Rome"},
                },
                {"type": "local_shell"},
            ]
        )
        strict = [tool.strict for tool in request.tools if isinstance(tool, Function)]
        assert strict == [None, True, False]  # left out, the service turns it on where the schema allows
        assert request.tools[4] == WebSearch(location={"city": "Rome"}, allowed_domains=("a.test",))

    def test_tools_in_namespaces_cross_under_joined_names_and_are_called_by_both(self) -> None:
        """Codex keeps the tools of MCP servers in namespaces, and takes a call only as `namespace` and `name` apart."""
        inner = [{"type": "function", "name": "log", "parameters": CLOSED, "strict": False}, {"type": "custom", "name": "patch"}]
        members = {
            "model": "m",
            "input": [
                {"role": "user", "content": "a"},
                {"type": "function_call", "call_id": "c", "namespace": "mcp__git", "name": "log", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "r"},
                {"type": "additional_tools", "role": "developer", "tools": [{"type": "namespace", "name": "fs__", "tools": inner}]},
            ],
            "tools": [{"type": "namespace", "name": "mcp__git", "description": "d", "tools": inner}],
        }
        request = read_request(members)
        assert [getattr(tool, "name", None) for tool in request.tools] == ["mcp__git__log", "mcp__git__patch", "fs__log", "fs__patch"]
        assert request.turns[1].parts == (ToolCall("c", "mcp__git__log", "{}"),)
        called = [
            ToolStart(0, "d", "mcp__git__log"),
            ToolDelta(0, "{}"),
            ToolEnd(0),
            ToolStart(1, "e", "other"),
            ToolEnd(1),
            Finish("tool", None),
        ]
        reply = orjson.loads(DIALECTS["openai.responses"].write_reply(called, telling.context(echo=members)))
        assert [(item.get("namespace"), item["name"]) for item in reply["output"]] == [("mcp__git", "log"), (None, "other")]
        Response.model_validate(reply)

    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            ("auto", ToolChoice("auto")),
            ({"type": "function", "name": "f"}, ToolChoice("required", ("f",))),
            ({"type": "custom", "name": "p"}, ToolChoice("required", ("p",))),
            ({"type": "web_search_preview"}, ToolChoice("required", hosted="web_search")),
            ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}, ToolChoice("auto", ("f",))),
        ],
    )
    def test_choices_are_read(self, said: Any, meant: ToolChoice) -> None:
        assert read(tool_choice=said).tool_choice == meant

    def test_how_to_answer_is_read(self) -> None:
        request = read(
            text={"format": {"type": "json_schema", "name": "n", "schema": CLOSED, "strict": True}, "verbosity": "low"},
            reasoning={"effort": "none"},
            include=["message.output_text.logprobs"],
            top_logprobs=2,
            service_tier="priority",
        )
        assert request.output == JsonSchema(CLOSED, "n", True)
        assert (request.verbosity, request.thinking) == ("low", Thinking("none", visible=False))
        assert (request.logprobs, request.top_logprobs, request.service_tier) == (True, 2, "priority")
        assert read(reasoning={"effort": "low", "summary": "auto"}).thinking == Thinking("low", visible=True)
        assert read(reasoning={}).thinking is None

    @pytest.mark.parametrize(
        ("members", "param", "status"),
        [
            ({"input": None}, "input", 400),
            ({"input": 5}, "input", 400),
            ({"input": [5]}, "input[0]", 400),
            ({"input": [{"type": "mesage", "role": "user", "content": "a"}]}, "input[0].type", 400),
            ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role", 400),
            ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0].type", 400),
            ({"input": [{"role": "system", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content", 400),
            ({"input": [{"id": "msg_1"}]}, "input", 404),
            ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input", 404),
            ({"previous_response_id": "resp_1"}, "previous_response_id", 404),
            ({"tool_choice": "any"}, "tool_choice", 400),
            ({"tools": [{"type": "function"}]}, "tools[0].name", 400),
            ({"text": {"format": {"type": "xml"}}}, "text.format.type", 400),
            ({"max_output_tokens": "5"}, "max_output_tokens", 400),
        ],
    )
    def test_what_cannot_be_read_is_refused_by_name(self, members: dict[str, Any], param: str, status: int) -> None:
        with pytest.raises(RequestRejected) as refused:
            read(**members)
        assert (refused.value.param, refused.value.status) == (param, status)


class TestLeaving:
    """What only OpenAI has, on the way to another dialect."""

    def test_hints_go_in_silence_and_knobs_with_a_notice(self) -> None:
        losses = Losses()
        request = read(
            store=True, background=False, truncation="auto", max_tool_calls=3, prompt_cache_key="k", metadata={"a": "b"},
            reasoning={"context": "auto"}, stream_options={"include_obfuscation": False}, perplexity={"preset": "x"},
        )  # fmt: skip
        write = DIALECTS["gemini"].write_request
        assert write is not None
        assert write(request, Profile(), losses).members == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        assert sorted(losses.notices) == [
            "max_tool_calls:dropped", "perplexity:dropped", "reasoning.context:dropped", "truncation:dropped",
        ]  # fmt: skip

    @pytest.mark.parametrize("members", [{"background": True}, {"conversation": "conv_1"}, {"prompt": {"id": "pmpt_1"}}])
    @pytest.mark.parametrize("target", ["openai.chat", "anthropic.messages", "gemini"])
    def test_state_that_only_openai_keeps_is_refused(self, members: dict[str, Any], target: str) -> None:
        write = DIALECTS[target].write_request
        assert write is not None
        with pytest.raises(Untranslatable) as refused:
            write(read(**members), Profile(), Losses())
        assert refused.value.param in members

    def test_a_history_of_hosted_calls_is_refused_but_for_searches(self) -> None:
        write = DIALECTS["gemini"].write_request
        assert write is not None
        user = {"role": "user", "content": "a"}
        with pytest.raises(Untranslatable, match="file_search_call"):
            write(read(input=[user, {"type": "file_search_call", "id": "fs"}]), Profile(), Losses())
        losses = Losses()
        write(read(input=[user, {"type": "web_search_call", "id": "ws"}, user]), Profile(), losses)
        assert losses.notices == ["messages.web_search_call:dropped"]


class TestWriting:
    def test_every_turn_becomes_its_items(self) -> None:
        body, notices = written(
            asked(
                USER,
                Turn("assistant", (Text("a"), Text("b"), ToolCall("c1", "f", ""), ToolCall(LONG, "p.q", "x", True)), "messages[1]"),
                Turn("user", (Text("and"), ToolResult("c1", (), error=True), ToolResult(LONG, (Text("d"),), custom=True)), "messages[2]"),
                Turn("system", (Text("S"),), "messages[3]"),
                Turn("assistant", (Refusal("no"),), "messages[4]"),
                USER,
                tools=(Function("f"), Custom("p.q")),
                system=(Text("A"), Text("B")),
            )
        )
        long_id = body["input"][3]["call_id"]
        patch = body["input"][3]["name"]
        assert body["instructions"] == "A\n\nB"
        assert body["input"] == [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {
                "type": "message",
                "id": "msg_0000",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "a", "annotations": []},
                    {"type": "output_text", "text": "b", "annotations": []},
                ],
            },
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": long_id, "name": patch, "input": "x"},
            {"type": "function_call_output", "call_id": "c1", "output": "Error"},
            {"type": "custom_tool_call_output", "call_id": long_id, "output": "d"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "and"}]},
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "S"}]},
            {
                "type": "message",
                "id": "msg_0001",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "refusal", "refusal": "no"}],
            },
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        ]
        assert (len(long_id), patch[:3]) == (29, "p_q")
        assert notices == ["messages.tool_result.is_error:dropped"]

    def test_attachments_become_input_parts(self) -> None:
        body, _ = written(
            asked(
                Turn(
                    "user",
                    (
                        Attachment("image", Link("https://a.test/b.png")),
                        Attachment("image", Inline("AAAA"), "image/webp", detail="high"),
                        Attachment("document", Inline("JVBERi0="), "application/pdf"),
                        Attachment("document", Link("https://a.test/b.pdf")),
                        Attachment("document", Written("note"), name="N"),
                        Attachment("document", FileRef("openai", "file-1")),
                    ),
                    "w",
                )
            )
        )
        assert body["input"][0]["content"] == [
            {"type": "input_image", "image_url": "https://a.test/b.png", "detail": "auto"},
            {"type": "input_image", "image_url": "data:image/webp;base64,AAAA", "detail": "high"},
            {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
            {"type": "input_file", "file_url": "https://a.test/b.pdf"},
            {"type": "input_text", "text": "N\nnote"},
            {"type": "input_file", "file_id": "file-1"},
        ]

    @pytest.mark.parametrize(
        "attachment",
        [
            Attachment("audio", Inline("AAAA"), "audio/wav"),
            Attachment("video", Link("https://youtu.be/x")),
            Attachment("image", FileRef("anthropic", "file_1")),
            Attachment("image", Link("gs://bucket/a.png")),
        ],
    )
    def test_attachments_that_openai_cannot_take_are_refused(self, attachment: Attachment) -> None:
        with pytest.raises(Untranslatable) as refused:
            written(asked(Turn("user", (attachment,), "messages[0].content")))
        assert refused.value.param == "messages[0].content"

    def test_strict_is_always_said_and_never_more_than_the_schema_allows(self) -> None:
        tools = (Function("a", parameters=CLOSED), Function("b", parameters=CLOSED, strict=True), Function("c", strict=True))
        body, notices = written(asked(tools=tools, dialect="anthropic.messages"))
        assert [tool["strict"] for tool in body["tools"]] == [False, True, False]
        assert notices == ["tools.strict:dropped"]
        body, _ = written(asked(tools=(Function("transfer_to_x", parameters=HANDOFF, strict=True),)))
        assert body["tools"][0]["parameters"] == HANDOFF

    def test_a_format_has_a_name_and_says_whether_it_is_strict(self) -> None:
        body, _ = written(asked(output=JsonSchema({**CLOSED, "title": "My answer"})))
        assert body["text"]["format"] == {
            "type": "json_schema",
            "name": "My_answer",
            "schema": {**CLOSED, "title": "My answer"},
            "strict": True,
        }

    @pytest.mark.parametrize(
        ("choice", "said"),
        [
            (ToolChoice("auto"), "auto"),
            (ToolChoice("none", ("f",)), "none"),
            (ToolChoice("required", ("f",)), {"type": "function", "name": "f"}),
            (ToolChoice("required", ("p",)), {"type": "custom", "name": "p"}),
            (
                ToolChoice("auto", ("f", "p")),
                {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "p"}]},
            ),
        ],
    )
    def test_choices_are_written(self, choice: ToolChoice, said: Any) -> None:
        body, _ = written(asked(tools=(Function("f"), Custom("p")), tool_choice=choice, parallel=False))
        assert (body["tool_choice"], body["parallel_tool_calls"]) == (said, False)
        assert "tool_choice" not in written(asked(tool_choice=choice))[0]

    def test_reasoning_models_are_spared_what_they_refuse(self) -> None:
        request = asked(temperature=0.5, top_p=0.5, logprobs=True, top_logprobs=2, thinking=Thinking(budget=9000, visible=True))
        body, notices = written(request, Profile(sampling=False, efforts=("low", "medium")))
        assert body["reasoning"] == {"effort": "medium", "summary": "auto"}
        assert notices == ["temperature:dropped", "top_p:dropped", "logprobs:dropped", "reasoning:clamped"]
        body, _ = written(request)
        assert (body["include"], body["top_logprobs"]) == (["message.output_text.logprobs"], 2)

    def test_what_has_no_member_is_told(self) -> None:
        request = asked(
            top_k=5, seed=0, stop=("a",), frequency_penalty=1.0, presence_penalty=0, logit_bias={"1": 1}, n=1, max_tokens=3
        )  # fmt: skip
        body, notices = written(request, Profile(thinking="none"))
        assert body == {"model": "m", "input": [*written(asked())[0]["input"]], "max_output_tokens": 16, "store": False}
        assert notices == [
            "max_tokens:raised_to_16", "top_k:dropped", "seed:dropped", "stop:dropped", "frequency_penalty:dropped", "logit_bias:dropped",
        ]  # fmt: skip

    def test_more_than_one_answer_and_an_empty_conversation_are_refused(self) -> None:
        with pytest.raises(Untranslatable, match="'n' greater than 1"):
            written(asked(n=2))
        with pytest.raises(RequestRejected, match="empty"):
            written(asked(Turn("user", (), "messages[0]")))

    def test_a_long_user_is_hashed(self) -> None:
        body, _ = written(asked(user="u" * 130, metadata={"k": "v"}, cache_key="c", service_tier="flex"))
        assert len(body["safety_identifier"]) == 64
        assert (body["metadata"], body["prompt_cache_key"], body["service_tier"]) == ({"k": "v"}, "c", "flex")
        assert written(asked(user="u"), Profile(user_field="user"))[0]["user"] == "u"

    def test_reasoning_of_others_is_left_out_and_its_own_goes_back(self) -> None:
        parts = (Reasoning("x", Opaque("anthropic", "S")), Reasoning("y"), Reasoning("z", Opaque("openai", "E", id="rs_z")), Text("a"))
        body, notices = written(asked(USER, Turn("assistant", parts, "w"), USER))
        assert body["input"][1:3] == [
            {"type": "reasoning", "id": "rs_z", "summary": [{"type": "summary_text", "text": "z"}], "encrypted_content": "E"},
            {"type": "message", "role": "assistant", "content": "a"},
        ]
        assert notices == ["messages.reasoning:dropped"]

    def test_a_picture_that_a_model_drew_is_its_own_item(self) -> None:
        drawn = Turn("assistant", (Text("see"), Attachment("image", Inline("AAAA"), "image/png")), "w")
        body, _ = written(asked(USER, drawn, USER))
        assert body["input"][2] == {"type": "image_generation_call", "id": "ig_0000", "status": "completed", "result": "AAAA"}

    def test_its_own_request_comes_back_whole(self) -> None:
        members = {
            "model": "m",
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]},
                {"type": "web_search_call", "id": "w"},
            ],
            "store": True,
            "include": ["web_search_call.action.sources"],
            "truncation": "auto",
            "tools": [{"type": "file_search", "vector_store_ids": ["v"]}],
            "text": {"verbosity": "low"},
        }
        losses = Losses()
        assert write_request(read_request(members), Profile(), losses).members == members
        assert losses.notices == []

    def test_blocks_of_another_dialect_are_refused(self) -> None:
        block = HostedBlock("anthropic.messages", "code_execution_tool_result", {})
        with pytest.raises(Untranslatable, match="only available on Anthropic"):
            written(asked(USER, Turn("assistant", (block,), "messages[1]")))


@pytest.mark.parametrize("target", ["anthropic.messages", "gemini", "openai.chat", "openai.responses"])
def test_a_search_that_is_to_stay_inside_is_told_where_it_cannot(target: str) -> None:
    """Codex asks for `external_web_access: false`, a search of what OpenAI has stored; everyone else searches the web as it is."""
    write = DIALECTS[target].write_request
    assert write is not None
    losses = Losses()
    body = write(read(tools=[{"type": "web_search", "external_web_access": False}]), Profile(), losses).members
    if target == "openai.responses":
        assert body["tools"] == [{"type": "web_search", "external_web_access": False}]
        assert losses.notices == []
    else:
        assert losses.notices == ["web_search.external_web_access:dropped"]


@pytest.mark.parametrize("target", ["anthropic.messages", "gemini", "openai.chat"])
@pytest.mark.parametrize("kind", ["file_search", "code_interpreter", "image_generation"])
def test_a_hosted_tool_without_a_name_is_dropped_beside_functions_whatever_is_chosen(target: str, kind: str) -> None:
    """None of the others is chosen: that is no choice of it."""
    write = DIALECTS[target].write_request
    assert write is not None
    function = {"type": "function", "name": "f", "parameters": CLOSED, "strict": False}
    losses = Losses()
    write(read(tools=[{"type": kind}, function]), Profile(), losses)
    assert losses.notices == [f"tools.{kind}:dropped"]
    with pytest.raises(Untranslatable, match=kind):
        write(read(tools=[{"type": kind}, function], tool_choice={"type": kind}), Profile(), Losses())


def test_a_grammar_crosses_between_openais_two_spellings() -> None:
    grammar = {"syntax": "lark", "definition": "start: /a/"}
    chat = {"type": "custom", "custom": {"name": "p", "format": {"type": "grammar", "grammar": grammar}}}
    flat = {"type": "custom", "name": "p", "format": {"type": "grammar", **grammar}}
    from_chat = {"model": "m", "messages": [{"role": "user", "content": "a"}], "tools": [chat]}
    assert crossed("openai.chat", "openai.responses", from_chat).body["tools"] == [flat]
    assert crossed("openai.chat", "openai.chat", from_chat).body["tools"] == [chat]
    assert crossed("openai.responses", "openai.chat", {"model": "m", "input": "a", "tools": [flat]}).body["tools"] == [chat]
