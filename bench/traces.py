"""One trace of thousands of spans, as a long agent's run leaves it: how long it takes to open over REST."""

from __future__ import annotations

import http.client
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter, time_ns
from typing import Any

from bench.fake_provider import SENTENCE

SPANS = 5000
AT_ONCE = 200
TEXT_CHARS = 1000
PATH = "/api/v2/traces"


@dataclass(frozen=True, slots=True)
class Opening:
    """Milliseconds until the whole answer is there, of which `cpu_ms` of the product's CPU; of the list with that trace in it as well."""

    opened_ms: float
    cpu_ms: float
    megabytes: float
    listed_ms: float


def _spans(trace_id: str) -> list[dict[str, Any]]:
    """A tree of tasks, every third span a call of a model."""
    chance, now = random.Random(SPANS), time_ns()
    ids = [os.urandom(8).hex() for _ in range(SPANS)]
    spans = []
    for number, own in enumerate(ids):
        said = (SENTENCE * 30)[number % 80 :][: TEXT_CHARS // 2]
        texts = {"traceloop.entity.name": f"step-{number}", "traceloop.span.kind": "task", "traceloop.workflow.name": "bench"}
        texts["traceloop.entity.input"] = json.dumps([{"role": "user", "content": f"{number} {said}"}])
        texts["traceloop.entity.output"] = json.dumps({"role": "assistant", "content": f"{number} {said}"})
        attributes = [{"key": key, "value": {"stringValue": text}} for key, text in texts.items()]
        if number % 3 == 2:
            attributes += [{"key": "llm.request.type", "value": {"stringValue": "chat"}}]
            attributes += [{"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4.1-nano"}}]
            attributes += [{"key": f"gen_ai.usage.{what}_tokens", "value": {"intValue": "100"}} for what in ("input", "output")]
        parent = {} if number == 0 else {"parentSpanId": ids[chance.randrange(max(0, number - 40), number)]}
        times = {"startTimeUnixNano": str(now + number * 10**6), "endTimeUnixNano": str(now + number * 10**6 + 10**8)}
        spans.append({"traceId": trace_id, "spanId": own, "name": "task", "kind": 1, **parent, **times, "attributes": attributes})
    return spans


def measure(port: int, cpu_s: Callable[[], float], rounds: int) -> Opening:
    trace_id = os.urandom(16).hex()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(method: str, path: str, body: bytes | None = None) -> bytes:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {said[:500]!r}")
        return said

    spans = _spans(trace_id)
    for first in range(0, SPANS, AT_ONCE):
        whole = {"resourceSpans": [{"scopeSpans": [{"spans": spans[first : first + AT_ONCE]}]}]}
        ask("POST", PATH, json.dumps(whole).encode())
    seen = json.loads(ask("GET", f"/api/traces/{trace_id}/"))
    if (seen["span_count"], len(seen["span_tree"])) != (SPANS, 1):
        raise SystemExit(f"the trace has {seen['span_count']} spans in {len(seen['span_tree'])} trees, expected {SPANS} in one")
    opened, listed, before, size = [], [], cpu_s(), 0
    for _ in range(rounds):
        began = perf_counter()
        size = len(ask("GET", f"/api/traces/{trace_id}/"))
        opened.append(perf_counter() - began)
    spent = (cpu_s() - before) / rounds
    for _ in range(rounds):
        began = perf_counter()
        ask("GET", "/api/traces/list/")
        listed.append(perf_counter() - began)
    connection.close()
    return Opening(median(opened) * 1e3, spent * 1e3, size / 1e6, median(listed) * 1e3)
