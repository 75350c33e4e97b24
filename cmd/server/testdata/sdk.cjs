// Walks OpenAI's API with OpenAI's own client for Node. Arguments: base URL, training file.
const fs = require("fs");
const OpenAI = require("openai");

const [base, training] = process.argv.slice(2);
const c = new OpenAI({ baseURL: base, apiKey: "0123456789abcdef", maxRetries: 0 });
const ask = { model: "tiny", messages: [{ role: "user", content: "hola" }], max_tokens: 8, seed: 1 };

function check(ok, what) {
  if (!ok) throw new Error(what);
  console.log("ok", what);
}

async function fails(kind, status, what, f) {
  try {
    await f();
  } catch (e) {
    if (!(e instanceof kind)) throw e;
    check(e.status === status && e.code && e.requestID.startsWith("req_"), what);
    return e;
  }
  throw new Error(what + ": no error");
}

async function all(pages) {
  const list = [];
  for await (const x of await pages) list.push(x);
  return list;
}

const pause = () => new Promise((r) => setTimeout(r, 20));

async function main() {
  check((await all(c.models.list())).some((m) => m.id === "tiny"), "models");

  const ids = [];
  for (let i = 0; i < 3; i++) {
    const f = await c.files.create({ file: await OpenAI.toFile(fs.createReadStream(training), `node${i}.jsonl`), purpose: "fine-tune" });
    ids.push(f.id);
  }
  check((await all(c.files.list({ limit: 1, order: "asc" }))).map((f) => f.id).slice(-3).join() === ids.join(), "files over 3 pages");
  check((await (await c.files.content(ids[0])).text()) === fs.readFileSync(training, "utf8"), "content");
  check((await c.files.delete(ids[2])).deleted, "delete a file");

  const jobs = c.fineTuning.jobs;
  let job = await jobs.create({
    model: "tiny", training_file: ids[0], validation_file: ids[1], suffix: "node", metadata: { "a b": "c&d" },
    method: { type: "supervised", supervised: { hyperparameters: { n_epochs: 2, batch_size: 4, learning_rate_multiplier: 2, eval_every: 1, lora: { rank: 2 } } } },
  });
  check(job.validation_file === ids[1] && job.hyperparameters.learning_rate_multiplier === 2, "create");
  while (!job.finished_at) {
    await pause();
    job = await jobs.retrieve(job.id);
  }
  check(job.status === "succeeded" && job.fine_tuned_model.startsWith("ft:tiny:afina:node:"), "job");
  const events = await all(jobs.listEvents(job.id, { limit: 2 }));
  check(events.length > 4 && events.some((e) => e.type === "metrics" && e.data.full_valid_loss > 0), "events over 3 pages");
  const points = await all(jobs.checkpoints.list(job.id, { limit: 1 }));
  check(points.length >= 3 && points[0].fine_tuned_model_checkpoint === `${job.fine_tuned_model}:ckpt-step-${points[0].step_number}`, "checkpoints over 3 pages");
  check((await all(jobs.list({ metadata: { "a b": "c&d" } }))).map((j) => j.id).join() === job.id, "jobs by metadata");
  check((await c.models.retrieve(job.fine_tuned_model)).base === "tiny", "model");

  const long = await jobs.create({ model: "tiny", training_file: ids[0], hyperparameters: { n_epochs: 50, batch_size: 1 } });
  await jobs.cancel(long.id);
  while ((await jobs.retrieve(long.id)).status !== "cancelled") await pause();
  await fails(OpenAI.BadRequestError, 400, "cancel what is over", () => jobs.cancel(long.id));

  const r = await c.chat.completions.create({ ...ask, model: job.fine_tuned_model, n: 3, logprobs: true, top_logprobs: 2 });
  check(r.choices.map((x) => x.index).join() === "0,1,2" && r.usage.completion_tokens === 24, "n=3 and usage");
  check(r.choices[2].logprobs.content.length === 8 && r.choices[2].logprobs.content[0].top_logprobs.length === 2, "logprobs");
  const stream = c.chat.completions.stream({ ...ask, model: job.fine_tuned_model, n: 3, stream_options: { include_usage: true } });
  const final = await stream.finalChatCompletion();
  check(final.choices.every((x, i) => x.message.content === r.choices[i].message.content && x.finish_reason === "length"), "stream");
  check(final.usage.completion_tokens === 24, "usage of a stream");
  const text = r.choices[0].message.content;
  const stopped = await c.chat.completions.create({ ...ask, model: job.fine_tuned_model, stop: text[1] });
  check(stopped.choices[0].message.content === text.slice(0, text.indexOf(text[1])) && stopped.choices[0].finish_reason === "stop", "stop");

  const schema = { type: "object", additionalProperties: false, required: ["n"], properties: { n: { type: "integer", minimum: 0, maximum: 99 } } };
  for (let i = 0; i < 100; i++) {
    const x = (await c.chat.completions.create({ ...ask, seed: i, max_tokens: 100, temperature: 1, response_format: { type: "json_schema", json_schema: { name: "n", schema } } })).choices[0];
    const v = JSON.parse(x.message.content);
    if (!(Number.isInteger(v.n) && v.n >= 0 && v.n <= 99 && Object.keys(v).length === 1)) throw new Error("schema: " + x.message.content);
  }
  check(true, "json_schema, 100 of 100");
  const object = await c.chat.completions.create({ ...ask, max_tokens: 400, response_format: { type: "json_object" } });
  check(object.choices[0].finish_reason === "length" || typeof JSON.parse(object.choices[0].message.content) === "object", "json_object");

  const tools = [{ type: "function", function: { name: "sumar", parameters: { type: "object", properties: { a: { type: "boolean" } }, required: ["a"], additionalProperties: false } } }];
  const called = await c.chat.completions.stream({ ...ask, model: "toolful", max_tokens: 200, tools, tool_choice: "required", parallel_tool_calls: false }).finalChatCompletion();
  check(called.choices[0].message.tool_calls[0].function.name === "sumar" && called.choices[0].finish_reason === "tool_calls", "tool call, streamed");

  for (const model of ["toolful", "mistral"]) {
    const asked = { ...ask, model, max_tokens: 400, temperature: 1, tools, tool_choice: "required" };
    const calls = [];
    let parts = 0;
    let reason;
    for await (const chunk of await c.chat.completions.create({ ...asked, stream: true })) {
      const x = chunk.choices[0];
      reason = x.finish_reason ?? reason;
      for (const p of x.delta.tool_calls ?? []) {
        const first = p.index === calls.length;
        if (first) calls.push("");
        if (first !== (p.id !== undefined) || first !== (p.function.name === "sumar") || first !== (p.function.arguments === "") || p.index !== calls.length - 1) throw new Error("piece " + JSON.stringify(p));
        calls[p.index] += p.function.arguments;
        parts++;
      }
    }
    check(reason === "tool_calls" && parts > 5 && calls.every((text) => typeof JSON.parse(text).a === "boolean"), "calls of " + model + " in pieces");
    const seen = { begun: 0, done: 0 };
    const runner = c.chat.completions.stream(asked);
    runner.on("tool_calls.function.arguments.delta", (e) => { if (e.name === "sumar" && e.arguments_delta) seen.begun++; });
    runner.on("tool_calls.function.arguments.done", (e) => { if (e.name === "sumar") seen.done++; });
    const message = (await runner.finalChatCompletion()).choices[0].message;
    check(seen.begun > seen.done && seen.done === calls.length && message.tool_calls.map((x) => x.function.arguments).join() === calls.join(), "the helper sees the same calls");
  }

  const aborted = c.chat.completions.stream({ ...ask, max_tokens: 4000 });
  for await (const _ of aborted) {
    aborted.abort();
    break;
  }
  check(true, "leave a stream");
  const e = await fails(OpenAI.BadRequestError, 400, "parameter", () => c.chat.completions.create({ ...ask, temperature: 3 }));
  check(e.param === "temperature", "the parameter is named");
  await fails(OpenAI.NotFoundError, 404, "no such model", () => c.chat.completions.create({ ...ask, model: "huge" }));
  await fails(OpenAI.AuthenticationError, 401, "key", () => c.withOptions({ apiKey: "wrong" }).models.retrieve("tiny"));
  await fails(OpenAI.NotFoundError, 404, "no such route", () => c.post("/nothing", { body: {} }));
  await fails(OpenAI.BadRequestError, 400, "unknown cursor", () => jobs.list({ after: "ftjob-nothing" }));
  const e3 = await c.embeddings.create({ model: "tiny", input: "hola" });
  check(e3.data[0].embedding.length > 0, "embeddings");
  console.log("all well");
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
