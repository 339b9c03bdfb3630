"""Respan's parameters: three carriers, one precedence, and nothing of them at a provider."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from respan_proxy.errors import RequestRejected
from respan_proxy.respan.endpoints import Endpoint, match
from respan_proxy.respan.params import NAMES, Precedence, Read, from_form, read, respan_fields
from respan_proxy.wire.json_edit import UNREAD


def endpoint(path: str) -> Endpoint:
    found = match("POST", path)
    assert found is not None
    return found


CHAT, RESPONSES = endpoint("/api/chat/completions"), endpoint("/api/responses")
MESSAGES, GEMINI = endpoint("/api/anthropic/v1/messages"), endpoint("/v1beta/models/m:generateContent")
EMBEDDINGS, RELAY, BATCHES = endpoint("/api/embeddings"), endpoint("/api/groq/v1/chat/completions"), endpoint("/api/batches")
SPEECH, COMPLETIONS = endpoint("/api/audio/speech"), endpoint("/api/completions")


def header(values: Any, name: str = "X-Data-Respan-Params") -> CIMultiDict[str]:
    return CIMultiDict({name: base64.b64encode(json.dumps(values).encode()).decode()})


def asked(members: dict[str, Any], headers: CIMultiDict[str] | None = None, to: Endpoint = CHAT, by: Precedence = "respan_params") -> Read:
    return read(members, headers if headers is not None else CIMultiDict(), to, by)


@pytest.mark.parametrize(
    ("by", "order"), [("respan_params", ["in_params", "in_header", "on_top"]), ("top_level", ["on_top", "in_params", "in_header"])]
)
def test_one_carrier_wins_over_the_other_as_configured(by: Precedence, order: list[str]) -> None:
    carriers = {"in_params", "in_header", "on_top"}
    for winner in order:
        members: dict[str, Any] = {"thread_identifier": "on_top"} if "on_top" in carriers else {}
        if "in_params" in carriers:
            members["respan_params"] = {"thread_identifier": "in_params"}
        headers = header({"thread_identifier": "in_header"}) if "in_header" in carriers else CIMultiDict[str]()
        assert asked(members, headers, by=by).params.values["thread_identifier"] == winner
        carriers.remove(winner)


@pytest.mark.parametrize("name", ["metadata", "properties", "customer_params"])
def test_objects_are_merged_key_by_key(name: str) -> None:
    members = {name: {"email": "top", "name": "top"}, "respan_params": {name: {"email": "params"}}}
    found = asked(members, header({name: {"name": "header", "period_start": "header"}}))
    assert found.params.values[name] == {"email": "params", "name": "header", "period_start": "header"}


def test_other_objects_are_replaced_whole() -> None:
    found = asked({"cache_options": {"a": 1}, "respan_params": {"cache_options": {"b": 2}}})
    assert found.params.values["cache_options"] == {"b": 2}


@pytest.mark.parametrize("by", ["respan_params", "top_level"])
def test_variables_at_the_top_level_win_key_by_key(by: Precedence) -> None:
    members = {"variables": {"a": "top"}, "respan_params": {"variables": {"a": "params", "b": "params"}}}
    assert asked(members, by=by).params.values["variables"] == {"a": "top", "b": "params"}


@pytest.mark.parametrize("carrier", [[], "no json", '"a string"', 5, True, [{"note": "x"}]])
@pytest.mark.parametrize("name", ["respan_params", "keywordsai_params"])
def test_a_carrier_that_is_no_object_is_ignored_together_with_the_headers(name: str, carrier: Any) -> None:
    found = asked({name: carrier, "category": "kept"}, header({"note": "x"}))
    assert found.params.values == {"category": "kept"}
    assert found.warnings == [f"{name}:ignored_not_an_object"]
    assert name in found.remove


def test_a_carrier_may_be_json_in_a_string() -> None:
    assert asked({"respan_params": '{"note":"x"}'}).params.values == {"note": "x"}


def test_a_null_says_nothing() -> None:
    found = asked({"respan_params": None, "note": None, "category": "top"}, header({"category": None, "note": "header"}))
    assert found.params.values == {"category": "top", "note": "header"}
    assert found.remove == {"respan_params", "note", "category"}


def test_keywordsai_is_the_older_name_of_every_carrier() -> None:
    members = {"keywordsai_params": {"note": "old", "category": "old"}, "respan_params": {"note": "new"}}
    assert asked(members).params.values == {"note": "new", "category": "old"}
    both = header({"note": "old", "span_name": "old"}, "X-Data-Keywordsai-Params")
    both.extend(header({"note": "new"}))
    assert asked({}, both).params.values == {"note": "new", "span_name": "old"}
    aliased = asked({"loadbalance_models": [{"model": "m"}], "keywordsai_api_controls": {"block": False}})
    assert aliased.params.values == {"load_balance_models": [{"model": "m"}], "respan_api_controls": {"block": False}}
    assert aliased.remove == {"loadbalance_models", "keywordsai_api_controls"}


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode('{"note":"ü?>~"}'.encode()).decode(),
        base64.urlsafe_b64encode('{"note":"ü?>~"}'.encode()).decode(),
        base64.urlsafe_b64encode('{"note":"ü?>~"}'.encode()).decode().rstrip("="),
        '{"note":"ü?>~"}',
        ' {"note": "ü?>~"}',
    ],
)
def test_the_header_is_read_in_base64_of_either_alphabet_and_as_plain_json(text: str) -> None:
    assert asked({}, CIMultiDict({"x-data-respan-params": text})).params.values == {"note": "ü?>~"}


@pytest.mark.parametrize("text", ["", "%%%", "e30", "W10=", "bnVsbA==", "{broken", "a"])
def test_a_header_that_cannot_be_read_is_named_and_the_request_served(text: str) -> None:
    found = asked({"note": "kept"}, CIMultiDict({"X-Data-Respan-Params": text}))
    assert found.params.values == {"note": "kept"}
    assert found.warnings == ([] if text == "e30" else ["X-Data-Respan-Params:ignored_neither_base64_nor_json_of_an_object"])


@pytest.mark.parametrize("to", [CHAT, RESPONSES, EMBEDDINGS, MESSAGES, GEMINI, SPEECH], ids=lambda to: to.name)
def test_no_parameter_is_ever_forwarded(to: Endpoint) -> None:
    legitimate = {"prompt", "echo", "metadata"}
    members = dict.fromkeys(NAMES - legitimate) | {"respan_params": {}, "keywordsai_params": {}, "model": "m", "x_vendor": 1}
    assert members.keys() - asked(members, to=to).remove == {"model", "x_vendor"}


@pytest.mark.parametrize("to", [CHAT, EMBEDDINGS, GEMINI], ids=lambda to: to.name)
def test_metadata_is_respans_where_the_provider_has_none(to: Endpoint) -> None:
    found = asked({"metadata": {"a": "b", "n": 1, "on": True, "o": {"x": []}}}, to=to)
    assert found.params.metadata == {"a": "b", "n": "1", "on": "true", "o": '{"x":[]}'}
    assert found.remove == {"metadata"}


def test_metadata_of_a_stored_chat_is_remembered_and_forwarded() -> None:
    found = asked({"metadata": {"a": "b"}, "store": True})
    assert (found.params.metadata, found.remove) == ({"a": "b"}, frozenset())
    assert asked({"metadata": {"a": "b"}, "store": False}).remove == {"metadata"}


def test_metadata_of_responses_is_forwarded_when_openai_would_take_it() -> None:
    assert asked({"metadata": {"a": "b"}}, to=RESPONSES).remove == frozenset()
    found = asked({"metadata": {"a": 1}}, to=RESPONSES)
    assert found.remove == {"metadata"}
    assert found.params.metadata == {"a": "1"}
    assert found.warnings == ["metadata:not_sent_values_are_not_strings"]


@pytest.mark.parametrize("to", [CHAT, RESPONSES], ids=lambda to: to.name)
@pytest.mark.parametrize("key", ["prompt_id", "prompt_slug"])
def test_a_prompt_is_respans_when_it_has_respans_keys(to: Endpoint, key: str) -> None:
    respans, openais = {key: "x", "variables": {}}, {"id": "pmpt_1", "version": "2", "variables": {}}
    found = asked({"prompt": respans}, to=to)
    assert (found.params.values["prompt"], found.remove) == (respans, {"prompt"})
    found = asked({"prompt": openais}, to=to)
    assert ("prompt" in found.params.values, found.remove) == (False, frozenset())


def test_prompt_and_echo_of_legacy_completions_are_openais() -> None:
    found = asked({"prompt": "Once", "echo": True, "note": "x"}, to=COMPLETIONS)
    assert (found.params.values, found.remove) == ({"note": "x"}, {"note"})
    assert asked({"echo": True}).remove == {"echo"}


def test_a_null_metadata_is_left_as_it_is() -> None:
    assert asked({"metadata": None}).remove == frozenset()


def test_anthropics_metadata_carries_parameters_and_is_rebuilt() -> None:
    metadata = {
        "user_id": "u",
        "respan_params": {"note": "inner", "category": "inner"},
        "extra_headers": {"X-Team": "t", "X-Number": 5, "Authorization": "Bearer x", "Host": "evil", "X-Bad": "a\r\nb"},
        "feature": "search",
    }
    found = asked({"metadata": metadata, "respan_params": {"note": "outer"}}, to=MESSAGES)
    assert found.params.values == {"note": "outer", "category": "inner", "metadata": {"feature": "search"}}
    assert (found.replace, found.remove) == ({"metadata": {"user_id": "u"}}, {"respan_params"})
    assert found.headers == {"X-Team": "t", "X-Number": "5"}
    assert found.warnings == ["metadata.extra_headers:not_all_sent"]


def test_anthropics_metadata_without_a_user_goes_altogether() -> None:
    found = asked({"metadata": {"respan_params": {"note": "x"}}}, to=MESSAGES)
    assert (found.params.values, found.replace, found.remove) == ({"note": "x", "metadata": {}}, {}, {"metadata"})


@pytest.mark.parametrize("metadata", [{"user_id": "u"}, {}, None, "odd"])
def test_anthropics_own_metadata_is_not_touched(metadata: Any) -> None:
    found = asked({"metadata": metadata}, to=MESSAGES)
    assert (found.params.values, found.replace, found.remove) == ({}, {}, frozenset())


def test_a_relay_takes_the_carriers_and_leaves_ambiguous_words_to_the_provider() -> None:
    members = {
        "respan_params": {"note": "x"},
        "customer_identifier": "c",
        "metadata": {"a": 1},
        "models": ["a"],
        "prompt": {"prompt_id": "p"},
    }
    found = asked(members, to=RELAY)
    assert found.params.values == {"note": "x", "customer_identifier": "c"}
    assert found.remove == {"respan_params", "customer_identifier"}


def test_a_relay_merges_a_literal_extra_body_into_the_body() -> None:
    found = asked({"model": "m", "top_k": 1, "extra_body": {"top_k": 5, "thread_identifier": "t"}}, to=RELAY)
    assert (found.replace, found.remove) == ({"top_k": 5}, {"extra_body"})
    assert found.params.values == {"thread_identifier": "t"}


def test_bodies_of_calls_that_leave_no_row_are_the_providers_own() -> None:
    found = asked({"metadata": {"a": "b"}, "note": "x", "respan_params": {}}, to=BATCHES)
    assert (found.params.values, found.remove) == ({}, {"respan_params"})


def test_customer_params_beat_the_flat_names() -> None:
    members = {"customer_identifier": "flat", "customer_email": "flat", "customer_params": {"customer_identifier": 42, "name": "N"}}
    values = asked(members).params.values
    assert (values["customer_identifier"], values["customer_email"], values["customer_name"]) == ("42", "flat", "N")


def test_the_customer_header_serves_when_nothing_else_names_one() -> None:
    headers = CIMultiDict({"X-Respan-Customer-Identifier": "from-header"})
    assert asked({}, headers).params.customer_identifier == "from-header"
    assert asked({"customer_identifier": "body"}, headers).params.customer_identifier == "body"


def test_a_long_customer_identifier_is_cut() -> None:
    found = asked({"customer_identifier": "é" * 300})
    assert found.params.customer_identifier == "é" * 254
    assert found.warnings == ["customer_identifier:cut_to_254_characters"]


@pytest.mark.parametrize(("value", "disabled"), [(True, True), (False, False), ("true", True), ("False", False)])
def test_disable_log_is_a_boolean_or_the_word_for_it(value: Any, disabled: bool) -> None:
    assert asked({"disable_log": value}).params.disable_log is disabled
    assert asked({"respan_params": {"disable_log": value}}).params.disable_log is disabled


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("disable_log", "yes", 'disable_log: found "yes", expected true or false'),
        ("disable_log", 1, "disable_log: found 1, expected true or false"),
        ("customer_credentials", "sk-x", "customer_credentials: found something else, expected an object or an array"),
        ("credential_override", [], "credential_override: found something else, expected an object"),
    ],
)
def test_a_wrong_value_is_refused_where_ignoring_it_would_do_harm(name: str, value: Any, message: str) -> None:
    with pytest.raises(RequestRejected, match=message) as raised:
        asked({name: value})
    assert raised.value.param == name


@pytest.mark.parametrize(
    ("name", "value", "warning"),
    [
        ("request_breakdown", "maybe", "request_breakdown:ignored_not_true_or_false"),
        ("customer_identifier", {"id": 1}, "customer_identifier:ignored_not_a_string"),
        ("metadata", "text", "metadata:ignored_not_an_object"),
        ("fallback_models", "gpt-4o", "fallback_models:ignored_not_an_array"),
        ("cache_ttl", "soon", "cache_ttl:ignored_not_a_number"),
    ],
)
def test_other_wrong_values_are_left_out_and_named(name: str, value: Any, warning: str) -> None:
    found = asked({name: value})
    assert (found.params.values, found.warnings, found.remove) == ({}, [warning], {name})


def test_members_too_big_to_be_read_are_removed_and_named() -> None:
    found = asked({"variables": UNREAD, "prompt": UNREAD, "messages": UNREAD})
    assert (found.remove, found.warnings) == ({"variables"}, ["variables:ignored_not_an_object"])


@pytest.mark.parametrize(("to", "name"), [(CHAT, "respan_params"), (CHAT, "keywordsai_params"), (MESSAGES, "metadata")])
def test_a_carrier_too_big_to_be_read_is_refused(to: Endpoint, name: str) -> None:
    """What it asks for, perhaps that nothing be logged, would be passed over."""
    with pytest.raises(RequestRejected, match=name):
        asked({name: UNREAD}, to=to)


def test_a_forms_fields_are_told_apart_and_read() -> None:
    fields = {
        "model": "whisper-1",
        "prompt": "Once",
        "customer_identifier": "17",
        "disable_log": "True",
        "metadata": '{"a":"b"}',
        "respan_params": '{"note":"x"}',
        "cache_ttl": "60",
        "properties": "no json",
    }
    assert respan_fields(fields) == fields.keys() - {"model", "prompt"}
    found = asked(from_form(fields), to=endpoint("/api/audio/transcriptions"))
    assert found.params.values == {"customer_identifier": "17", "disable_log": True, "metadata": {"a": "b"}, "note": "x", "cache_ttl": 60}
    assert found.warnings == ["properties:ignored_not_an_object"]


member_names = st.sampled_from([*sorted(NAMES), "respan_params", "keywordsai_params", "extra_body", "store", "user_id", "extra_headers"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(member_names, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([*sorted(NAMES), "respan_params", "keywordsai_params", "extra_body", "store"]), json_values, max_size=6
    ),
    st.text(max_size=20) | json_values.map(json.dumps),
    st.sampled_from([CHAT, RESPONSES, MESSAGES, GEMINI, EMBEDDINGS, RELAY, BATCHES]),
)
def test_any_body_is_read_or_refused_by_name(members: dict[str, Any], text: str, to: Endpoint) -> None:
    try:
        found = asked(members, CIMultiDict({"X-Data-Respan-Params": text}), to)
    except RequestRejected as error:
        refused = error.param
    else:
        refused = None
        assert found.remove <= members.keys()
        assert not found.remove & found.replace.keys()
        assert isinstance(found.params.metadata, dict)
    assert refused in (None, "disable_log", "customer_credentials", "credential_override", "customer_api_keys")


def test_a_prompt_that_nobody_manages_is_told() -> None:
    endpoint = match("POST", "/api/chat/completions")
    assert endpoint is not None
    found = read({"prompt": {"prompt_id": "p", "variables": {}}}, CIMultiDict(), endpoint)
    assert found.warnings == ["prompt:ignored_there_is_no_prompt_management_yet"] and "prompt" in found.remove
