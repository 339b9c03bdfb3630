"""What clients wish in requests of OpenAI's chat completions: groups of variants, each members that are laid over the plainest request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.dialects.family.said import CLOSED, EFFORTS, LINK, LONG_USER, LOOSE, MARK, NAMES, PDF, PNG, SEALED, Members


def _function(name: str, parameters: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "Does.", "parameters": parameters, **more}}


def _chat_calls(*ids: str, **more: Any) -> list[dict[str, Any]]:
    calls = [{"id": id, "type": "function", "function": {"name": NAMES[0], "arguments": '{"city":"Bern"}'}, **more} for id in ids]
    return [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *({"role": "tool", "tool_call_id": id, "content": "sunny"} for id in ids),
    ]


def _chat_said(**more: Any) -> Members:
    return {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", **more}, {"role": "user", "content": "b"}]}


def _chat_part(*parts: Any) -> Members:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, *parts]}]}


WISHES: Mapping[str, Mapping[str, Members]] = {
    "history": {
        "system": {
            "messages": [
                {"role": "system", "content": "one"},
                {"role": "developer", "content": [{"type": "text", "text": "two", "cache_control": MARK}]},
                {"role": "user", "content": "a", "name": "ann"},
                {"role": "system", "content": "three"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
            ]
        },
        "image": _chat_part({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}", "detail": "high"}}),
        "image_link": _chat_part({"type": "image_url", "image_url": {"url": LINK}}),
        "sound": _chat_part({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
        "pdf": _chat_part({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}),
        "text_file": _chat_part({"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain,hello%20you"}}),
        "marks": _chat_part(*({"type": "text", "text": str(index), "cache_control": MARK} for index in range(6))),
        "calls": {"messages": [*_chat_calls("call_1", "call/2:odd"), {"role": "user", "content": "and?"}]},
        "open_call": {"messages": [*_chat_calls("call_1")[:2], {"role": "user", "content": "never mind"}]},
        "signed_call": {"messages": _chat_calls("call_1", extra_content={"google": {"thought_signature": SEALED["gemini"]}})},
        "old_call": {
            "messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": None, "function_call": {"name": NAMES[0], "arguments": ""}},
                {"role": "function", "name": NAMES[0], "content": "sunny"},
            ]
        },
        "custom_call": {
            "messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "patch", "input": "*** x"}}]},
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "done"}]},
            ]
        },
        "thought": _chat_said(content="a", reasoning_content="hm"),
        "signed_thought": _chat_said(content="a", thinking_blocks=[{"type": "thinking", "thinking": "hm", "signature": "U0lH"}]),
        "sealed_thought": _chat_said(
            content="a", reasoning_details=[{"type": "reasoning.encrypted", "data": "RA==", "format": "anthropic-claude-v1", "index": 0}]
        ),
        "refused": _chat_said(content=None, refusal="no"),
        "silent": _chat_said(content=""),
        "drawn": _chat_said(content="see", images=[{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]),
    },
    "tools": {
        "loose": {"tools": [_function(name, LOOSE, strict=False) for name in NAMES]},
        "strict": {"tools": [_function(NAMES[0], CLOSED, strict=True)]},
        "bare": {"tools": [{"type": "function", "function": {"name": NAMES[0]}}], "parallel_tool_calls": False},
        "marked": {"tools": [{**_function(NAMES[0], CLOSED), "cache_control": MARK}]},
        "custom": {
            "tools": [
                _function(NAMES[0], CLOSED),
                {
                    "type": "custom",
                    "custom": {
                        "name": "patch",
                        "description": "Patches.",
                        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}},
                    },
                },
                {"type": "custom", "custom": {"name": "note", "format": {"type": "text"}}},
            ]
        },
        "search": {
            "tools": [_function(NAMES[0], CLOSED)],
            "web_search_options": {
                "search_context_size": "low",
                "user_location": {"type": "approximate", "approximate": {"city": "Bern", "country": "CH"}},
            },
        },
        "old": {"functions": [{"name": NAMES[0], "parameters": CLOSED}], "function_call": {"name": NAMES[0]}},
        "auto": {"tools": [_function(NAMES[0], CLOSED)], "tool_choice": "auto", "parallel_tool_calls": True},
        "none": {"tools": [_function(NAMES[0], CLOSED)], "tool_choice": "none"},
        "required": {"tools": [_function(NAMES[0], CLOSED)], "tool_choice": "required"},
        "named": {"tools": [_function(NAMES[1], CLOSED)], "tool_choice": {"type": "function", "function": {"name": NAMES[1]}}},
        "allowed": {
            "tools": [_function(NAMES[0], CLOSED), _function(NAMES[1], LOOSE)],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": NAMES[1]}}]},
            },
        },
    },
    "output": {
        "text": {"response_format": {"type": "text"}},
        "object": {"response_format": {"type": "json_object"}},
        "strict": {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": CLOSED, "strict": True}}},
        "loose": {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": LOOSE}}},
    },
    "thinking": {
        **{effort: {"reasoning_effort": effort} for effort in EFFORTS},
        "budget": {"reasoning": {"max_tokens": 4000}},
        "hidden": {"reasoning": {"effort": "high", "exclude": True}},
        "off": {"thinking": {"type": "disabled"}},
    },
    "sampling": {
        "temperature": {"temperature": 1.5, "top_p": 0.5},
        "top_k": {"top_k": 5, "top_p": 0.5},
        "penalties": {"frequency_penalty": 0.5, "presence_penalty": -1, "seed": 7, "n": 1},
        "probabilities": {"logprobs": True, "top_logprobs": 2, "logit_bias": {"50256": -100}},
        "nothing": {"temperature": None, "top_p": None, "stop": None, "logprobs": False, "frequency_penalty": 0},
    },
    "limits": {
        "old_limit": {"max_tokens": 9},
        "limit": {"max_completion_tokens": 2_000_000, "verbosity": "low"},
        "stops": {"stop": ["a", "\n", "b", "c", "d", "e"]},
        "stop": {"stop": "END"},
    },
    "who": {
        "long": {"user": LONG_USER, "metadata": {"a": "b"}, "store": True},
        "address": {"safety_identifier": "a@b.test", "prompt_cache_key": "k"},
        "flex": {"service_tier": "flex"},
        "default": {"service_tier": "default"},
        "priority": {"service_tier": "priority", "modalities": ["text"]},
        "stream": {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    },
}
