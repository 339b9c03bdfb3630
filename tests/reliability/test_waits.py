"""How long the proxy waits between two tries: what the latest answer says, within one wait's cap and the budget of all."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest
from multidict import CIMultiDict

from respan_proxy.config import Provider, Retry
from respan_proxy.dialects import DIALECTS
from respan_proxy.errors import ProxyError, UpstreamUnavailable
from respan_proxy.exchange import Exchange, Reply, Request, Target
from respan_proxy.handlers.retry import retry
from respan_proxy.respan.endpoints import match

NOW = 1_767_225_600.0


async def waits(plan: Retry, *outcomes: Reply | ProxyError) -> tuple[list[float], Reply | ProxyError, int]:
    """(the waits, what came of it, how many tries) when these are the outcomes of the tries in turn."""
    endpoint = match("POST", "/api/chat/completions")
    assert endpoint is not None
    request = Request("POST", "/", "", CIMultiDict(), b"{}", NOW)
    view = Exchange("1", request, endpoint, DIALECTS["openai.chat"], 0.0).toward(Target(Provider("p"), DIALECTS["openai.chat"], "m"), 0.0)
    script, slept = list(outcomes), []

    async def last(exchange: Exchange) -> Reply:
        outcome = script.pop(0)
        if isinstance(outcome, ProxyError):
            raise outcome
        return outcome

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    result: Any
    try:
        result = await retry(plan, lambda: 0.0, sleep, lambda: NOW, lambda: 0.5)(view, last)
    except ProxyError as error:
        result = error
    return slept, result, len(view.attempts)


def told(status: int, **headers: str) -> Reply:
    return Reply(status, CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), b"{}")


async def test_each_wait_is_the_latest_answers() -> None:
    date = formatdate(NOW + 4, usegmt=True)
    slept, result, tries = await waits(
        Retry(), told(429, retry_after="1"), told(429, retry_after_ms="2000"), told(503, retry_after=date), told(200)
    )
    assert (slept, tries) == ([1.0, 2.0, 4.0], 4)
    assert isinstance(result, Reply) and result.status == 200


async def test_without_a_word_waits_double() -> None:
    slept, _, _ = await waits(Retry(retry_after=0.2), *[told(500)] * 3, told(200))
    assert slept == pytest.approx([0.15, 0.3, 0.6])


async def test_a_wait_above_the_cap_is_not_waited() -> None:
    slept, result, tries = await waits(Retry(max_wait_s=8), told(429, retry_after="1"), told(429, retry_after="9"), told(200))
    assert (slept, tries) == ([1.0], 2)
    assert isinstance(result, Reply) and (result.status, result.headers["retry-after"]) == (429, "9")
    assert result.headers["x-should-retry"] == "false"


async def test_all_waits_together_keep_to_the_budget() -> None:
    slept, result, _ = await waits(Retry(num_retries=9, max_wait_s=8, budget_s=20), *[told(503, retry_after="7")] * 9)
    assert slept == [7.0, 7.0]
    assert isinstance(result, Reply) and result.status == 503


async def test_a_connection_error_is_tried_again_and_told_at_the_end() -> None:
    refused = [UpstreamUnavailable("refused", may_have_run=False) for _ in range(4)]
    slept, result, tries = await waits(Retry(), *refused)
    assert (len(slept), tries) == (3, 4)
    assert isinstance(result, UpstreamUnavailable) and result.headers["x-should-retry"] == "false"


async def test_our_own_timeout_after_sending_is_not_tried_again() -> None:
    late = UpstreamUnavailable("no answer", may_have_run=True, status=504, kind="timeout")
    slept, result, tries = await waits(Retry(), late)
    assert (slept, tries, result) == ([], 1, late)
