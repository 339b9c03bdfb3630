"""Respan's request parameters: which carriers bring them, which of them wins, and what must leave the body before it is sent.

Sources: respan-api 0.1.49 (newest: respan_params > header > top level), Respan's docs of mid-2026 (top level > respan_params > header),
and the parameter types of respan-sdk 2.9.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, Final, Literal

import orjson
from multidict import MultiMapping

from respan_proxy.errors import RequestRejected
from respan_proxy.frozen import frozen
from respan_proxy.respan.endpoints import ANTHROPIC, RESPONSES, Endpoint
from respan_proxy.wire.headers import may_travel
from respan_proxy.wire.json_edit import UNREAD
from respan_proxy.wire.trace_context import as_id

Precedence = Literal["respan_params", "top_level"]
"""`respan_params`: respan_params > header > top level. `top_level`: top level > respan_params > header."""

CARRIERS: Final = ("respan_params", "keywordsai_params")
_CARRIER_HEADERS: Final = ("X-Data-Respan-Params", "X-Data-Keywordsai-Params")
_CUSTOMER_HEADER: Final = "X-Respan-Customer-Identifier"
_SIMULATE_HEADER: Final = "X-Respan-Simulate"

# Respan's names for a customer are this long at most; longer ones are cut, as Respan does.
MAX_IDENTIFIER_CHARS: Final = 254

CREDENTIALS: Final = frozenset({"customer_credentials", "credential_override", "customer_api_keys"})
"""Nothing in these is anyone's business, wherever they stand."""

# Merged key by key, the stronger carrier's keys on top; every other value is replaced whole.
_MERGED: Final = ("metadata", "properties", "variables", "customer_params")

_ALIASES: Final = {"loadbalance_models": "load_balance_models", "keywordsai_api_controls": "respan_api_controls"}


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _id(value: Any) -> str | None:
    found = _text(value)
    return None if found is None else as_id(found)


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None


def _deployments(value: Any) -> dict[str, Any] | list[Any] | None:
    return value if isinstance(value, dict | list) else None


def _anything(value: Any) -> Any:
    return value


_Reader = Callable[[Any], Any]

# Every parameter with what its value must be; the names of the readers are the words of the messages.
_TYPES: Final[Mapping[str, tuple[_Reader, str]]] = {
    **dict.fromkeys(
        (
            "customer_identifier",
            "customer_email",
            "customer_name",
            "custom_identifier",
            "thread_identifier",
            "group_identifier",
            "trace_group_identifier",
            "session_identifier",
            "evaluation_identifier",
            "span_name",
            "span_workflow_name",
            "span_path",
            "trace_name",
            "note",
            "category",
            "field_name",
            "delimiter",
            "mock_response",
            "on_loss",
        ),
        (_text, "a string"),
    ),
    **dict.fromkeys(("trace_unique_id", "span_unique_id", "span_parent_id"), (_id, "a string")),
    **dict.fromkeys(
        ("request_breakdown", "disable_log", "cache_enabled", "disable_fallback", "positive_feedback", "is_test"), (_flag, "true or false")
    ),
    **dict.fromkeys(
        ("cache_ttl", "weight", "retries", "first_token_timeout", "prompt_unit_price", "completion_unit_price"), (_number, "a number")
    ),
    **dict.fromkeys(
        (
            "customer_params",
            "metadata",
            "properties",
            "variables",
            "prompt",
            "cache_options",
            "retry_params",
            "load_balance_group",
            "credential_override",
            "customer_api_keys",
            "model_name_map",
            "respan_api_controls",
            "linkup_params",
            "mem0_params",
            "hyperspell_params",
            "moda_params",
            "eval_params",
            "simulate",
        ),
        (_object, "an object"),
    ),
    **dict.fromkeys(("fallback_models", "models", "exclude_models", "exclude_providers", "load_balance_models"), (_list, "an array")),
    "customer_credentials": (_deployments, "an object or an array"),
    **dict.fromkeys(("echo", "log_type", "log_method", "environment"), (_anything, "anything")),
}

# Where passing over a wrong value would store what must not be stored, spend another's money, or let a test of failures see none.
_STRICT: Final = frozenset({"disable_log", "simulate", *CREDENTIALS})

# Words that a provider may use for something of its own; a raw relay leaves them alone.
_AMBIGUOUS: Final = frozenset(
    {
        "category",
        "echo",
        "environment",
        "log_type",
        "metadata",
        "models",
        "note",
        "prompt",
        "properties",
        "retries",
        "simulate",
        "variables",
        "weight",
    }
)

NAMES: Final = frozenset({*_TYPES, *_ALIASES})
"""Every parameter's name at the top level of a body."""

_SPOKEN_FOR: Final = frozenset({*NAMES, *CARRIERS, "extra_body"})


