// The dashboard: datasets, jobs with their loss curves, and a chat. It knows
// nothing but the HTTP API.

const words = {
  en: {
    tagline: "Your own language model, tuned on your own conversations", changeKey: "Change key",
    datasets: "Datasets", file: "File (JSON or JSONL)", nameOptional: "Name (optional)", upload: "Upload", name: "Name",
    conversations: "Conversations", delete: "Delete", train: "Fine-tune", base: "Base model", dataset: "Dataset",
    adapterName: "Name of the result (optional)", epochs: "Epochs", rank: "LoRA rank", rate: "Learning rate",
    defaults: "Fields left empty take the server's defaults.", start: "Start", jobs: "Jobs", status: "Status",
    progress: "Progress", trainLoss: "Train loss", evalLoss: "Held-out loss", left: "Time left", cancel: "Cancel",
    curve: "Curve", chat: "Chat", model: "Model", newChat: "New conversation", message: "Message", send: "Send", stop: "Stop",
    keyTitle: "API key", keyText: "This server asks for an API key. It is kept until you close this tab.", key: "Key", open: "Open",
    none: "None yet", queued: "queued", paused: "paused", pause: "Pause", resume: "Resume", running: "running", succeeded: "done", failed: "failed", cancelled: "cancelled",
    stepLabel: "Step", step: (a, b) => `step ${a} of ${b}`, sure: (name) => `Delete ${name}?`, lineAt: (p) => `Line ${p.line}: ${p.message} (${p.path})`,
    caption: (name) => `How ${name} learns`, lossTitle: "Loss: how far it is from writing your answers. Lower is better.",
    rightTitle: "Tokens right: how many of the pieces of words in your answers it would have chosen itself. Higher is better.",
    training: "In training", heldOutShort: "Held out",
    heldOut: "Held-out conversations are not learnt from: they show what it makes of new questions. When their curve gets worse while the other gets better, it learns by heart; fewer epochs help.",
    noNetwork: "The server does not answer.", lengthLimit: "… (cut off at the length limit)",
  },
  es: {
    tagline: "Tu propio modelo de lenguaje, afinado con tus conversaciones", changeKey: "Cambiar clave",
    datasets: "Conjuntos de datos", file: "Archivo (JSON o JSONL)", nameOptional: "Nombre (opcional)", upload: "Subir", name: "Nombre",
    conversations: "Conversaciones", delete: "Borrar", train: "Afinar", base: "Modelo base", dataset: "Conjunto de datos",
    adapterName: "Nombre del resultado (opcional)", epochs: "Épocas", rank: "Rango LoRA", rate: "Tasa de aprendizaje",
    defaults: "Los campos vacíos toman los valores del servidor.", start: "Empezar", jobs: "Trabajos", status: "Estado",
    progress: "Progreso", trainLoss: "Pérdida (entren.)", evalLoss: "Pérdida (reserva)", left: "Tiempo restante", cancel: "Cancelar",
    curve: "Curva", chat: "Chat", model: "Modelo", newChat: "Conversación nueva", message: "Mensaje", send: "Enviar", stop: "Parar",
    keyTitle: "Clave de la API", keyText: "Este servidor pide una clave. Se guarda hasta que cierres esta pestaña.", key: "Clave", open: "Entrar",
    none: "Aún no hay", queued: "en cola", paused: "en pausa", pause: "Pausar", resume: "Reanudar", running: "en marcha", succeeded: "terminado", failed: "fallido", cancelled: "cancelado",
    stepLabel: "Paso", step: (a, b) => `paso ${a} de ${b}`, sure: (name) => `¿Borrar ${name}?`, lineAt: (p) => `Línea ${p.line}: ${p.message} (${p.path})`,
    caption: (name) => `Cómo aprende ${name}`, lossTitle: "Pérdida: cuánto le falta para escribir tus respuestas. Cuanto más baja, mejor.",
    rightTitle: "Tokens acertados: cuántos trozos de palabra de tus respuestas habría elegido por sí mismo. Cuantos más, mejor.",
    training: "En el entrenamiento", heldOutShort: "En la reserva",
    heldOut: "De las conversaciones de la reserva no aprende: muestran qué hace con preguntas nuevas. Si su curva empeora mientras la otra mejora, está aprendiendo de memoria; ayudan menos épocas.",
    noNetwork: "El servidor no responde.", lengthLimit: "… (cortado por el límite de longitud)",
  },
};
const language = navigator.language.toLowerCase().startsWith("es") ? "es" : "en";
const t = words[language];
const $ = (id) => document.getElementById(id);

document.documentElement.lang = language;
for (const e of document.querySelectorAll("[data-t]")) e.textContent = t[e.dataset.t];

