// What OpenAI's own client for Node makes of a service that is full, fails or stops.
// Arguments: base URL, which of these, a file.
const OpenAI = require("openai");

const [base, act, file] = process.argv.slice(2);
const seen = []; // every answer: status, when, after how many seconds to come back
let makeRoom = false;

const plain = new OpenAI({ baseURL: base, apiKey: "0123456789abcdef", maxRetries: 0 });
const c = plain.withOptions({
  fetch: async (...request) => {
    const r = await fetch(...request);
    seen.push({ status: r.status, at: performance.now(), pause: Number(r.headers.get("retry-after")) });
    if (r.status === 429 && makeRoom) {
      for await (const j of plain.fineTuning.jobs.list()) {
        if (j.status !== "queued") continue;
        await plain.fineTuning.jobs.cancel(j.id);
        break;
      }
    }
    return r;
  },
});
const again = c.withOptions({ maxRetries: 1 });
const ask = { model: "endless", messages: [{ role: "user", content: "hola" }], max_tokens: 4 };
const order = { model: "tiny", training_file: file, hyperparameters: { n_epochs: 50 } };

function check(ok, what) {
  if (!ok) throw new Error(`${act}: ${what}; seen ${JSON.stringify(seen)}`);
  console.log("ok", what);
}

async function fails(kind, status, word, code, what, f) {
  try {
    await f();
  } catch (e) {
    if (!(e instanceof kind)) throw e;
    check(e.status === status && e.type === word && e.code === code && e.requestID.startsWith("req_"), what);
    return e;
  }
  throw new Error(`${act}: ${what}: no error`);
}

// The client's last two answers had these statuses, and it came back no sooner than it was told.
function waited(...statuses) {
  const [first, second] = seen.slice(-2);
  return first.status === statuses[0] && second.status === statuses[1] && first.pause >= 1 && second.at - first.at >= first.pause * 1000;
}

async function main() {
  let e;
  switch (act) {
    case "fails":
      e = await fails(OpenAI.InternalServerError, 500, "internal_error", "internal_error", "500", () => c.files.content(file));
      check(e.message.includes(e.requestID), "what the log has it under");
      break;
    case "jobs":
      e = await fails(OpenAI.RateLimitError, 429, "rate_limit_exceeded", "quota_exceeded", "429", () => c.fineTuning.jobs.create(order));
      check(Number(e.headers.get("retry-after")) >= 1, "when to come back");
      makeRoom = true;
      const job = await again.fineTuning.jobs.create(order);
      check(job.status === "queued" && waited(429, 200), `the client waits, and has its job, which is ${job.status}`);
      break;
    case "answers":
      for (const stream of [false, true]) {
        e = await fails(OpenAI.InternalServerError, 503, "overloaded_error", "overloaded", "503", () => c.chat.completions.create({ ...ask, stream }));
        check(Number(e.headers.get("retry-after")) >= 1, "when to come back");
      }
      await fails(OpenAI.InternalServerError, 503, "overloaded_error", "overloaded", "503, twice", () => again.chat.completions.create(ask));
      check(waited(503, 503), "the client waits, and tries again");
      break;
    case "stops":
      for (const [what, f] of [["chat", () => c.chat.completions.create(ask)], ["models", () => c.models.list()]]) {
        e = await fails(OpenAI.InternalServerError, 503, "overloaded_error", "shutting_down", what, f);
        check(Number(e.headers.get("retry-after")) >= 1, "when to come back");
      }
      break;
  }
  console.log("all well");
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
