// Adding many symbols at once, as the reader has them written down.
import { post } from "./api.js";
import { byId, h, set, setText } from "./dom.js";
import { linesOf, verdictsText } from "./symbol-list.js";

/** @param {{ exchange: () => string, onClose: () => void }} options ``exchange``: the one to begin with */
export function bulk({ exchange, onClose }) {
  const dialog = byId("bulk");
  byId("paste").addEventListener("click", () => {
    if (exchange()) byId("bulk-exchange").value = exchange();
    show([]);
    dialog.showModal();
    byId("bulk-lines").focus();
  });
  dialog.addEventListener("close", onClose);
  byId("bulk-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send(event.target.querySelector("[type=submit]"));
  });
}

/** @param {HTMLButtonElement} button */
async function send(button) {
  const text = byId("bulk-lines");
  const lines = linesOf(text.value);
  const select = byId("bulk-exchange");
  if (!lines.length) {
    setText(byId("bulk-said"), "Write at least one symbol, e.g. DOGE.");
    text.focus();
    return;
  }
  button.disabled = true;
  set(button, "aria-busy", "true");
  setText(byId("bulk-said"), `Looking for ${lines.length === 1 ? "it" : "them"} on ${select.selectedOptions[0].text}…`);
  const { ok, data, message } = await post("/api/my/symbols/", { exchange: select.value, lines });
  button.disabled = false;
  set(button, "aria-busy", null);
  show(ok ? data.verdicts : []);
  setText(byId("bulk-said"), ok ? verdictsText(data.verdicts) : message);
  // What went well is done; the rest stays to be corrected.
  if (ok) text.value = data.verdicts.flatMap((verdict) => (verdict.ok ? [] : [verdict.text])).join("\n");
}

/** What has to be corrected comes first. @param {{ ok: boolean, text: string, message: string }[]} verdicts */
function show(verdicts) {
  setText(byId("bulk-said"), "");
  byId("verdicts").replaceChildren(
    ...[...verdicts]
      .sort((a, b) => a.ok - b.ok)
      .map(({ ok, text, message }) => h("li", { "data-kind": ok ? "done" : "refused" }, h("strong", {}, `${ok ? "✓" : "✗"} ${text}`), " ", message)),
  );
}