/* ---- the API ---- */

const keyName = "afina-key";
let asking = null; // the question for the key, while it is open

function askKey() {
  asking ??= new Promise((done) => {
    $("key-dialog").showModal();
    $("key-form").onsubmit = (e) => {
      e.preventDefault();
      sessionStorage.setItem(keyName, new FormData(e.target).get("key"));
      e.target.reset();
      $("key-dialog").close();
      $("change-key").hidden = false;
      asking = null;
      done();
    };
  });
  return asking;
}
$("key-dialog").addEventListener("cancel", (e) => e.preventDefault());

// call sends a request and returns the answer; failures are thrown in the
// server's words. A refused key is asked for again.
async function call(method, path, { json, body, signal } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(keyName);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (json) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(json);
  }
  let r;
  try {
    r = await fetch(path, { method, headers, body, signal });
  } catch (e) {
    throw e.name === "AbortError" ? e : new Error(t.noNetwork);
  }
  if (r.ok) return r;
  if (r.status === 401) {
    await askKey();
    return call(method, path, { json, body, signal });
  }
  const { error } = await r.json();
  throw Object.assign(new Error(error.message), { errors: error.errors });
}

const get = async (path) => (await call("GET", path)).json();

// events yields the server-sent events of an answer.
async function* events(r) {
  const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", name = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") name = "";
      else if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) yield { name, data: line.slice(6) };
    }
  }
}

// tell shows what went wrong, or nothing.
function tell(error) {
  $("notice").hidden = !error;
  $("notice").textContent = error?.message ?? "";
}

// attempt does something a person asked for, and tells when it fails.
async function attempt(what) {
  tell(null);
  try {
    return await what();
  } catch (e) {
    if (e.name !== "AbortError") tell(e);
  }
}

/* ---- making elements ---- */

function el(tag, props = {}, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children.filter((c) => c != null));
  return e;
}
const button = (text, onclick) => el("button", { type: "button", textContent: text, onclick });
const cell = (content, className = "") => el("td", { className }, content);
// named gives a cell the name of its column, which narrow pages show beside it.
const named = (name, c) => (c.dataset.name = name, c);
const percent = (x) => (x == null ? "–" : x.toLocaleString(language, { style: "percent", maximumFractionDigits: 1 }));
const decimal = (x, digits = 4) => (x == null ? "–" : x.toLocaleString(language, { maximumFractionDigits: digits }));

function fill(body, rows, columns) {
  if (rows.length === 0) rows = [el("tr", {}, el("td", { colSpan: columns, textContent: t.none }))];
  body.replaceChildren(...rows);
}

function choose(select, options) {
  const before = select.value;
  select.replaceChildren(...options.map(([value, text]) => el("option", { value, textContent: text })));
  if (options.some(([value]) => value === before)) select.value = before;
}

/* ---- datasets and models ---- */

async function loadDatasets() {
  const { data } = await get("/datasets?limit=100");
  fill($("datasets"), data.map((d) => el("tr", {},
    el("th", { scope: "row", textContent: d.name || d.id }),
    named(t.conversations, cell(decimal(d.conversations), "number")),
    cell(button(t.delete, () => attempt(async () => {
      if (!confirm(t.sure(d.name || d.id))) return;
      await call("DELETE", `/datasets/${d.id}`);
      await loadDatasets();
    }))))), 3);
  choose($("train").elements.dataset, data.map((d) => [d.id, d.name || d.id]));
}

async function loadModels() {
  const { data } = await get("/v1/models");
  const usable = data.filter((m) => !m.problem);
  choose($("train").elements.model, usable.filter((m) => !m.base).map((m) => [m.id, m.id]));
  const tunedFirst = [...usable].sort((a, b) => !a.base - !b.base || b.created - a.created);
  choose($("chat-model"), tunedFirst.map((m) => [m.id, m.base ? `${m.id} (${m.base})` : m.id]));
}

$("upload").onsubmit = (e) => {
  e.preventDefault();
  const form = e.target;
  $("problems").hidden = true;
  attempt(async () => {
    try {
      const body = new FormData(form);
      if (!body.get("name")) body.delete("name");
      const d = await (await call("POST", "/datasets", { body })).json();
      form.reset();
      await loadDatasets();
      $("train").elements.dataset.value = d.id;
    } catch (error) {
      $("problems").hidden = !error.errors;
      $("problems").replaceChildren(...(error.errors ?? []).map((p) => el("li", { textContent: t.lineAt(p) })));
      throw error;
    }
  });
};

/* ---- jobs ---- */

