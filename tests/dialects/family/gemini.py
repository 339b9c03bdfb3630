"""What clients wish in requests of Gemini: groups of variants, each members that are laid over the plainest request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.dialects.family.said import CLOSED, LINK, LOOSE, NAMES, PDF, PNG, SEALED, Members


def _contents(*contents: Any) -> Members:
    return {"contents": [{"role": "user", "parts": [{"text": "go"}]}, *contents]}


def _part(*parts: Any) -> Members:
    return {"contents": [{"role": "user", "parts": [{"text": "see"}, *parts]}]}


def _declared(*declarations: Any, **calling: Any) -> Members:
    config = {"toolConfig": {"functionCallingConfig": calling}} if calling else {}
    return {"tools": [{"functionDeclarations": list(declarations)}], **config}


_DECLARED = {"name": NAMES[0], "description": "Does.", "parametersJsonSchema": CLOSED}
WISHES: Mapping[str, Mapping[str, Members]] = {
    "history": {
        "system": {"systemInstruction": {"parts": [{"text": "one"}, {"text": "two"}]}},
        "image": _part({"inlineData": {"mimeType": "image/png", "data": PNG}}),
        "image_link": _part({"fileData": {"mimeType": "image/png", "fileUri": LINK}}),
        "sound": _part({"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}),
        "pdf": _part({"inlineData": {"mimeType": "application/pdf", "data": PDF}}),
        "text_file": _part({"inlineData": {"mimeType": "text/plain", "data": "bm90ZQ=="}}),
        "calls": _contents(
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"name": NAMES[0], "args": {"city": "Bern"}}, "thoughtSignature": SEALED["gemini"]},
                    {"functionCall": {"name": NAMES[0], "args": {}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": NAMES[0], "response": {"output": "sunny"}}},
                    {"functionResponse": {"name": NAMES[0], "response": {"error": "no map"}}},
                ],
            },
        ),
        "picture_in_result": _contents(
            {"role": "model", "parts": [{"functionCall": {"id": "a", "name": NAMES[0], "args": {}}}]},
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "a",
                            "name": NAMES[0],
                            "response": {"output": "see"},
                            "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                        }
                    }
                ],
            },
        ),
        "thought": _contents(
            {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "a", "thoughtSignature": SEALED["gemini"]}]},
            {"role": "user", "parts": [{"text": "b"}]},
        ),
        "drawn": _contents(
            {"role": "model", "parts": [{"text": "see"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
            {"role": "user", "parts": [{"text": "b"}]},
        ),
    },
    "tools": {
        "json": _declared(_DECLARED, {"name": "mcp:server.tool", "parametersJsonSchema": LOOSE}),
        "openapi": _declared(
            {
                "name": NAMES[0],
                "parameters": {
                    "type": "OBJECT",
                    "properties": {"a": {"type": "STRING", "nullable": True}, "b": {"type": "ARRAY", "items": {"type": "INTEGER"}}},
                },
            }
        ),
        "empty": _declared({"name": NAMES[0]}),
        "search": {"tools": [{"googleSearch": {}}, {"functionDeclarations": [_DECLARED]}]},
        "hosted": {"tools": [{"codeExecution": {}}, {"functionDeclarations": [_DECLARED]}]},
        "auto": _declared(_DECLARED, mode="AUTO"),
        "any": _declared(_DECLARED, mode="ANY"),
        "none": _declared(_DECLARED, mode="NONE"),
        "allowed": _declared(_DECLARED, {"name": "hear"}, mode="ANY", allowedFunctionNames=[NAMES[0]]),
        "validated": _declared(_DECLARED, {"name": "hear"}, mode="VALIDATED", allowedFunctionNames=[NAMES[0]]),
    },
    "output": {
        "object": {"generationConfig": {"responseMimeType": "application/json"}},
        "schema": {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": CLOSED}},
        "openapi": {
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"], "propertyOrdering": ["a"]},
            }
        },
    },
    "thinking": {
        **{word: {"generationConfig": {"thinkingConfig": {"thinkingLevel": word}}} for word in ("MINIMAL", "LOW", "MEDIUM", "HIGH")},
        **{str(budget): {"generationConfig": {"thinkingConfig": {"thinkingBudget": budget}}} for budget in (-1, 0, 512, 9000)},
        "shown": {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
    },
    "sampling": {
        "temperature": {"generationConfig": {"temperature": 1.5, "topP": 0.5, "topK": 20.0}},
        "penalties": {"generationConfig": {"presencePenalty": 0.5, "frequencyPenalty": 0.5, "seed": 7}},
        "probabilities": {"generationConfig": {"responseLogprobs": True, "logprobs": 2}},
    },
    "limits": {
        "limit": {"generationConfig": {"maxOutputTokens": 5}},
        "high": {"generationConfig": {"maxOutputTokens": 2_000_000}},
        "stops": {"generationConfig": {"stopSequences": list("abcdef")}},
    },
    "who": {
        "safety": {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]},
        "media": {"generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW", "responseModalities": ["TEXT"]}},
        "tier": {"serviceTier": "priority"},
        "labels": {"labels": {"a": "b"}},
    },
}
