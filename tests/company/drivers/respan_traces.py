"""Respan's own API client reads calls, traces and groups; whatever it cannot parse raises here.

Arguments: where the proxy is, and the id of a trace in it. Output: what it understood, as JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from respan import RespanClient, TraceBulkDeleteFilters, TraceFilterCondition
from respan.core.api_error import ApiError

root, trace_id = sys.argv[1:]
client = RespanClient(base_url=root, authorization="none", respan_api_key="none")
since = datetime(2020, 1, 1, tzinfo=UTC)
filters = {"trace_unique_id": {"operator": "", "value": [trace_id]}}

(listed,) = client.traces.list_traces(start_time=since, filters=filters, sort_by="-total_cost").results
trace = client.traces.retrieve_trace(trace_id)
shared = client.traces.share_trace(trace_id, is_public=True)
public = client.traces.retrieve_public_trace("local", trace_id)
spans = [client.spans.retrieve_span(span["unique_id"]) for span in client.spans.list_spans(start_time=since, filters=filters)]
summary = client.spans.get_spans_summary(start_time=since, filters=filters)
groups = client.spans.request_logs_groups_list(group_by="trace", start_time=since)
by_model = client.spans.request_logs_groups_filter(group_by="model", start_time=since, filters=filters)
condition = TraceFilterCondition(operator="", value=[trace_id])
deleted = client.traces.bulk_delete_traces(start_time=since, filters=TraceBulkDeleteFilters(trace_unique_id=condition))
client.traces.delete_trace(trace_id)
try:
    client.traces.retrieve_trace(trace_id)
    gone = None
except ApiError as error:
    gone = error.status_code

print(  # noqa: T201 - its answer
    json.dumps(
        {
            "name": listed.name,
            "started": isinstance(listed.start_time, datetime) and trace.start_time == listed.start_time,
            "tokens": [listed.total_tokens, trace.total_tokens, public.total_tokens, summary.total_tokens, groups.results[0].total_tokens],
            "cost": [listed.total_cost, summary.total_cost],
            "tree": [[node.span_name, [child["span_name"] for child in node.children or ()]] for node in trace.span_tree or ()],
            "shared": shared.is_public,
            "spans": sorted(span.span_name or "" for span in spans),
            "models": [group.model for group in by_model.results],
            "deleted": deleted.deleted_count,
            "gone": gone,
        }
    )
)
