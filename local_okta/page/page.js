// The controls of the page, and the server's answers to them.

import { readActivity } from "./activity.js";
import { byId, element, mark } from "./dom.js";
import { clear, show, showSecrets, showSteps } from "./result.js";
import { ask } from "./server.js";

const FIELDS = ["authentication", "service", "path", "request"];
const narrow = matchMedia("(max-width: 699px)");

let state;
let busy = false;
// What the user has chosen; null while authentication follows the hook.
let chosen = null;

const sampleOf = (name) => state.samples.find((sample) => sample.name === name);
const pickedSample = () => sampleOf(byId("hook").value);

function showErrors(errors = {}, position) {
  for (const name of FIELDS) {
    byId(`${name}-error`).textContent = errors[name] ?? "";
    byId(name).toggleAttribute("aria-invalid", false);
    if (errors[name]) byId(name).setAttribute("aria-invalid", "true");
  }
  if (position != null) putCursor(position);
}

// The server counts characters, the browser UTF-16 units.
function putCursor(position) {
  const box = byId("request");
  const before = [...box.value].slice(0, position).join("");
  const lines = before.split("\n").length;
  box.focus();
  box.setSelectionRange(before.length, before.length + 1);
  box.scrollTop = (lines - 3) * parseFloat(getComputedStyle(box).lineHeight);
}

// One at a time, so that the result belongs to what the fields say.
async function oneAtATime(work) {
  if (busy) return;
  busy = true;
  document.body.classList.add("busy");
  try {
    await work();
  } catch (error) {
    console.error(error);
    clear("Nothing came back.");
    notRunning();
  } finally {
    busy = false;
    document.body.classList.remove("busy");
    readActivity();
  }
}

function pickHook() {
  const sample = pickedSample();
  byId("request").value = JSON.stringify(sample.payload, null, 2);
  byId("request").scrollTop = 0;
  byId("path").value = sample.path;
  byId("about").textContent = sample.about;
  byId("authentication").value = fitting(sample);
  showErrors();
  showTable(false);
  clear("Press Send.");
}

// As in `flask okta preview`: what the user chose, or what the service asks for. Event hooks get
// Basic, since Okta can send them with nothing else.
function fitting(sample) {
  if (sample.kind === "event") return ["None", "Wrong password"].includes(chosen) ? chosen : "Basic";
  return chosen ?? state.default;
}

// Choosing what the hook would get anyway means following the hooks again.
function chooseAuthentication() {
  chosen = null;
  const { value } = byId("authentication");
  if (value !== fitting(pickedSample())) chosen = value;
  showErrors();
}

async function send() {
  byId("activity-note").textContent = "";
  showTable(false);
  clear("Sending …");
  const [service, path, hook, authentication, request] = ["service", "path", "hook", "authentication", "request"].map(
    (name) => byId(name).value,
  );
  const result = await ask("send", { service, path, hook, authentication, request });
  showErrors(result.errors, result.position);
  if (result.verdict) {
    byId("service").value = result.service;
    byId("path").value = result.path;
    show(result);
  } else {
    clear("Nothing was sent.");
  }
}

async function sendAll() {
  showErrors();
  showTable(true);
  const accepted = [];
  for (const sample of state.samples) {
    byId("summary").textContent = `Sending ${accepted.length + 1} of ${state.samples.length} …`;
    const { name: hook, path } = sample;
    const service = byId("service").value;
    const authentication = fitting(sample);
    const request = JSON.stringify(sample.payload);
    const result = await ask("send", { service, path, hook, authentication, request });
    if (byId("all").hidden) return;
    if (!result.verdict) {
      showErrors(result.errors);
      break;
    }
    const status = result.response?.status ?? "–";
    addRow({ name: hook, authentication, status, ...result, ...result.verdict }, () => showOf(sample, result));
    accepted.push(result.verdict.accepted);
    if (result.errors.service) {
      showErrors(result.errors);
      break;
    }
  }
  const good = accepted.filter(Boolean).length;
  byId("summary").textContent = `Okta can use ${good} of ${accepted.length} answers.`;
}

