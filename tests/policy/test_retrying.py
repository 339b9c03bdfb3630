"""What a failure is, who may be asked again after it, and how long to wait."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from respan_proxy.config import Retry
from respan_proxy.errors import (
    MissingCredentials,
    NoSlot,
    ProxyError,
    RequestRejected,
    UnknownModel,
    Untranslatable,
    UpstreamError,
    UpstreamUnavailable,
)
from respan_proxy.exchange import Reply
from respan_proxy.policy.retrying import RETRY_STATUSES, Failure, failure, patience, retry_after_s, wait_s

NOW = 1_767_225_600.0


def reply(status: int) -> Reply:
    return Reply(status, CIMultiDict(), b"{}")


@pytest.mark.parametrize("status", [200, 201, 204, 302])
def test_an_answer_is_no_failure(status: int) -> None:
    assert failure(reply(status)) is None


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 413, 422, 424, 429, 499, 500, 501, 502, 503, 504, 520, 529])
def test_answers_that_pass_by_themselves_are_asked_again_and_all_are_taken_elsewhere(status: int) -> None:
    found = failure(reply(status))
    assert found is not None
    assert (found.again, found.elsewhere) == (status in {408, 409, 429, 500, 502, 503, 504, 529}, True)
    assert found.ill == (status >= 500 or status in RETRY_STATUSES)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_callers_own_key_stays_with_the_caller(status: int) -> None:
    assert failure(reply(status), callers_key=True) == Failure(status, again=False, elsewhere=False, ill=False)


@pytest.mark.parametrize(
    ("error", "again", "elsewhere", "ill"),
    [
        (UpstreamUnavailable("refused", may_have_run=False), True, True, True),
        (UpstreamUnavailable("reset", may_have_run=True), True, True, True),
        (UpstreamUnavailable("no connection in time", may_have_run=False, status=504, kind="timeout"), True, True, True),
        (UpstreamUnavailable("sent, and no answer in time", may_have_run=True, status=504, kind="timeout"), False, True, True),
        (UpstreamError("odd"), False, True, True),
        (NoSlot("full"), False, True, False),
        (RequestRejected("malformed"), False, False, False),
        (Untranslatable("n"), False, True, False),
        (UnknownModel("x"), False, True, False),
        (MissingCredentials("x"), False, True, False),
    ],
)
def test_errors_of_ours_are_judged_by_whose_fault_they_are(error: ProxyError, again: bool, elsewhere: bool, ill: bool) -> None:
    assert failure(error) == Failure(error.status, again, elsewhere, ill)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"Retry-After": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5),
        ({"retry-after-ms": "soon", "Retry-After": "9"}, 9.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "when it suits"}, None),
        ({"Retry-After": "Mon, 01 Jan 99999999999999999999999 00:00:00 GMT"}, None),
    ],
)
def test_a_provider_says_how_long_in_several_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(CIMultiDict(headers), NOW) == seconds


@given(st.text())
def test_no_header_breaks_it(text: str) -> None:
    said = retry_after_s(CIMultiDict({"Retry-After": text}), NOW)
    assert said is None or 0 <= said < float("inf")


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_without_a_word_of_the_provider_waits_double_within_their_bound(number: int, dice: float) -> None:
    plan = Retry(retry_after=0.2, max_wait_s=8)
    full = min(8, 0.2 * 2.0 ** (number - 1))
    assert full / 2 <= wait_s(number, None, plan, NOW, dice) <= full


def test_what_the_provider_says_is_waited_exactly() -> None:
    assert wait_s(1, CIMultiDict({"Retry-After": "3"}), Retry(), NOW, 0.9) == 3.0


def test_a_requests_own_words_win_one_by_one() -> None:
    default = Retry(enabled=True, num_retries=3, retry_after=0.2)
    assert patience({}, default) is default
    assert patience({"retry_params": {"retry_enabled": False}}, default).enabled is False
    said = patience({"retry_params": {"num_retries": 1, "retry_after": 0.5, "unheard_of": 1}}, default)
    assert (said.enabled, said.num_retries, said.retry_after) == (True, 1, 0.5)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"num_retries": "3"}, "num_retries"),
        ({"num_retries": -1}, "num_retries"),
        ({"retry_after": True}, "retry_after"),
        ({"retry_enabled": 1}, "retry_enabled"),
    ],
)
def test_a_wrong_word_is_refused_by_name(said: dict[str, object], named: str) -> None:
    with pytest.raises(RequestRejected, match=rf"retry_params\.{named}: found .*, expected"):
        patience({"retry_params": said}, Retry())
