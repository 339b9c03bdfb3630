"""Requests of Gemini: two spellings, pairs without ids, signatures, and what is mapped, told as lost or refused on the way."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.chat import Reasoning, Refusal, Text, ToolCall
from respan_proxy.dialects.events import Opaque, ToolDelta, ToolEnd, ToolStart
from respan_proxy.dialects.gemini_request_read import SKIP, read_request
from respan_proxy.dialects.gemini_request_write import write_request
from respan_proxy.dialects.request import (
    Attachment,
    ChatRequest,
    Custom,
    FileRef,
    Function,
    Hosted,
    HostedBlock,
    Inline,
    JsonObject,
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
from respan_proxy.errors import RequestRejected, Untranslatable
from tests.dialects.crossing import assert_typed

USER = Turn("user", (Text("hi"),), "messages[0]")
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
LEVELS, BUDGETS = Profile(thinking="level"), Profile(thinking="budget")


def read(*parts: dict[str, Any], **members: Any) -> ChatRequest:
    return read_request({"contents": [{"parts": list(parts) or [{"text": "hi"}]}], **members}, "m")


def config(**members: Any) -> ChatRequest:
    return read(generationConfig=members)


def asked(*turns: Turn, **members: Any) -> ChatRequest:
    return ChatRequest(**{"dialect": "openai.chat", "model": "m", "turns": turns or (USER,), **members})


def written(request: ChatRequest, profile: Profile | None = None) -> tuple[dict[str, Any], list[str]]:
    """(body, notices); the body is one that the SDK's types take."""
    losses = Losses()
    members = write_request(request, profile or Profile(), losses).members
    assert_typed("gemini", members)
    return members, losses.notices


def signatures(body: dict[str, Any]) -> list[str | None]:
    """Of every part that the model said."""
    said = (content["parts"] for content in body["contents"] if content["role"] == "model")
    return [part.get("thoughtSignature") for parts in said for part in parts]