function showOf(sample, result) {
  byId("hook").value = sample.name;
  pickHook();
  show(result);
  byId("verdict").focus();
}

async function verify() {
  showErrors();
  showTable(true);
  const { rows, errors } = await ask("verify", { service: byId("service").value });
  showErrors(errors);
  for (const row of rows ?? []) addRow(row);
}

function showTable(visible) {
  byId("all").hidden = !visible;
  document.body.classList.toggle("table", visible);
  byId("rows").replaceChildren();
  byId("summary").textContent = "";
}

// The roles are for the narrow page, where the style turns the table into a list.
function addRow({ name, authentication, status, milliseconds, accepted, sentence }, open) {
  const label = open ? element("button", { type: "button", class: "link" }, name) : name;
  if (open) label.addEventListener("click", open);
  byId("rows").append(
    element(
      "tr",
      { role: "row" },
      element("th", { scope: "row", role: "rowheader" }, label),
      element("td", { role: "cell" }, authentication),
      element("td", { role: "cell" }, String(status)),
      element("td", { role: "cell", class: "number" }, milliseconds.toLocaleString("en")),
      element("td", { role: "cell", class: accepted ? "good" : "bad" }, mark(accepted), element("span", {}, sentence)),
    ),
  );
}

async function rotate() {
  await ask("rotate-keys", {});
  const withToken = !["Basic", "None", "Wrong password"].includes(byId("authentication").value);
  if (withToken) await send();
  byId("activity-note").textContent = withToken
    ? "The issuer signs with a new key, and the request was sent again: the service fetches the key set once."
    : "The issuer signs with a new key. Choose Client secret and press Send: the service fetches the key set once.";
}

async function setIssuer() {
  await ask("issuer", { mode: byId("issuer").value }).catch(notRunning);
  readActivity();
}

function notRunning() {
  showErrors({ service: "The local Okta does not answer. Start it: flask okta serve" });
}

function showBanner(text) {
  byId("banner").hidden = false;
  byId("banner").textContent = text;
}

function options(select, values) {
  select.replaceChildren(...values.map((value) => element("option", { value }, value)));
}

function fitHookList() {
  // On a narrow screen, a list of all the samples would fill it.
  byId("hook").size = narrow.matches ? 1 : state.samples.length;
}

async function start() {
  state = await ask("state");
  options(byId("hook"), state.samples.map(({ name }) => name));
  options(byId("authentication"), state.authentications);
  options(byId("issuer"), state.issuer_modes);
  byId("issuer").value = state.issuer;
  byId("service").value = state.service;
  byId("hook").selectedIndex = 0;
  if (state.settings_error) {
    showBanner(`${state.settings_error}\nThen start flask okta serve again.`);
  }
  fitHookList();
  pickHook();

  narrow.addEventListener("change", fitHookList);
  byId("hook").addEventListener("change", pickHook);
  byId("authentication").addEventListener("change", chooseAuthentication);
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    oneAtATime(send);
  });
  byId("request").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) oneAtATime(send);
  });
  byId("send-all").addEventListener("click", () => oneAtATime(sendAll));
  byId("verify").addEventListener("click", () => oneAtATime(verify));
  byId("rotate").addEventListener("click", () => oneAtATime(rotate));
  byId("issuer").addEventListener("change", setIssuer);
  byId("close-all").addEventListener("click", () => showTable(false));
  byId("secrets").addEventListener("click", ({ target }) => {
    const asked = target.getAttribute("aria-pressed") !== "true";
    target.setAttribute("aria-pressed", asked);
    target.textContent = asked ? "Hide secrets" : "Show secrets";
    showSecrets(asked);
  });
  new ResizeObserver(showSteps).observe(byId("steps"));
  // Not earlier: what was typed or picked before this would be lost.
  for (const control of document.querySelectorAll("[disabled]")) control.disabled = false;
  await readActivity();
  setInterval(readActivity, 1000);
}

start().catch((error) => {
  console.error(error);
  showBanner(error.message);
});
