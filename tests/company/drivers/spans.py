"""The same workflow as spans.cjs, exported with the stock Python exporter, which its environment variables tell where and how."""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("an-app")

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1-nano",
    "gen_ai.response.model": "gpt-4.1-nano-2025-04-14",
    "gen_ai.usage.input_tokens": 20,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "Hi ☃"}]}]',
    "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "text", "content": "Héllo"}], "finish_reason": "stop"}]',
    "gen_ai.conversation.id": "conv_1",
}

with tracer.start_as_current_span("pipeline", attributes={"traceloop.span.kind": "workflow", "traceloop.entity.name": "pipeline"}):
    try:
        with tracer.start_as_current_span("lookup", attributes={"traceloop.span.kind": "tool", "traceloop.entity.name": "lookup"}):
            raise LookupError("no such city ☃")
    except LookupError:
        pass
    with tracer.start_as_current_span("chat gpt-4.1-nano", attributes=CALL):
        pass
provider.shutdown()
