"""A program traced with OpenTelemetry: a workflow, a tool, a call that the app tells of too, and one that it does not."""

from __future__ import annotations

from openai import OpenAI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

CUSTOMER, THREAD = "customer-7", "thread-7"
QUESTION = "Say 'Hello World'"
MODEL = "gpt-4.1-nano"
NAMES = ("workflow", "tool.look", f"llm.{MODEL}", f"chat {MODEL}")


def run(root: str) -> None:
    """All of it through the proxy at `root`; every span has been sent when this returns."""
    provider = TracerProvider(resource=Resource({"service.name": "phoenix-check"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{root}/v1/traces")))
    tracer = provider.get_tracer("check")
    client = OpenAI(api_key="any", base_url=f"{root}/api")
    said = {"customer_identifier": CUSTOMER, "thread_identifier": THREAD}

    def ask() -> str:
        answer = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": QUESTION}], extra_body=said
        )
        return str(answer.headers["X-Respan-Log-Id"])

    with tracer.start_as_current_span("workflow", attributes={"traceloop.span.kind": "workflow"}):
        with tracer.start_as_current_span("tool.look", attributes={"traceloop.span.kind": "tool", "traceloop.entity.input": "{}"}):
            pass
        with tracer.start_as_current_span(f"llm.{MODEL}", attributes={"llm.request.type": "chat"}) as span:
            span.set_attribute("respan.gateway.log_id", ask())
    ask()
    client.close()
    provider.shutdown()
