// Works the dashboard as a person would, in a headless Chromium spoken to by the
// DevTools protocol: pauses, resumes and cancels the only job there is, and reads
// its charts.
//
//   node --experimental-websocket page.mjs <chromium> <address> <folder> [picture.png]
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";

const [program, address, folder, picture] = process.argv.slice(2);
const browser = spawn(program, ["--headless", "--no-sandbox", "--disable-background-networking", "--disable-component-update",
  "--no-first-run", "--lang=en-US", "--accept-lang=en-US", "--window-size=1200,1400", `--user-data-dir=${folder}`, "--remote-debugging-port=0", "about:blank"],
  { stdio: ["ignore", "ignore", "pipe"] });
setTimeout(() => fail("it took too long"), 90_000).unref();

function fail(why) {
  console.log("failed:", why);
  browser.kill("SIGKILL");
  process.exit(1);
}

const port = await new Promise((found) => {
  let text = "";
  browser.stderr.on("data", (b) => {
    text += b;
    const m = text.match(/ws:\/\/127\.0\.0\.1:(\d+)\//);
    if (m) found(m[1]);
  });
  browser.on("exit", () => fail(text));
});
const [tab] = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()).filter((x) => x.type === "page");
const socket = new WebSocket(tab.webSocketDebuggerUrl);
await new Promise((open) => { socket.onopen = open; });
const waiting = new Map();
let number = 0;
socket.onmessage = ({ data }) => {
  const m = JSON.parse(data);
  if (m.method === "Runtime.exceptionThrown") fail(JSON.stringify(m.params.exceptionDetails));
  waiting.get(m.id)?.(m.result);
};
const ask = (method, params = {}) => new Promise((answer) => {
  waiting.set(++number, answer);
  socket.send(JSON.stringify({ id: number, method, params }));
});
const evaluate = async (expression) => (await ask("Runtime.evaluate", { expression, returnByValue: true })).result.value;

// row is the row of the job as it is seen.
const row = () => evaluate(`(() => {
  const r = document.querySelector("#jobs tr");
  return r && { text: r.innerText.replace(/\\s+/g, " "), status: r.children[1]?.innerText, buttons: [...r.querySelectorAll("button")].map((b) => b.innerText) };
})()`);

async function until(status, ...buttons) {
  let r;
  for (let i = 0; i < 400; i++) {
    r = await row();
    if (r?.status === status && buttons.every((b) => r.buttons.includes(b))) {
      console.log("ok", r.text);
      return;
    }
    await new Promise((done) => setTimeout(done, 50));
  }
  fail(`the job should be ${status}, with ${buttons}, and is ${JSON.stringify(r)}; notice: ${await evaluate(`document.getElementById("notice").innerText`)}`);
}

const press = (name) => evaluate(`[...document.querySelectorAll("#jobs button")].find((b) => b.innerText === ${JSON.stringify(name)}).click()`);

await ask("Runtime.enable");
await ask("Page.enable");
await ask("Page.navigate", { url: address });
await until("running", "Curve", "Pause", "Cancel");
await press("Pause");
await until("paused", "Curve", "Resume", "Cancel");
// Nobody points at the charts: their legends tell the latest numbers.
for (const [place, want] of [["loss", /^Step:?\s*\d+\s*In training:?\s*[\d.]+/], ["right", /^Step:?\s*\d+\s*In training:?\s*[\d.]+\s?%/]]) {
  const legend = await evaluate(`document.querySelector("#${place} .u-legend")?.innerText.trim()`);
  if (!want.test(legend)) fail(`the legend of ${place} is ${JSON.stringify(legend)}`);
  console.log("ok", legend.replace(/\s+/g, " "));
}
// On a telephone nothing runs out of its section.
await ask("Emulation.setDeviceMetricsOverride", { width: 390, height: 844, deviceScaleFactor: 1, mobile: false });
let wide;
for (let i = 0; i < 40; i++) {
  wide = await evaluate(`[...document.querySelectorAll("html, section")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.tagName + " " + (e.getAttribute("aria-labelledby") ?? ""))`);
  if (wide.length === 0) break;
  await new Promise((done) => setTimeout(done, 50));
}
if (wide.length) fail(`wider than a telephone: ${wide}`);
await ask("Emulation.clearDeviceMetricsOverride");
if (picture) writeFileSync(picture, Buffer.from((await ask("Page.captureScreenshot")).data, "base64"));
await ask("Page.reload"); // who comes now sees the same
await until("paused", "Resume");
await press("Resume");
await until("running", "Pause");
await press("Pause");
await until("paused", "Resume");
await press("Cancel");
await until("cancelled", "Curve", "Delete");
console.log("all well");
browser.removeAllListeners("exit");
browser.kill();
process.exit(0);
