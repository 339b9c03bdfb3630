// What an app does with the Vercel AI SDK: npm's `ai` with each of its providers that takes a base URL.

const { KEY, PIXEL, play } = require("./playing.cjs");
const { embed, generateText, Output, stepCountIs, streamText, tool } = require("ai");
const { createAnthropic } = require("@ai-sdk/anthropic");
const { createGoogleGenerativeAI } = require("@ai-sdk/google");
const { createOpenAI } = require("@ai-sdk/openai");
const { createOpenAICompatible } = require("@ai-sdk/openai-compatible");
const { z } = require("zod");

const City = z.object({ city: z.string() });
const tools = { get_weather: tool({ description: "The weather in a city.", inputSchema: City, execute: async () => "sunny" }) };
const once = { maxRetries: 0 };

const thinking = {
  openai: { reasoningEffort: "low", reasoningSummary: "auto" },
  anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } },
  google: { thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } },
};

const read = async (result, said) => {
  said.text = await result.text;
  said.finish = await result.finishReason;
  const usage = await result.totalUsage;
  said.usage = [usage.inputTokens, usage.outputTokens];
  said.thought = (await result.steps).map((step) => step.reasoningText ?? "").join("|");
  said.calls = (await result.steps).flatMap((step) => step.toolCalls).map((call) => [call.toolName, call.input]);
};

const text = (more) => async (chat, model, said) => read(await generateText({ model: chat(model), prompt: "Say hello", ...once, ...more }), said);

const textStreamed = (more) => async (chat, model, said) => {
  const failures = [];
  const result = streamText({ model: chat(model), prompt: "Say hello", onError: ({ error }) => failures.push(error), ...once, ...more });
  let pieces = "";
  for await (const piece of result.textStream) pieces += piece;
  if (failures.length) throw failures[0];
  await read(result, said);
  said.same = said.text === pieces;
};

const scenes = (chat, embedding) => ({
  text: text({}),
  text_streamed: textStreamed({}),
  tools: text({ tools, stopWhen: stepCountIs(3) }),
  tools_streamed: textStreamed({ tools, stopWhen: stepCountIs(3) }),
  thinking: textStreamed({ providerOptions: thinking }),
  thinking_tools: textStreamed({ providerOptions: thinking, tools, stopWhen: stepCountIs(3) }),
  structured: async (at, model, said) => {
    said.parsed = (await generateText({ model: at(model), prompt: "Name a city", output: Output.object({ schema: City }), ...once })).output;
  },
  structured_streamed: async (at, model, said) => {
    const result = streamText({ model: at(model), prompt: "Name a city", output: Output.object({ schema: City }), ...once });
    for await (const piece of result.partialOutputStream) said.parsed = piece;
  },
  image: async (at, model, said) => {
    const content = [{ type: "text", text: "What is this?" }, { type: "image", image: PIXEL, mediaType: "image/png" }];
    await read(await generateText({ model: at(model), messages: [{ role: "user", content }], ...once }), said);
  },
});

// The first word of a scene's name is the package that plays it.
const PACKAGES = {
  openai: (base) => createOpenAI({ baseURL: base, apiKey: KEY }),
  chat: (base) => createOpenAI({ baseURL: base, apiKey: KEY }).chat,
  compatible: (base) => createOpenAICompatible({ name: "respan", baseURL: base, apiKey: KEY, includeUsage: true, supportsStructuredOutputs: true }),
  anthropic: (base) => createAnthropic({ baseURL: `${base}/anthropic/v1`, apiKey: KEY }),
  google: (base) => createGoogleGenerativeAI({ baseURL: `${base}/google/gemini/v1beta`, apiKey: KEY }),
};
const EMBEDDING = {
  openai: (base) => PACKAGES.openai(base).textEmbeddingModel,
  compatible: (base) => PACKAGES.compatible(base).textEmbeddingModel,
  google: (base) => PACKAGES.google(base).textEmbeddingModel,
};

const all = {};
for (const [name, connect] of Object.entries(PACKAGES)) {
  for (const [scene, act] of Object.entries(scenes())) all[`${name} ${scene}`] = (base, model, said) => act(connect(base), model, said);
}
for (const [name, connect] of Object.entries(EMBEDDING)) {
  all[`${name} embeddings`] = async (base, model, said) => {
    const { embedding } = await embed({ model: connect(base)(model), value: "a", ...once });
    said.vector = embedding.map((number) => Math.round(number * 1e6) / 1e6);
  };
}

play((base) => base, all);
