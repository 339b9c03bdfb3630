"""What clients wish in requests of Anthropic's Messages: groups of variants, each members that are laid over the plainest request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.dialects.family.said import CLOSED, EFFORTS, LINK, LONG_USER, LOOSE, MARK, NAMES, PDF, PNG, SEALED, Members


def _claude(name: str, schema: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": "Does.", "input_schema": schema, **more}


def _said(*blocks: Any) -> Members:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, *blocks]}]}


def _answered(before: list[Any], result: Any, **more: Any) -> Members:
    return {
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [*before, {"type": "tool_use", "id": "toolu_1", "name": NAMES[0], "input": {"city": "Bern"}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": result, **more}, {"type": "text", "text": "so?"}],
            },
        ]
    }


_PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
WISHES: Mapping[str, Mapping[str, Members]] = {
    "history": {
        "system": {"system": [{"type": "text", "text": "one", "cache_control": MARK}, {"type": "text", "text": "two"}]},
        "system_text": {"system": "Be brief."},
        "mid_system": {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "system", "content": "S"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
            ]
        },
        "image": _said(_PICTURE),
        "image_link": _said({"type": "image", "source": {"type": "url", "url": LINK}}),
        "pdf": _said({"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}),
        "pdf_link": _said({"type": "document", "source": {"type": "url", "url": "https://a.test/b.pdf"}}),
        "text_file": _said(
            {
                "type": "document",
                "title": "N",
                "context": "C",
                "citations": {"enabled": True},
                "source": {"type": "text", "media_type": "text/plain", "data": "note"},
            }
        ),
        "found": _said({"type": "search_result", "source": "https://a.test", "title": "T", "content": [{"type": "text", "text": "found"}]}),
        "calls": _answered([{"type": "text", "text": "let me"}], "sunny"),
        "failed": _answered([], [{"type": "text", "text": "no map"}, _PICTURE], is_error=True),
        "failed_silently": _answered([], [], is_error=True),
        "thought": _answered([{"type": "thinking", "thinking": "hm", "signature": SEALED["anthropic"]}], "sunny"),
        "sealed": _answered([{"type": "redacted_thinking", "data": "RA=="}], "sunny"),
        "foreign": _answered([{"type": "thinking", "thinking": "", "signature": f"gw1.gemini.{SEALED['gemini']}"}], "sunny"),
        "unsigned": _answered([{"type": "thinking", "thinking": "hm", "signature": ""}], "sunny"),
        "searched": {
            "messages": [
                {"role": "user", "content": "a"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
                        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
                        {"type": "text", "text": "b"},
                    ],
                },
                {"role": "user", "content": "c"},
            ]
        },
        "beginning": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "{ "}]},
    },
    "tools": {
        "loose": {"tools": [_claude(name, {"type": "object", **LOOSE}) for name in (NAMES[0], NAMES[2])]},
        "strict": {"tools": [_claude(NAMES[0], CLOSED, strict=True, cache_control=MARK)]},
        "bare": {"tools": [{"name": NAMES[0], "input_schema": {"type": "object"}}]},
        "search": {
            "tools": [
                {
                    "type": "web_search_20250305",
                    "name": "web_search",
                    "max_uses": 2,
                    "allowed_domains": ["a.test"],
                    "user_location": {"type": "approximate", "city": "Bern"},
                },
                _claude(NAMES[0], CLOSED),
            ]
        },
        "hosted": {"tools": [_claude(NAMES[0], CLOSED), {"type": "code_execution_20250825", "name": "code_execution"}]},
        "auto": {"tools": [_claude(NAMES[0], CLOSED)], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        "any": {"tools": [_claude(NAMES[0], CLOSED)], "tool_choice": {"type": "any"}},
        "none": {"tools": [_claude(NAMES[0], CLOSED)], "tool_choice": {"type": "none"}},
        "named": {"tools": [_claude(NAMES[0], CLOSED)], "tool_choice": {"type": "tool", "name": NAMES[0]}},
    },
    "output": {"schema": {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}}},
    "thinking": {
        **{effort: {"output_config": {"effort": effort}} for effort in EFFORTS[2:]},
        "adaptive": {"thinking": {"type": "adaptive", "display": "summarized"}, "max_tokens": 9000},
        "budget": {"thinking": {"type": "enabled", "budget_tokens": 4000}, "max_tokens": 9000},
        "off": {"thinking": {"type": "disabled"}},
    },
    "sampling": {"temperature": {"temperature": 0.5}, "top_p": {"top_p": 0.5, "top_k": 4}},
    "limits": {
        "stops": {"stop_sequences": ["a", "b", "c", "d", "e", "f"]},
        "warming": {"max_tokens": 0},
        "high": {"max_tokens": 2_000_000},
    },
    "who": {
        "long": {"metadata": {"user_id": LONG_USER}},
        "tier": {"service_tier": "standard_only"},
        "stream": {"stream": True},
    },
}
