// Shows the outcome of one request, region by region.

import { byId, element, mark } from "./dom.js";
import { picture } from "./steps.js";

let shown = null;
let secretsShown = false;

export function show(result) {
  shown = result;
  showVerdict(result);
  showSteps();
  showSent(result);
  showResponse(result);
  showToken(result.token);
}

export function clear(text) {
  shown = null;
  for (const id of ["verdict-body", "sent-body", "response-body", "token-body", "picture", "times"]) {
    byId(id).replaceChildren();
  }
  byId("verdict-body").append(element("p", { class: "quiet" }, text));
}

export function showSecrets(asked) {
  secretsShown = asked;
  if (shown) showSent(shown);
}

export function showSteps() {
  if (!shown) return;
  const place = byId("picture");
  place.replaceChildren(picture(shown.steps, Math.max(place.clientWidth, 280)));
}

function showVerdict({ verdict, notes, kind, payload, response }) {
  byId("verdict-body").replaceChildren(
    element(
      "p",
      { class: `sentence ${verdict.accepted ? "good" : "bad"}` },
      mark(verdict.accepted),
      element("span", {}, verdict.sentence),
    ),
    element("p", { class: "quiet" }, verdict.meaning),
    ...(kind === "registration" ? signUpForm(payload, response?.json) : []),
    ...notes.map(note),
  );
}

function note(text) {
  const [sentence, ...lines] = text.split("\n");
  return element("div", { class: "note" }, sentence, lines.length ? element("pre", {}, lines.join("\n")) : null);
}

// Okta's form shows the message of an error at the field that its location names.
function signUpForm(payload, answer) {
  const causes = answer?.error?.errorCauses;
  if (!Array.isArray(causes)) return [];
  return causes
    .filter((cause) => typeof cause?.location === "string")
    .map(({ location, errorSummary }) => {
      const steps = location.split(".");
      const value = steps.reduce((part, step) => part?.[step], payload);
      return element(
        "div",
        { class: "sign-up" },
        element("span", { class: "quiet" }, `In Okta's form, ${steps.at(-1)}`),
        element("span", { class: "entered" }, String(value ?? "")),
        element("span", { class: "bad" }, mark(false), String(errorSummary)),
      );
    });
}

function showSent({ sent, not_sent: notSent }) {
  const parts = notSent ? [element("p", { class: "bad" }, mark(false), notSent)] : [];
  if (sent) {
    const headers = sent.headers.map(([name, value]) => {
      const masked = name === "Authorization" && !secretsShown;
      return [name, masked ? `${value.split(" ", 1)[0]} ••••••••` : value];
    });
    // From the first of two attempts, if the second was not sent.
    parts.push(message(sent.line, lines(headers), `\n${sent.body}`));
  }
  byId("sent-body").replaceChildren(...parts);
}

function showResponse({ response, times }) {
  byId("times").textContent = times;
  byId("response-body").replaceChildren(
    response
      ? message(response.line, response.body && `\n${response.body}\n\n`, lines(response.headers))
      : element("p", { class: "bad" }, mark(false), "No answer"),
  );
}

function message(line, ...parts) {
  return element("pre", {}, element("strong", {}, line), "\n", ...parts.flat());
}

function lines(headers) {
  return headers.flatMap(([name, value]) => [element("span", { class: "name" }, `${name}: `), `${value}\n`]);
}

function showToken(token) {
  byId("token-body").replaceChildren(
    token ? table(token) : element("p", { class: "quiet" }, "This request carries no token."),
  );
  const wrong = byId("token").querySelector(".wrong");
  byId("token").scrollTop = wrong ? wrong.offsetTop - byId("token").offsetTop - 64 : 0;
}

function table({ rows }) {
  const heads = ["", "in the token", "what the service expects"];
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map(tokenRow)),
  );
}

function tokenRow({ name, value, expected, good }) {
  const word = good === null ? "" : good ? "right" : "wrong";
  return element(
    "tr",
    { class: good === false ? "wrong" : "" },
    element("th", { scope: "row" }, name),
    element("td", { class: "value" }, value),
    element(
      "td",
      {},
      good === null ? null : mark(good),
      element("span", { class: "hidden" }, word && `${word}: `),
      expected,
    ),
  );
}