class TestReading:
    def test_both_spellings_mean_the_same_and_free_form_objects_are_not_touched(self) -> None:
        called = {"name": "f", "args": {"my_arg": 1}}
        camel = read_request(
            {
                "contents": [{"role": "model", "parts": [{"functionCall": called, "thoughtSignature": "AP/+"}]}],
                "systemInstruction": {"parts": [{"text": "S"}]},
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
                "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"properties": {"my_arg": {}}}}]}],
                "generationConfig": {"maxOutputTokens": 5, "topK": 2.0, "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 9}},
                "serviceTier": "priority",
            },
            "m",
        )
        snake = read_request(
            {
                "contents": [{"role": "model", "parts": [{"function_call": called, "thought_signature": "AP_-"}]}],
                "system_instruction": {"role": "user", "parts": [{"text": "S"}]},
                "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}},
                "tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": {"properties": {"my_arg": {}}}}]}],
                "generation_config": {
                    "max_output_tokens": 5,
                    "top_k": 2.0,
                    "thinking_config": {"include_thoughts": True, "thinking_budget": 9},
                },
                "service_tier": "priority",
            },
            "m",
        )
        assert camel == snake
        assert camel.turns[0].parts == (ToolCall("call_1", "f", '{"my_arg":1}', signature=Opaque("gemini", "AP/+")),)
        assert camel.thinking == Thinking(None, 9, True)

    @pytest.mark.parametrize("stand_in", [SKIP, "context_engineering_is_the_way_to_go", b64encode(SKIP.encode()).decode()])
    def test_what_stands_in_for_a_signature_is_none(self, stand_in: str) -> None:
        call = {"function_call": {"name": "get_weather", "args": {"city": "Zürich"}, "id": "call_fake"}, "thoughtSignature": stand_in}
        (turn,) = read_request({"contents": [{"role": "model", "parts": [call]}]}, "m").turns
        assert [part.signature for part in turn.parts if isinstance(part, ToolCall)] == [None]

    def test_results_without_ids_answer_the_first_open_call_of_their_name(self) -> None:
        contents = [
            {
                "role": "model",
                "parts": [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "f"}}, {"functionCall": {"id": "x", "name": "f"}}],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "x", "name": "f", "response": {"result": [1]}}},
                    {"functionResponse": {"name": "f", "response": {"output": "one"}}},
                    {"functionResponse": {"name": "f", "response": {"error": {"code": 5}}}},
                ],
            },
        ]
        request = read_request({"contents": contents}, "m")
        assert [call.id for call in request.turns[0].parts if isinstance(call, ToolCall)] == ["call_1", "call_2", "x"]
        assert request.turns[1].parts == (
            ToolResult("x", (Text("[1]"),), name="f"),
            ToolResult("call_1", (Text("one"),), name="f"),
            ToolResult("call_2", (Text('{"code":5}'),), error=True, name="f"),
        )

    def test_a_result_without_a_call_is_refused(self) -> None:
        with pytest.raises(RequestRejected, match="answers no functionCall named 'f'"):
            read({"functionResponse": {"name": "f", "response": {}}})

    def test_every_part_is_read(self) -> None:
        parts = [
            {"text": "a", "thoughtSignature": "AP_-"},
            {"text": "t", "thought": True},
            {"text": ""},
            {"thoughtSignature": SKIP},
            {"inlineData": {"mime_type": "image/png", "data": "AP_-"}},
            {"inlineData": {"mimeType": "text/plain", "data": "bm90ZQ", "displayName": "n.txt"}},
            {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x", "mimeType": "application/pdf"}},
            {"fileData": {"file_uri": "https://a.test/b.webp?c=1"}},
            {"fileData": {"fileUri": "https://youtu.be/x"}},
            {"executableCode": {"code": "1"}},
            {},
        ]
        assert read(*parts).turns[0].parts == (
            Text("a", Opaque("gemini", "AP/+")),
            Reasoning("t"),
            Attachment("image", Inline("AP/+"), "image/png"),
            Attachment("document", Written("note"), "text/plain", "n.txt"),
            Attachment("audio", Inline("AAAA"), "audio/mp3"),
            Attachment("document", FileRef("gemini", "https://generativelanguage.googleapis.com/v1beta/files/x"), "application/pdf"),
            Attachment("image", Link("https://a.test/b.webp?c=1"), "image/webp"),
            Attachment("video", Link("https://youtu.be/x")),
            HostedBlock("gemini", "executableCode", {"executableCode": {"code": "1"}}),
        )

    def test_tools_and_choices_are_read(self) -> None:
        request = read(tools=[{"googleSearch": {}, "functionDeclarations": [{"name": "f"}]}, {"url_context": {}}, {"codeExecution": None}])
        assert request.tools == (Function("f"), WebSearch(), Hosted("gemini", "urlContext", {"urlContext": {}}, "tools[1].urlContext"))
        for mode, meant in (("AUTO", ToolChoice("auto")), ("NONE", ToolChoice("none")), ("VALIDATED", ToolChoice("auto", ("f",)))):
            calling = {"mode": mode, **({"allowedFunctionNames": ["f"]} if mode == "VALIDATED" else {})}
            assert read(toolConfig={"functionCallingConfig": calling}).tool_choice == meant
        assert read(toolConfig={"functionCallingConfig": {"mode": "MODE_UNSPECIFIED"}}).tool_choice is None

    @pytest.mark.parametrize(
        ("thinking", "meant"),
        [
            ({"thinkingBudget": 0}, Thinking("none")),
            ({"thinkingBudget": -1}, None),
            ({"thinkingBudget": -1, "includeThoughts": True}, Thinking(visible=True)),
            ({"thinkingBudget": 2048}, Thinking(budget=2048)),
            ({"thinkingLevel": "low"}, Thinking("low")),
            ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None),
            ({}, None),
        ],
    )
    def test_thinking_is_read(self, thinking: dict[str, Any], meant: Thinking | None) -> None:
        assert config(thinkingConfig=thinking).thinking == meant

    def test_structured_output_is_read(self) -> None:
        assert config(responseMimeType="application/json").output == JsonObject()
        assert config(responseMimeType="application/json", responseJsonSchema=SCHEMA).output == JsonSchema(SCHEMA)
        assert config(response_schema={"type": "STRING"}).output == JsonSchema({"type": "string"})
        assert config(responseMimeType="text/plain").output is None

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({}, "contents"),
            ({"contents": [{"role": "robot", "parts": []}]}, "contents[0].role"),
            ({"contents": [{"parts": [{"hologram": {}}]}]}, "contents[0].parts[0]"),
            ({"contents": [{"parts": [{"functionCall": {}}]}]}, "contents[0].parts[0].functionCall.name"),
            ({"contents": [{"parts": [{"inlineData": {"data": "A"}}]}]}, "contents[0].parts[0].inlineData.data"),
            ({"contents": [], "systemInstruction": {"parts": [{"inlineData": {}}]}}, "systemInstruction.parts[0]"),
            ({"contents": [], "generationConfig": {"maxOutputTokens": "x"}}, "generationConfig.maxOutputTokens"),
        ],
    )
    def test_what_cannot_be_read_is_refused_by_name(self, body: dict[str, Any], param: str) -> None:
        with pytest.raises(RequestRejected) as refused:
            read_request(body, "m")
        assert refused.value.param == param


