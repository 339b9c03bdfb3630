"""What clients wish in requests of OpenAI's Responses: groups of variants, each members that are laid over the plainest request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.dialects.family.said import CLOSED, EFFORTS, LINK, LONG_USER, LOOSE, NAMES, PDF, PNG, SEALED, Members


def _flat(name: str, parameters: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "description": "Does.", "parameters": parameters, **more}


def _items(*items: Any) -> Members:
    return {"input": [{"role": "user", "content": "go"}, *items]}


def _call(id: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": NAMES[0], "arguments": '{"city":"Bern"}'}


WISHES: Mapping[str, Mapping[str, Members]] = {
    "history": {
        "text": {"input": "hi", "instructions": "Be brief."},
        "system": {
            "input": [
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "one"}]},
                {"role": "user", "content": "a"},
                {"role": "system", "content": "two"},
                {
                    "type": "message",
                    "id": "msg_1",
                    "status": "completed",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "b", "annotations": []}, {"type": "refusal", "refusal": "no"}],
                },
                {"role": "user", "content": "c"},
            ]
        },
        "image": _items(
            {"role": "user", "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"}]}
        ),
        "image_link": _items({"role": "user", "content": [{"type": "input_image", "image_url": LINK, "detail": "auto"}]}),
        "pdf": _items(
            {"role": "user", "content": [{"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}]}
        ),
        "pdf_link": _items({"role": "user", "content": [{"type": "input_file", "file_url": "https://a.test/b.pdf"}]}),
        "calls": _items(
            _call("call_1"),
            _call("call_2"),
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            {
                "type": "function_call_output",
                "call_id": "call_2",
                "output": [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
                ],
            },
        ),
        "custom_call": _items(
            {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** x"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
        ),
        "open_call": _items(_call("call_1"), {"role": "user", "content": "never mind"}),
        "thought": _items(
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": SEALED["openai"]},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ),
        "foreign_thought": _items(
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": f"gw1.gemini.{SEALED['gemini']}"},
            _call("call_1"),
            {"type": "function_call_output", "call_id": "call_1", "output": ""},
        ),
        "searched": _items(
            {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "q"}},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ),
    },
    "tools": {
        "loose": {"tools": [_flat(name, LOOSE, strict=False) for name in NAMES[::2]]},
        "strict": {"tools": [_flat(NAMES[0], CLOSED, strict=True)]},
        "unsaid": {"tools": [_flat(NAMES[0], CLOSED)], "parallel_tool_calls": False},
        "empty": {"tools": [{"type": "function", "name": NAMES[0], "parameters": None, "strict": None}]},
        "namespace": {
            "tools": [{"type": "namespace", "name": "mcp", "description": "Theirs.", "tools": [_flat(NAMES[0], CLOSED, strict=False)]}]
        },
        "custom": {
            "tools": [{"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}}]
        },
        "search": {
            "tools": [
                {
                    "type": "web_search",
                    "filters": {"allowed_domains": ["a.test"]},
                    "search_context_size": "high",
                    "user_location": {"type": "approximate", "city": "Bern"},
                },
                _flat(NAMES[0], CLOSED, strict=True),
            ]
        },
        "none": {"tools": [_flat(NAMES[0], CLOSED, strict=True)], "tool_choice": "none"},
        "required": {"tools": [_flat(NAMES[0], CLOSED, strict=True)], "tool_choice": "required"},
        "named": {"tools": [_flat(NAMES[0], CLOSED, strict=True)], "tool_choice": {"type": "function", "name": NAMES[0]}},
        "allowed": {
            "tools": [_flat(NAMES[0], CLOSED, strict=True), _flat("hear", CLOSED, strict=True)],
            "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "hear"}]},
        },
    },
    "output": {
        "object": {"text": {"format": {"type": "json_object"}, "verbosity": "low"}},
        "strict": {"text": {"format": {"type": "json_schema", "name": "n", "schema": CLOSED, "strict": True}}},
        "loose": {"text": {"format": {"type": "json_schema", "name": "n", "schema": LOOSE}}},
    },
    "thinking": {
        **{effort: {"reasoning": {"effort": effort}} for effort in EFFORTS},
        "shown": {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    },
    "sampling": {
        "temperature": {"temperature": 0.5, "top_p": 0.5},
        "probabilities": {"top_logprobs": 2, "include": ["message.output_text.logprobs"]},
    },
    "limits": {
        "limit": {"max_output_tokens": 5},
        "high": {"max_output_tokens": 2_000_000},
        "calls": {"max_tool_calls": 3, "truncation": "auto"},
    },
    "who": {
        "long": {"safety_identifier": LONG_USER, "metadata": {"a": "b"}, "store": True},
        "user": {"user": "u", "prompt_cache_key": "k", "store": False},
        "tier": {"service_tier": "priority"},
        "stream": {"stream": True, "stream_options": {"include_obfuscation": False}},
    },
}
