"""respan-api of whichever version is installed: logs, and prints what it made of the answers."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from respan import RespanClient, SpanCreateRequest
from respan.core.api_error import ApiError

task = json.loads(sys.argv[1])
client = RespanClient(base_url=task["base_url"].removesuffix("/api"), authorization="Bearer any")

made = client.spans.create_span(
    model="gpt-4.1-nano",
    input=[{"role": "user", "content": "hi"}],
    output={"role": "assistant", "content": "hello"},
    usage={"prompt_tokens": 10, "completion_tokens": 5},
    generation_time=1.5,
    timestamp=datetime.now(UTC),
    customer_params={"customer_identifier": "u1"},
)
found = client.spans.retrieve_span(made.id)
bulk = client.spans.bulk_create_spans(logs=[SpanCreateRequest(model="m"), SpanCreateRequest(model="m", latency=-1)])
trace = client.traces.create_trace_legacy(
    request=[
        {"trace_unique_id": "t", "span_unique_id": "s", "span_name": "flow", "log_type": "workflow"},
        {"trace_unique_id": "t", "span_unique_id": "c", "span_parent_id": "s", "model": "gpt-4.1-nano"},
    ]
)
try:
    client.spans.create_span(model="m", latency=-1)
    refused = None
except ApiError as error:
    refused = [type(error).__name__, error.status_code]
json.dump(
    [
        {
            "made": [made.status, made.cost, made.latency, made.customer_identifier],
            "found": [found.id == made.id, found.model, found.total_request_tokens],
            "bulk": [bulk.success_count, bulk.error_count, [[error.index, error.error] for error in bulk.errors]],
            "trace": trace.message,
            "refused": refused,
        }
    ],
    sys.stdout,
)
