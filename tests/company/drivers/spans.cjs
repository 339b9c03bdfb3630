// Exports a small workflow with the stock exporter, told which by the first argument: http (JSON) or proto.
const { NodeTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-node");
const { trace, SpanStatusCode } = require("@opentelemetry/api");
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${process.argv[2]}`);

const exporter = new OTLPTraceExporter({
  url: process.argv[3],
  headers: { Authorization: "Bearer YOUR_RESPAN_API_KEY" },
  compression: process.argv[4],
});
const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
provider.register();
const tracer = trace.getTracer("an-app");

function within(name, attributes, work) {
  return tracer.startActiveSpan(name, { attributes }, (span) => {
    try {
      return work(span);
    } finally {
      span.end();
    }
  });
}

within("pipeline", { "traceloop.span.kind": "workflow", "traceloop.entity.name": "pipeline" }, () => {
  within("lookup", { "traceloop.span.kind": "tool", "traceloop.entity.name": "lookup" }, (span) => {
    span.recordException(new Error("no such city ☃"));
    span.setStatus({ code: SpanStatusCode.ERROR, message: "no such city ☃" });
  });
  within(
    "chat gpt-4.1-nano",
    {
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "openai",
      "gen_ai.request.model": "gpt-4.1-nano",
      "gen_ai.response.model": "gpt-4.1-nano-2025-04-14",
      "gen_ai.usage.input_tokens": 20,
      "gen_ai.usage.output_tokens": 5,
      "gen_ai.input.messages": JSON.stringify([{ role: "user", parts: [{ type: "text", content: "Hi ☃" }] }]),
      "gen_ai.output.messages": JSON.stringify([{ role: "assistant", parts: [{ type: "text", content: "Héllo" }], finish_reason: "stop" }]),
      "gen_ai.conversation.id": "conv_1",
    },
    () => {},
  );
});
provider.shutdown();