@frozen
class Params:
    """The parameters of one request, merged from all carriers, under Respan's names. Values of the wrong type are not in it."""

    values: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def disable_log(self) -> bool:
        return self.values.get("disable_log") is True

    @property
    def request_breakdown(self) -> bool:
        return self.values.get("request_breakdown") is True

    @property
    def customer_identifier(self) -> str | None:
        return self.values.get("customer_identifier")

    @property
    def metadata(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.values.get("metadata") or {}
        return found

    @property
    def category(self) -> str | None:
        return self.values.get("category")


@frozen
class Read:
    """What `read` found: the parameters, what to `remove` from and `replace` in the body's top level, `headers` to send along."""

    params: Params
    remove: frozenset[str] = frozenset()
    replace: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


NOTHING_SAID: Final = Read(Params())
"""Of a request without any parameter of Respan's, the same each time."""


def read(members: Mapping[str, Any], headers: MultiMapping[str], endpoint: Endpoint, precedence: Precedence = "respan_params") -> Read:
    """The parameters of a request whose body has these top-level `members` (empty for one without a JSON object).

    Raises `RequestRejected` where a wrong value must not be passed over; other wrong values are left out and named in `warnings`.
    """
    if members.keys().isdisjoint(_SPOKEN_FOR) and not (
        _CARRIER_HEADERS[0] in headers or _CARRIER_HEADERS[1] in headers or _CUSTOMER_HEADER in headers or _SIMULATE_HEADER in headers
    ):
        return NOTHING_SAID  # nearly every call; the rest of this function costs 20 us
    warnings: list[str] = []
    remove: set[str] = set()
    replace: dict[str, Any] = {}
    extra_headers: dict[str, str] = {}

    body = members
    if endpoint.is_relay and isinstance(extra := members.get("extra_body"), dict):
        body = {**members, **extra}
        remove.add("extra_body")
        replace = {name: value for name, value in extra.items() if not _is_ours(name, value, endpoint)}

    in_body, is_broken = _carried(body, warnings)
    top: dict[str, Any] = {}
    for name, value in body.items():
        if _is_ours(name, value, endpoint):
            if name not in CARRIERS:
                top[name] = value
            if name != "metadata" or not _provider_wants_metadata(value, members, endpoint, warnings):
                remove.add(name)
    if endpoint.dialect == ANTHROPIC and body.get("metadata") is UNREAD:
        raise RequestRejected("metadata: is larger than what is read of parameters (1 MB)", param="metadata")
    if endpoint.dialect == ANTHROPIC and isinstance(native := body.get("metadata"), dict) and not native.keys() <= {"user_id"}:
        carried, is_broken_too = _carried(native, warnings)
        in_body, is_broken = _merged([carried, in_body]), is_broken or is_broken_too
        extra_headers = _extra_headers(native.get("extra_headers"), endpoint.dialect, warnings)
        top["metadata"] = {name: value for name, value in native.items() if name not in (*CARRIERS, "user_id", "extra_headers")}
        if "user_id" in native:
            # Anthropic refuses every other key.
            replace["metadata"] = {"user_id": native["user_id"]}
        else:
            remove.add("metadata")

    in_header = {} if is_broken else _in_headers(headers, warnings)
    values = _merged([top, in_header, in_body] if precedence == "respan_params" else [in_header, in_body, top])
    if isinstance(variables := top.get("variables"), dict):
        # The one exception: at the top level they win key by key, whatever the precedence.
        values["variables"] = {**_dict(values.get("variables")), **variables}
    if customer := headers.get(_CUSTOMER_HEADER):
        values.setdefault("customer_identifier", customer)
    if (simulate := headers.get(_SIMULATE_HEADER)) is not None:
        values.setdefault("simulate", _json_or_text(simulate))
    values = _checked(values, warnings)
    if "prompt" in values:
        warnings.append("prompt:ignored_there_is_no_prompt_management_yet")
    _promote_customer(values, warnings)
    return Read(Params(values), frozenset(remove & members.keys()), replace, extra_headers, warnings)


def respan_fields(names: Iterable[str]) -> frozenset[str]:
    """Those fields of a multipart form that are Respan's (`prompt` of a transcription is OpenAI's)."""
    return frozenset(name for name in names if name in CARRIERS or (name in NAMES and name not in ("prompt", "echo")))


def from_form(fields: Mapping[str, str]) -> dict[str, Any]:
    """The members that `read` expects, from the text fields of a form: values that look like JSON are read as JSON."""
    members: dict[str, Any] = {}
    for name in respan_fields(fields):
        value = fields[name]
        members[name] = value
        if name in CARRIERS or _TYPES[_ALIASES.get(name, name)][0] not in (_text, _flag):
            try:
                members[name] = orjson.loads(value)
            except orjson.JSONDecodeError:
                continue
    return members


def _is_ours(name: str, value: Any, endpoint: Endpoint) -> bool:
    """Whether a top-level member is Respan's and not the provider's of the same name."""
    if name in CARRIERS:
        return True
    # Calls that leave no row have nothing to tell the row; their bodies are the provider's own (a batch has metadata).
    if name not in NAMES or endpoint.log_type is None or (endpoint.is_relay and name in _AMBIGUOUS):
        return False
    match name:
        case "prompt":
            return isinstance(value, dict) and ("prompt_id" in value or "prompt_slug" in value)
        case "echo":
            return endpoint.name == "chat.completions"
        case "metadata":
            return value is not None and endpoint.dialect != ANTHROPIC
        case _:
            return True


def _provider_wants_metadata(value: Any, members: Mapping[str, Any], endpoint: Endpoint, warnings: list[str]) -> bool:
    """OpenAI's own `metadata`: on chat it belongs to stored completions, on responses to everything but takes only strings."""
    if endpoint.name == "chat.completions":
        return members.get("store") is True
    if endpoint.dialect != RESPONSES:
        return False
    if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        return True
    warnings.append("metadata:not_sent_values_are_not_strings")
    return False


def _extra_headers(found: Any, dialect: str, warnings: list[str]) -> dict[str, str]:
    """Headers to send along, as Anthropic's `metadata.extra_headers` asks; credentials and lengths are not its business."""
    if found is None:
        return {}
    headers = {
        name: text for name, value in _dict(found).items() if (text := _header_value(value)) is not None and may_travel(name, dialect)
    }
    if not isinstance(found, dict) or len(headers) < len(found):
        warnings.append("metadata.extra_headers:not_all_sent")
    return headers


def _header_value(value: Any) -> str | None:
    text = _text(value)
    return text if text is not None and text.isprintable() else None


def _carried(body: Mapping[str, Any], warnings: list[str]) -> tuple[dict[str, Any], bool]:
    """What the carriers in a body bring, and whether one is no object: then it counts as absent, and so does the header's."""
    carriers: list[Mapping[str, Any]] = []
    is_broken = False
    for name in reversed(CARRIERS):
        value = body.get(name)
        if value is UNREAD:
            raise RequestRejected(f"{name}: is larger than what is read of parameters (1 MB)", param=name)
        if isinstance(value, str):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError:
                value = False
        if isinstance(value, dict):
            carriers.append(value)
        elif value is not None:
            is_broken = True
            warnings.append(f"{name}:ignored_not_an_object")
    return _merged(carriers), is_broken


def _in_headers(headers: MultiMapping[str], warnings: list[str]) -> dict[str, Any]:
    carriers: list[Mapping[str, Any]] = []
    for name in reversed(_CARRIER_HEADERS):
        if (text := headers.get(name)) is None:
            continue
        try:
            value = orjson.loads(_decoded(text.strip()))
        except ValueError:
            value = None
        if isinstance(value, dict):
            carriers.append(value)
        else:
            warnings.append(f"{name}:ignored_neither_base64_nor_json_of_an_object")
    return _merged(carriers)


def _json_or_text(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _decoded(text: str) -> bytes:
    """JSON as it is, or from base64 in either alphabet, with or without padding. Raises ValueError."""
    data = text.encode("utf-8", "surrogateescape")
    if data.startswith(b"{"):
        return data
    data = data.translate(_STANDARD_ALPHABET, b"= \t\r\n")
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))


_STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")


def _merged(carriers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One mapping out of many, the weakest first; a null says nothing."""
    merged: dict[str, Any] = {}
    for carrier in carriers:
        for spelt, value in carrier.items():
            name = _ALIASES.get(spelt, spelt)
            if value is None:
                continue
            if name in _MERGED and isinstance(value, dict):
                value = {**_dict(merged.get(name)), **value}
            merged[name] = value
    return merged


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _checked(values: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for name, value in values.items():
        reader, expected = _TYPES.get(name, _UNKNOWN)
        found = reader(value)
        if found is not None:
            checked[name] = found
        elif name in _STRICT:
            found_it = "something else" if name in CREDENTIALS else _said(value)
            raise RequestRejected(f"{name}: found {found_it}, expected {expected}", param=name)
        else:
            warnings.append(f"{name}:ignored_not_{expected.replace(' ', '_')}")
    if metadata := checked.get("metadata"):
        checked["metadata"] = {name: value if isinstance(value, str) else _json(value) for name, value in metadata.items()}
    return checked


def _promote_customer(values: dict[str, Any], warnings: list[str]) -> None:
    """What `customer_params` says about the customer beats the flat names."""
    customer = values.get("customer_params") or {}
    for inner, name in _CUSTOMER.items() if customer else ():
        if (text := _text(customer.get(inner))) is not None:
            values[name] = text
    identifier = values.get("customer_identifier")
    if identifier is not None and len(identifier) > MAX_IDENTIFIER_CHARS:
        values["customer_identifier"] = identifier[:MAX_IDENTIFIER_CHARS]
        warnings.append(f"customer_identifier:cut_to_{MAX_IDENTIFIER_CHARS}_characters")


_CUSTOMER: Final = {
    "customer_identifier": "customer_identifier",
    "email": "customer_email",
    "name": "customer_name",
    "group_identifier": "group_identifier",
}
_UNKNOWN: Final[tuple[_Reader, str]] = (_anything, "anything")


def _said(value: Any) -> str:
    text = _json(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
