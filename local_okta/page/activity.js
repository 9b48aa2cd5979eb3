// The list of what happened, newest first.

import { byId, element, mark } from "./dom.js";
import { ask } from "./server.js";

const SHOWN = 100;
let last = 0;

export async function readActivity() {
  if (document.hidden) return;
  let answer;
  try {
    answer = await ask(`activity?after=${last}`);
  } catch {
    return;
  }
  // Another tab or a restart of the local Okta may have changed it.
  if (document.activeElement !== byId("issuer")) byId("issuer").value = answer.issuer;
  showRegistered(answer.registered);
  for (const entry of answer.entries.filter(({ id }) => id > last)) {
    last = entry.id;
    byId("entries").prepend(
      element(
        "li",
        { class: entry.kind },
        element("time", {}, entry.time),
        element("span", { class: "what" }, entry.text),
        element("span", { class: entry.good ? "good" : "bad" }, mark(entry.good), entry.outcome),
      ),
    );
  }
  while (byId("entries").childElementCount > SHOWN) byId("entries").lastElementChild.remove();
}

// What flask okta register has created.
function showRegistered(hooks) {
  byId("registered").hidden = hooks.length === 0;
  byId("hooks-of-the-org").replaceChildren(
    ...hooks.map(({ name, uri, authentication, status }) =>
      element(
        "li",
        { title: uri },
        element("span", { class: "what" }, name),
        element("span", {}, `${authentication}, ${status}`),
      ),
    ),
  );
}
