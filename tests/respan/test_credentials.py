"""No credential of a request's body is remembered or shown."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.respan.credentials import redact_members
from respan_proxy.wire.json_edit import UNREAD

SECRET = "sk-secret-0123456789"


def test_a_body_without_credentials_needs_no_new_values() -> None:
    function = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"headers": {"type": "object"}}}}}
    assert redact_members({"model": "m", "messages": [{"content": SECRET}], "metadata": {"a": "b"}, "tools": [function]}) == {}


@pytest.mark.parametrize(
    ("members", "redacted"),
    [
        (
            {"customer_credentials": {"openai": {"api_key": SECRET, "api_base": "https://x"}, "groq": SECRET}},
            {"customer_credentials": {"openai": {"api_key": "***", "api_base": "***"}, "groq": "***"}},
        ),
        ({"credential_override": {"gpt-4o": {"api_key": SECRET}}}, {"credential_override": {"gpt-4o": {"api_key": "***"}}}),
        ({"customer_api_keys": {"gpt-4o": SECRET}}, {"customer_api_keys": {"gpt-4o": "***"}}),
        (
            {"load_balance_models": [{"model": "m", "weight": 1, "credentials": {"api_key": SECRET}}]},
            {"load_balance_models": [{"model": "m", "weight": 1, "credentials": {"api_key": "***"}}]},
        ),
        (
            {"load_balance_group": {"group_id": "g", "models": [{"model": "m", "credentials": SECRET}]}},
            {"load_balance_group": {"group_id": "g", "models": [{"model": "m", "credentials": "***"}]}},
        ),
        (
            {"respan_params": {"note": "n", "customer_credentials": {"openai": SECRET}}},
            {"respan_params": {"note": "n", "customer_credentials": {"openai": "***"}}},
        ),
        (
            {"keywordsai_params": '{"customer_credentials":{"openai":"sk-secret-0123456789"}}'},
            {"keywordsai_params": '{"customer_credentials":{"openai":"***"}}'},
        ),
        (
            {"metadata": {"respan_params": {"customer_api_keys": {"m": SECRET}}, "extra_headers": {"X-Api-Key": SECRET, "X-Team": "t"}}},
            {"metadata": {"respan_params": {"customer_api_keys": {"m": "***"}}, "extra_headers": {"X-Api-Key": "***", "X-Team": "t"}}},
        ),
        (
            {"tools": [{"type": "mcp", "server_url": "u", "authorization": SECRET, "headers": {"a": SECRET}}]},
            {"tools": [{"type": "mcp", "server_url": "u", "authorization": "***", "headers": {"a": "***"}}]},
        ),
        (
            {"mcp_servers": [{"url": "u", "authorization_token": SECRET}]},
            {"mcp_servers": [{"url": "u", "authorization_token": "***"}]},
        ),
        (
            {"customer_credentials": UNREAD, "respan_params": UNREAD, "messages": UNREAD, "tools": UNREAD},
            {"customer_credentials": "***", "respan_params": "***", "tools": "***"},
        ),
    ],
)
def test_credentials_are_masked_where_they_stand(members: dict[str, Any], redacted: dict[str, Any]) -> None:
    assert redact_members(members) == redacted


names = st.sampled_from(
    ["customer_credentials", "load_balance_models", "respan_params", "metadata", "extra_body", "credentials", "tools", "x"]
)
values = st.recursive(
    st.none() | st.just(SECRET) | st.just("{"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(names, values, max_size=4))
def test_no_shape_lets_a_customers_credentials_through(members: dict[str, Any]) -> None:
    clean = {**members, **redact_members(members)}
    assert SECRET not in repr(clean.get("customer_credentials"))
    if isinstance(carrier := clean.get("respan_params"), dict):
        assert SECRET not in repr(carrier.get("customer_credentials"))


@pytest.mark.parametrize("name", ["respan_params", "load_balance_group", "customer_credentials", "metadata"])
def test_absurd_nesting_is_masked_not_followed(name: str) -> None:
    nested: Any = SECRET
    for _ in range(900):
        nested = {name: nested}
    assert SECRET.encode() not in orjson.dumps(redact_members({name: nested}))