class TestLeaving:
    """What only Gemini has, on the way to another dialect."""

    def test_an_empty_list_is_no_loss(self) -> None:
        losses = Losses()
        write = DIALECTS["openai.chat"].write_request
        assert write is not None
        write(read(safetySettings=[]), Profile(), losses)
        assert losses.notices == []

    def test_hints_go_in_silence_and_knobs_with_a_notice(self) -> None:
        request = read(
            labels={"a": "b"},
            safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
            toolConfig={"retrievalConfig": {"languageCode": "de"}},
            generationConfig={"mediaResolution": "LOW", "speech_config": {}, "responseModalities": ["TEXT"]},
        )
        losses = Losses()
        write = DIALECTS["openai.responses"].write_request
        assert write is not None
        write(request, Profile(), losses)
        assert losses.notices == [
            "safetySettings:dropped",
            "generationConfig.mediaResolution:dropped",
            "generationConfig.speechConfig:dropped",
            "toolConfig.retrievalConfig:dropped",
        ]

    @pytest.mark.parametrize(
        ("members", "param"),
        [
            ({"cachedContent": "cachedContents/x"}, "cachedContent"),
            ({"generationConfig": {"responseModalities": ["IMAGE"]}}, "generationConfig.responseModalities"),
            ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "generationConfig.responseMimeType"),
            ({"tools": [{"urlContext": {}}]}, "tools[0].urlContext"),
        ],
    )
    @pytest.mark.parametrize("target", ["openai.chat", "openai.responses", "anthropic.messages"])
    def test_what_the_answer_depends_on_is_refused(self, members: dict[str, Any], param: str, target: str) -> None:
        write = DIALECTS[target].write_request
        assert write is not None
        with pytest.raises(Untranslatable) as refused:
            write(read(**members), Profile(), Losses())
        assert refused.value.param == param


