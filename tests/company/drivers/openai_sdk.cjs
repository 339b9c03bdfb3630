// What an app does with npm's `openai`: the twin of openai_sdk.py.

const { KEY, play } = require("./playing.cjs");
const { OpenAI } = require("openai");

const HELLO = [{ role: "user", content: "Say hello" }];
const SCHEMA = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const FUNCTION = { name: "get_weather", parameters: SCHEMA };
const CHAT_TOOLS = [{ type: "function", function: FUNCTION }];
const RESPONSE_TOOLS = [{ type: "function", strict: true, ...FUNCTION }];

const chat = (more) => async (client, model, said) => {
  const completion = await client.chat.completions.create({ model, messages: HELLO, ...more });
  const { message, finish_reason } = completion.choices[0];
  Object.assign(said, { text: message.content ?? "", finish: finish_reason, all: completion });
  said.calls = (message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
  said.usage = [completion.usage.prompt_tokens, completion.usage.completion_tokens];
};

const chatStreamed = (more) => async (client, model, said) => {
  Object.assign(said, { text: "", calls: [], all: [] });
  const texts = [];
  const asked = { model, messages: HELLO, stream: true, stream_options: { include_usage: true }, ...more };
  for await (const chunk of await client.chat.completions.create(asked)) {
    said.all.push(chunk);
    if (chunk.usage) said.usage = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens];
    for (const { delta, finish_reason } of chunk.choices) {
      said.text += delta.content ?? "";
      said.finish = finish_reason;
      for (const call of delta.tool_calls ?? []) {
        if (call.function.name) texts[said.calls.push([call.function.name]) - 1] = "";
        texts[call.index] += call.function.arguments ?? "";
      }
    }
  }
  texts.forEach((text, at) => said.calls[at].push(JSON.parse(text)));
};

const read = (answer, said) => {
  const parts = answer.output.filter((item) => item.type === "message").flatMap((item) => item.content);
  said.text = parts.map((part) => part.text).join("");
  said.finish = answer.status;
  said.calls = answer.output.filter((item) => item.type === "function_call").map((item) => [item.name, JSON.parse(item.arguments)]);
  if (answer.usage) said.usage = [answer.usage.input_tokens, answer.usage.output_tokens];
};

const response = (more) => async (client, model, said) => {
  said.all = await client.responses.create({ model, input: "Say hello", ...more });
  read(said.all, said);
};

const responseStreamed = (more) => async (client, model, said) => {
  Object.assign(said, { text: "", all: [] });
  for await (const event of await client.responses.create({ model, input: "Say hello", stream: true, ...more })) {
    said.all.push(event);
    if (event.type === "response.output_text.delta") said.text += event.delta;
    if (["response.completed", "response.failed", "response.incomplete"].includes(event.type)) {
      const pieces = said.text;
      read(event.response, said);
      said.same = said.text === pieces;
    }
  }
};

// The SDK's own helper adds up the pieces, those of members it has no type for as well.
const chatAccumulated = (more) => async (client, model, said) => {
  const asked = { model, messages: HELLO, stream: true, stream_options: { include_usage: true }, ...more };
  const completion = await client.chat.completions.stream(asked).finalChatCompletion();
  const { message, finish_reason } = completion.choices[0];
  Object.assign(said, { text: message.content ?? "", finish: finish_reason, thought: message.reasoning_content });
  said.calls = (message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
  said.usage = [completion.usage.prompt_tokens, completion.usage.completion_tokens];
};

const responseAccumulated = (more) => async (client, model, said) => {
  const answer = await client.responses.stream({ model, input: "Say hello", reasoning: { effort: "low", summary: "auto" }, ...more }).finalResponse();
  read(answer, said);
  const thoughts = answer.output.filter((item) => item.type === "reasoning").flatMap((item) => item.summary);
  said.thought = thoughts.map((part) => part.text).join("");
};

// It calls the tool and sends what that says back, until there are words.
const toolsRun = async (client, model, said) => {
  said.calls = [];
  const run = (argument) => said.calls.push(["get_weather", argument]) && "sunny";
  const tools = [{ type: "function", function: { ...FUNCTION, function: run, parse: JSON.parse } }];
  const runner = client.chat.completions.runTools({ model, messages: HELLO, stream: true, tools });
  said.text = await runner.finalContent();
};

play((baseURL) => new OpenAI({ baseURL, apiKey: KEY, maxRetries: 0, timeout: 30_000 }), {
  chat: chat({}),
  chat_streamed: chatStreamed({}),
  chat_tools: chat({ tools: CHAT_TOOLS }),
  chat_tools_streamed: chatStreamed({ tools: CHAT_TOOLS }),
  response: response({}),
  response_streamed: responseStreamed({}),
  response_tools: response({ tools: RESPONSE_TOOLS }),
  response_tools_streamed: responseStreamed({ tools: RESPONSE_TOOLS }),
  chat_accumulated: chatAccumulated({}),
  chat_tools_accumulated: chatAccumulated({ tools: CHAT_TOOLS }),
  response_accumulated: responseAccumulated({}),
  response_tools_accumulated: responseAccumulated({ tools: RESPONSE_TOOLS }),
  tools_run: toolsRun,
  embeddings: async (client, model, said) => {
    const result = await client.embeddings.create({ model, input: ["a"] });
    said.vector = result.data[0].embedding.map((number) => Math.round(number * 1e6) / 1e6);
  },
  models: async (client, model, said) => {
    said.ids = [];
    for await (const each of client.models.list()) said.ids.push(each.id);
  },
  leave: async (client, model, said) => {
    for await (const chunk of await client.chat.completions.create({ model, messages: HELLO, stream: true })) {
      said.first = chunk.object;
      break;
    }
  },
});
