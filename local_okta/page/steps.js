// The steps of a request as a picture. For a screen reader, it is a list of sentences.

import { svg } from "./dom.js";

const COLUMNS = ["Okta", "Token endpoint", "Guard", "Hook"];
const HEAD = 28;
const ROW = 34;

export function picture(steps, width) {
  const x = (column) => Math.round((width * (2 * column + 1)) / 8);
  const height = HEAD + steps.length * ROW + 8;
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "list" },
    svg("g", { "aria-hidden": "true" }, ...COLUMNS.flatMap((name, column) => head(name, x(column), height))),
    ...steps.map((step, index) => row(step, x, HEAD + index * ROW, width)),
  );
}

function head(name, x, height) {
  return [
    svg("line", { class: "lifeline", x1: x, x2: x, y1: 22, y2: height }),
    svg("text", { class: "column", x, y: 14 }, name),
  ];
}

function row(step, x, top, width) {
  const from = x(step.from);
  const to = x(step.to);
  const y = top + 22;
  const time = step.milliseconds === null ? "" : `${step.milliseconds.toLocaleString("en")} ms`;
  const parts = from === to ? [note(step.label, from, y)] : arrow(step, from, to, y, time, width);
  return svg(
    "g",
    { role: "listitem", class: step.outcome },
    svg("title", {}, step.text),
    ...parts,
  );
}

function note(label, x, y) {
  return svg("text", { class: "note", x: Math.max(x - 40, 4), y, "aria-hidden": "true" }, `• ${label}`);
}

function arrow(step, from, to, y, time, width) {
  const direction = Math.sign(to - from);
  const stopped = step.outcome !== "good";
  const middle = (from + to) / 2;
  return [
    svg("line", { class: "arrow", x1: from + (stopped ? direction * 11 : 0), x2: to - direction * 7, y1: y, y2: y }),
    svg("path", { class: "tip", d: `M${to} ${y}l${-direction * 8} -4v8z` }),
    svg("text", { class: "label", x: middle, y: y - 5, "aria-hidden": "true" }, step.label),
    svg("text", { class: "time", x: middle, y: y + 12, "aria-hidden": "true" }, time),
    ...(stopped ? stop(step.outcome, from, y) : []),
  ];
}

function stop(outcome, x, y) {
  return [
    svg("circle", { class: "stop", cx: x, cy: y, r: 9 }),
    svg("text", { class: "stop-mark", x, y: y + 4, "aria-hidden": "true" }, outcome === "silent" ? "…" : "✕"),
  ];
}
