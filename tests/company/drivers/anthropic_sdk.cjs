// What an app does with npm's `@anthropic-ai/sdk`: the twin of anthropic_sdk.py.

const { KEY, play } = require("./playing.cjs");
const { Anthropic } = require("@anthropic-ai/sdk");

const HELLO = [{ role: "user", content: "Say hello" }];
const SCHEMA = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const TOOLS = [{ name: "get_weather", input_schema: SCHEMA }];

// Its own models must be asked to think.
const THINKING = { max_tokens: 2048, thinking: { type: "enabled", budget_tokens: 1024 } };

const read = (answer, said) => {
  const of = (type) => answer.content.filter((block) => block.type === type);
  said.text = of("text").map((block) => block.text).join("");
  said.thought = of("thinking").map((block) => block.thinking).join("");
  said.calls = of("tool_use").map((block) => [block.name, block.input]);
  said.finish = answer.stop_reason;
  said.usage = [answer.usage.input_tokens, answer.usage.output_tokens];
  said.all = answer;
};

const message = (more) => async (client, model, said) => {
  read(await client.messages.create({ model, max_tokens: 64, messages: HELLO, ...more }), said);
};

const messageStreamed = (more) => async (client, model, said) => {
  said.text = "";
  const stream = client.messages.stream({ model, max_tokens: 64, messages: HELLO, ...more });
  for await (const event of stream) {
    if (event.type === "content_block_delta" && event.delta.type === "text_delta") said.text += event.delta.text;
  }
  const pieces = said.text;
  read(await stream.finalMessage(), said);
  said.same = said.text === pieces;
};

play((baseURL) => new Anthropic({ baseURL, apiKey: KEY, maxRetries: 0, timeout: 30_000 }), {
  message: message({}),
  message_streamed: messageStreamed({}),
  message_tools: message({ tools: TOOLS }),
  message_tools_streamed: messageStreamed({ tools: TOOLS }),
  message_accumulated: messageStreamed(THINKING),
  message_tools_accumulated: messageStreamed({ tools: TOOLS, ...THINKING }),
  count: async (client, model, said) => {
    said.tokens = (await client.messages.countTokens({ model, messages: HELLO })).input_tokens;
  },
  models: async (client, model, said) => {
    said.ids = [];
    for await (const each of client.models.list()) said.ids.push(each.id);
  },
  leave: async (client, model, said) => {
    for await (const event of await client.messages.create({ model, max_tokens: 64, messages: HELLO, stream: true })) {
      said.first = event.type;
      break;
    }
  },
});