class TestWriting:
    def test_roles_alternate_and_results_come_first(self) -> None:
        body, notices = written(
            asked(
                Turn("user", (Text("a"),), "w"),
                Turn("system", (Text("S"),), "w"),
                Turn("assistant", (Text(""), Refusal("no"), ToolCall("1", "f", '{"a":1}'), ToolCall("2", "g", "")), "w"),
                Turn("user", (Text("see"),), "w"),
                Turn("user", (ToolResult("1", (Text('{"x":1}'),)), ToolResult("2", (Text("[1]"),))), "w"),
                system=(Text("A"), Text("B")),
            )
        )
        assert body == {
            "systemInstruction": {"parts": [{"text": "A"}, {"text": "B"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "a"}, {"text": "S"}]},
                {
                    "role": "model",
                    "parts": [
                        {"text": "no"},
                        {"functionCall": {"id": "1", "name": "f", "args": {"a": 1}}},
                        {"functionCall": {"id": "2", "name": "g", "args": {}}},
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"id": "1", "name": "f", "response": {"x": 1}}},
                        {"functionResponse": {"id": "2", "name": "g", "response": {"output": "[1]"}}},
                        {"text": "see"},
                    ],
                },
            ],
        }
        assert notices == ["messages.system:as_user"]

    def test_a_signature_stays_on_the_part_it_signed_and_only_first_calls_are_excused(self) -> None:
        sign = Opaque("gemini", "U0lH")
        steps = asked(
            USER,
            Turn("assistant", (ToolCall("1", "f", "", signature=sign), ToolCall("2", "f", "")), "w"),
            Turn("user", (ToolResult("1", ()), ToolResult("2", ())), "w"),
            Turn("assistant", (Text("a", sign), ToolCall("3", "f", ""), ToolCall("4", "f", "")), "w"),
            Turn("user", (ToolResult("3", ()), ToolResult("4", ())), "w"),
        )
        body, _ = written(steps, LEVELS)
        signatures = [
            part.get("thoughtSignature") for content in body["contents"] for part in content["parts"] if content["role"] == "model"
        ]
        assert signatures == ["U0lH", None, "U0lH", SKIP, None]
        body, _ = written(steps)
        signatures = [
            part.get("thoughtSignature") for content in body["contents"] for part in content["parts"] if content["role"] == "model"
        ]
        assert signatures == ["U0lH", None, "U0lH", None, None]

    def test_thoughts_of_others_are_left_out_and_its_own_go_back(self) -> None:
        parts = (Reasoning("x", Opaque("openai", "E")), Reasoning("t", Opaque("gemini", "U0lH")), Text("a"))
        body, notices = written(asked(USER, Turn("assistant", parts, "w")))
        assert body["contents"][1]["parts"] == [{"text": "t", "thought": True, "thoughtSignature": "U0lH"}, {"text": "a"}]
        assert notices == ["messages.reasoning:dropped"]

    def test_attachments_become_parts_inside_results_too(self) -> None:
        picture, link = Attachment("image", Inline("AAAA"), "image/webp"), Attachment("image", Link("https://a.test/b.png"))
        result = ToolResult("1", (Text("see"), picture, Attachment("document", Written("note"))))
        body, _ = written(
            asked(
                Turn("assistant", (ToolCall("1", "f", ""),), "w"),
                Turn("user", (result, link, Attachment("document", Written("x"), name="N", context="C")), "w"),
            )
        )
        assert body["contents"][1]["parts"] == [
            {
                "functionResponse": {
                    "id": "1",
                    "name": "f",
                    "response": {"output": "see\n\nnote"},
                    "parts": [{"inlineData": {"mimeType": "image/webp", "data": "AAAA"}}],
                }
            },
            {"fileData": {"mimeType": "image/png", "fileUri": "https://a.test/b.png"}},
            {"text": "C"},
            {"text": "N\nx"},
        ]

    def test_what_cannot_be_carried_is_refused(self) -> None:
        with pytest.raises(Untranslatable, match="by file id"):
            written(asked(Turn("user", (Attachment("image", FileRef("openai", "f")),), "messages[0].content")))
        with pytest.raises(RequestRejected, match="result of the call 'x', which no message makes"):
            written(asked(Turn("user", (ToolResult("x", (Text("a"),)),), "messages[0]")))
        with pytest.raises(RequestRejected, match="the conversation is empty"):
            written(asked(Turn("user", (), "w"), system=(Text("S"),)))

    def test_free_text_tools_are_functions_with_one_string_and_come_back_as_text(self) -> None:
        losses = Losses()
        outgoing = write_request(
            asked(
                Turn("assistant", (ToolCall("1", "ap ply", "*** Begin", custom=True),), "w"),
                Turn("user", (ToolResult("1", (Text("ok"),), custom=True),), "w"),
                tools=(Custom("ap ply", "d", {"type": "grammar"}),),
                tool_choice=ToolChoice("required", ("ap ply",)),
            ),
            Profile(),
            losses,
        )
        assert_typed("gemini", outgoing.members)
        (declaration,) = outgoing.members["tools"][0]["functionDeclarations"]
        name = declaration["name"]
        assert declaration["parametersJsonSchema"]["required"] == ["input"]
        assert outgoing.members["contents"][0]["parts"][0]["functionCall"] == {"id": "1", "name": name, "args": {"input": "*** Begin"}}
        assert outgoing.members["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": [name]}
        assert losses.notices == ["tools.custom.format:dropped"]
        restore = outgoing.names.restore()
        events = [ToolStart(0, "2", name), ToolDelta(0, '{"input":"x"}'), ToolEnd(0)]
        assert [told for event in events for told in restore(event)] == [
            ToolStart(0, "2", "ap ply", custom=True),
            ToolDelta(0, "x"),
            ToolEnd(0),
        ]

    def test_schemas_are_written_as_the_model_takes_them(self) -> None:
        request = asked(tools=(Function("f", parameters=SCHEMA), Function("g", parameters={"type": "object"})), output=JsonSchema(SCHEMA))
        body, _ = written(request)
        assert body["tools"][0]["functionDeclarations"] == [{"name": "f", "parametersJsonSchema": SCHEMA}, {"name": "g"}]
        assert body["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
        body, _ = written(request, Profile(refuses=frozenset(("parametersJsonSchema", "responseJsonSchema"))))
        openapi = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
        assert body["tools"][0]["functionDeclarations"] == [{"name": "f", "parameters": openapi}, {"name": "g"}]
        assert body["generationConfig"] == {"responseMimeType": "application/json", "responseSchema": openapi}

    def test_a_search_beside_functions_is_left_out_where_models_take_one_or_the_other(self) -> None:
        request = asked(tools=(Function("f"), WebSearch(max_uses=2, allowed_domains=("a.test",))), tool_choice=ToolChoice("auto"))
        body, notices = written(request, LEVELS)
        assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}]
        assert notices == ["web_search.allowed_domains:dropped", "web_search.max_uses:dropped"]
        body, notices = written(request, BUDGETS)
        assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
        assert notices == ["tools.web_search:dropped"]

    @pytest.mark.parametrize(
        ("thinking", "profile", "said"),
        [
            (Thinking("none"), LEVELS, {"thinkingLevel": "MINIMAL"}),
            (Thinking("none"), BUDGETS, {"thinkingBudget": 0}),
            (Thinking("max"), LEVELS, {"includeThoughts": True, "thinkingLevel": "XHIGH"}),
            (Thinking("max"), Profile(thinking="level", efforts=("low", "high")), {"includeThoughts": True, "thinkingLevel": "HIGH"}),
            (Thinking(budget=2000, visible=False), BUDGETS, {"thinkingBudget": 2000}),
            (Thinking(budget=2000, visible=True), LEVELS, {"includeThoughts": True, "thinkingLevel": "MEDIUM"}),
            (Thinking(visible=True), BUDGETS, {"includeThoughts": True}),
            (Thinking(visible=True), Profile(), None),
        ],
    )
    def test_thinking_is_said_in_levels_or_in_tokens_never_both(self, thinking: Thinking, profile: Profile, said: Any) -> None:
        body, notices = written(asked(thinking=thinking), profile)
        assert body.get("generationConfig", {}).get("thinkingConfig") == said
        assert notices == (["reasoning:clamped"] if profile.efforts else [])

    def test_knobs_are_mapped_clamped_or_told(self) -> None:
        request = asked(
            max_tokens=9, temperature=3.0, top_p=0.5, top_k=4, stop=tuple("abcdef"), n=2, seed=7, frequency_penalty=0.5, presence_penalty=0,
            logprobs=True, top_logprobs=1, logit_bias={"1": 1}, verbosity="low", user="u", metadata={"a": "b"}, cache_key="k",
            service_tier="flex", parallel=False, tools=(Function("f", strict=True),), thinking=Thinking("high"),
        )  # fmt: skip
        body, notices = written(request)
        assert body["generationConfig"] == {
            "maxOutputTokens": 9, "temperature": 2.0, "topP": 0.5, "topK": 4, "candidateCount": 2, "stopSequences": list("abcde"),
            "seed": 7, "frequencyPenalty": 0.5, "responseLogprobs": True, "logprobs": 1,
        }  # fmt: skip
        assert body["serviceTier"] == "flex"
        assert notices == [
            "tools.strict:dropped", "temperature:clamped", "stop:truncated", "reasoning:dropped", "parallel_tool_calls:dropped",
            "logit_bias:dropped", "verbosity:dropped", "user:dropped",
        ]  # fmt: skip
        _, notices = written(
            asked(temperature=0.5, top_k=1, presence_penalty=1.0), Profile(sampling=False, refuses=frozenset(("presence_penalty",)))
        )
        assert notices == ["temperature:dropped", "top_k:dropped", "presence_penalty:dropped"]

    def test_its_own_request_comes_back_whole(self) -> None:
        members = {
            "contents": [
                {"role": "user", "parts": [{"text": "a"}]},
                {"role": "model", "parts": [{"text": "t", "thought": True}, {"executableCode": {"code": "1", "language": "PYTHON"}}]},
                {"role": "user", "parts": [{"text": "b"}]},
            ],
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
            "tools": [{"codeExecution": {}}],
            "toolConfig": {"retrievalConfig": {"languageCode": "de"}},
            "generationConfig": {"speechConfig": {"languageCode": "de"}, "temperature": 1, "responseModalities": ["AUDIO"]},
        }
        body, notices = written(read_request(members, "m"))
        assert body == members
        assert notices == []