const jobs = new Map(); // by id, newest first
const watched = new Set();
let shown = null; // the job whose curve is drawn
let points = [];

const over = (j) => ["succeeded", "failed", "cancelled"].includes(j.status);
const titleOf = (j) => j.spec.name || j.id;

function duration(seconds) {
  const s = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  return s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

// steer tells the server what to do with a job, and shows what it is then. One
// that runs is told of by its events when it has come to its end or a rest.
const steer = (j, what) => attempt(async () => {
  const now = await (await call("POST", `/jobs/${j.id}/${what}`)).json();
  take(j.id, "state", now);
  watch(j.id);
});

function row(j) {
  const p = j.progress;
  const bar = el("progress", { max: p.steps || 1, value: p.step, title: t.step(p.step, p.steps) });
  bar.setAttribute("aria-label", t.step(p.step, p.steps));
  const end = over(j)
    ? button(t.delete, () => attempt(async () => {
        if (!confirm(t.sure(titleOf(j)))) return;
        await call("DELETE", `/jobs/${j.id}`);
        jobs.delete(j.id);
        if (shown === j.id) show(null);
        drawJobs();
      }))
    : button(t.cancel, () => steer(j, "cancel"));
  const halt = j.status === "paused" ? "resume" : "pause";
  const r = el("tr", {},
    el("th", { scope: "row", textContent: titleOf(j) }),
    named(t.status, cell(j.error ? `${t[j.status]}: ${j.error.message}` : t[j.status])),
    named(t.progress, cell(bar)),
    named(t.trainLoss, cell(p.step ? decimal(p.train_loss) : "–", "number")),
    named(t.evalLoss, cell(decimal(p.eval_loss), "number")),
    named(t.left, cell(j.status === "running" && p.step ? duration(p.eta_seconds) : "–")),
    el("td", {}, button(t.curve, () => show(j.id)), " ",
      over(j) ? null : button(t[halt], () => steer(j, halt)), " ", end));
  r.setAttribute("aria-current", String(shown === j.id));
  return r;
}

let drawing = 0;
function drawJobs() { // at most once per frame: events may come in hundreds
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    const focus = [...$("jobs").querySelectorAll("button")].indexOf(document.activeElement);
    fill($("jobs"), [...jobs.values()].map(row), 7);
    if (focus >= 0) $("jobs").querySelectorAll("button")[focus]?.focus();
    drawChart();
  });
}

async function loadJobs() {
  const { data } = await get("/jobs?limit=50");
  jobs.clear();
  for (const j of data) {
    jobs.set(j.id, j);
    if (!over(j)) watch(j.id);
  }
  if (!jobs.has(shown)) await show(data[0]?.id ?? null);
  drawJobs();
}

// watch follows a job to its end; a broken stream is taken up again. Browsers
// allow six connections, so only the three oldest jobs that are not over are
// watched; the others come with the next look at the list.
async function watch(id) {
  if (watched.has(id) || watched.size >= 3) return;
  watched.add(id);
  try {
    for await (const e of events(await call("GET", `/jobs/${id}/events`))) take(id, e.name, JSON.parse(e.data));
  } catch {
    // The next look at the list begins again.
  }
  watched.delete(id);
  if (!jobs.has(id) || !over(jobs.get(id))) return;
  if (jobs.get(id).status === "succeeded") await attempt(loadModels);
}

function take(id, name, data) {
  if (name === "state") jobs.set(id, data);
  else if (jobs.has(id)) {
    const j = jobs.get(id);
    j.progress = { ...data, eval_loss: data.eval_loss ?? j.progress.eval_loss, eval_accuracy: data.eval_accuracy ?? j.progress.eval_accuracy };
    if (shown === id && (points.at(-1)?.step ?? 0) < data.step) points.push(data);
  }
  drawJobs();
}

async function show(id) {
  shown = id;
  points = [];
  $("curve").hidden = !id;
  if (!id) return;
  $("caption").textContent = t.caption(titleOf(jobs.get(id)));
  await attempt(async () => {
    const { data } = await get(`/jobs/${id}/metrics`);
    if (shown === id) points = data;
  });
  drawJobs();
}

// colour is a colour of the page as the canvas understands it.
const colour = (e, property) => getComputedStyle(e)[property];

const curves = [
  { place: "loss", keys: ["train_loss", "eval_loss"], text: (v) => decimal(v), height: 240 },
  { place: "right", keys: ["train_accuracy", "eval_accuracy"], text: percent, range: [0, 1], height: 180 },
];
const whole = [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4, 5].map((e) => n * 10 ** e)).sort((x, y) => x - y);

