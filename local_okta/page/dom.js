// Creates elements. What comes from outside is always added as text, never as markup.

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

// A mark whose shape says the same as its colour.
export function mark(good) {
  const [text, name] = good ? ["✓", "good"] : ["✕", "bad"];
  return element("span", { class: `mark ${name}`, "aria-hidden": "true" }, text);
}