function drawChart() {
  if (!shown) return;
  const width = Math.max(240, $("curve").clientWidth);
  for (const c of curves) {
    const data = ["step", ...c.keys].map((key) => points.map((p) => p[key]));
    if (c.chart) {
      c.chart.setSize({ width, height: c.height });
      c.chart.setData(data);
    } else c.chart = newChart(c, width, data);
    if (c.chart.cursor.idx == null) c.chart.setLegend({ idx: null }); // the latest numbers, until somebody points
  }
}

// latest is what series k had at point i, or last before it.
const latest = (u, k, i) => u.data[k].slice(0, i == null ? undefined : i + 1).findLast((v) => v != null);

function newChart(c, width, data) {
  const axis = (more) => ({ stroke: colour($("caption"), "color"), grid: { stroke: colour($("curve").parentElement, "borderTopColor"), width: 1 }, ...more });
  const series = (label, stroke, more) => ({ label, stroke, width: 2, value: (u, _, k, i) => c.text(latest(u, k, i)), ...more });
  return new uPlot({
    width, height: c.height, cursor: { sync: { key: "step" } }, scales: { x: { time: false }, y: { range: c.range } },
    axes: [axis({ incrs: whole }), axis({ size: 60, space: 24, values: (_, all) => all.map((v) => c.text(v)) })],
    series: [
      { label: t.stepLabel, value: (u, _, k, i) => latest(u, k, i) ?? "–" },
      series(t.training, "#3b8eea", { points: { show: false } }),
      series(t.heldOutShort, "#d9822b", { spanGaps: true, points: { show: true, size: 7, fill: "#d9822b" } }),
    ],
  }, data, $(c.place));
}
addEventListener("resize", drawJobs);

$("train").onsubmit = (e) => {
  e.preventDefault();
  const f = Object.fromEntries([...new FormData(e.target)].filter(([, v]) => v !== ""));
  const spec = { model: f.model, dataset: f.dataset };
  if (f.name) spec.name = f.name;
  if (f.epochs) spec.epochs = Number(f.epochs);
  if (f.learning_rate) spec.learning_rate = Number(f.learning_rate);
  if (f.rank) spec.lora = { rank: Number(f.rank) };
  attempt(async () => {
    const j = await (await call("POST", "/jobs", { json: spec })).json();
    e.target.elements.name.value = "";
    await loadJobs();
    await show(j.id);
  });
};

/* ---- chat ---- */

let talk = []; // the messages so far
let speaking = null; // aborts the answer being written

function bubble(role, text = "") {
  const li = el("li", { className: role, textContent: text });
  $("talk").append(li);
  li.scrollIntoView({ block: "nearest" });
  return li;
}

function busy(yes) {
  $("send").disabled = yes;
  $("stop").hidden = !yes;
}

async function answer(li) {
  const mine = talk; // a new conversation may begin meanwhile
  speaking = new AbortController();
  busy(true);
  let text = "";
  try {
    const r = await call("POST", "/v1/chat/completions",
      { json: { model: $("chat-model").value, messages: mine, stream: true }, signal: speaking.signal });
    for await (const { data } of events(r)) {
      if (data === "[DONE]") break;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Error(chunk.error.message);
      const [c] = chunk.choices;
      text += c.delta.content ?? "";
      li.textContent = text + (c.finish_reason === "length" ? t.lengthLimit : "");
    }
  } catch (e) {
    if (e.name !== "AbortError") {
      li.classList.add("failed");
      li.textContent = text ? `${text}\n${e.message}` : e.message;
    }
  }
  if (text) mine.push({ role: "assistant", content: text });
  else mine.pop(); // the question may be asked again
  speaking = null;
  busy(false);
}

$("ask").onsubmit = (e) => {
  e.preventDefault();
  const input = e.target.elements.text;
  if (speaking || !input.value.trim()) return;
  talk.push({ role: "user", content: input.value });
  bubble("user", input.value);
  input.value = "";
  answer(bubble("assistant"));
};
$("ask").elements.text.onkeydown = (e) => {
  if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
    e.preventDefault();
    $("ask").requestSubmit();
  }
};
$("stop").onclick = () => speaking?.abort();
$("forget").onclick = $("chat-model").onchange = () => {
  speaking?.abort();
  talk = [];
  $("talk").replaceChildren();
};

/* ---- begin ---- */

$("change-key").hidden = !sessionStorage.getItem(keyName);
$("change-key").onclick = () => askKey().then(begin);

async function begin() {
  await attempt(() => Promise.all([loadDatasets(), loadModels(), loadJobs()]));
}

await begin();
setInterval(() => {
  if (!document.hidden && !asking) loadJobs().catch(tell);
}, 10_000);
