// What the symbols page says where it has no rows: why, and the next step.
import { h } from "./dom.js";

/**
 * @typedef {object} Known
 * @property {import("./symbol-list.js").View} view
 * @property {Map<string, { name: string, simulated: boolean }>} exchanges
 * @property {Map<string, number>} listings when each exchange last told its symbols
 * @property {boolean} mayAdd
 * @property {boolean} mayControl
 * @property {string} adminUrl "" where the reader has no admin
 */

/**
 * @param {Known} known
 * @param {{ clear: () => void, showAll: () => void, ask: (exchange: string, button: HTMLButtonElement) => void, refresh: (button: HTMLButtonElement) => void }} steps
 * @returns {Node[]}
 */
export function emptyText(known, steps) {
  const { view, exchanges, listings } = known;
  if (!exchanges.size) return [noExchange(known)];
  if (view.exchange && !listings.has(view.exchange)) return notListed(known, steps);
  if (!listings.size) return [h("p", {}, "No exchange has told its symbols yet: one does when it is started. ", dashboard("Start one on the dashboard"), ".")];
  if (view.show === "mine" && !view.query && !view.exchange && !view.volume) return nothingMine(known, steps);
  if (view.query) return nothingFound(known, steps);
  return [h("p", {}, "No symbol passes the filter."), button("Clear the filter", steps.clear)];
}

function button(label, onClick) {
  const element = h("button", { class: "button", type: "button" }, label);
  element.addEventListener("click", () => onClick(element));
  return element;
}

const dashboard = (label) => h("a", { href: "/?show=exchanges" }, label);

function noExchange({ adminUrl }) {
  const how = adminUrl ? h("a", { href: adminUrl }, "Add one in the admin") : "Ask an administrator to add one";
  return h("p", {}, "There is no exchange yet. ", how, ".");
}

function notListed({ view, exchanges, mayControl }, { refresh }) {
  const name = exchanges.get(view.exchange)?.name ?? view.exchange;
  const start = h("p", {}, `${name} has not told its symbols yet: it does when it is started. `, dashboard("Start it on the dashboard"), mayControl ? ", or ask for its list alone." : ".");
  return mayControl ? [start, button("Get the list", refresh)] : [start];
}

function nothingMine({ mayAdd }, { showAll }) {
  const keys = h("a", { href: "/settings/#exchanges-title" }, "store a read-only key in the settings");
  const text = mayAdd
    ? h("p", {}, "You have added nothing, and nothing you hold is known. Find a symbol and press Add, or ", keys, ": what you hold then comes by itself.")
    : h("p", {}, "Nothing is yours here: adding symbols needs the role trader. An administrator gives it.");
  return [text, button("Show all symbols", showAll)];
}

/** The exchange may list what we do not know yet. */
function nothingFound({ view, exchanges, mayAdd }, { ask, clear }) {
  const filtered = view.exchange || view.volume || view.show;
  const found = h("p", {}, `Nothing known matches “${view.query}”${filtered ? " here" : ""}.`);
  const ids = view.exchange ? [view.exchange] : [...exchanges.keys()];
  const asks = mayAdd ? ids.map((id) => button(`Ask ${exchanges.get(id)?.name ?? id}`, (element) => ask(id, element))) : [];
  const hint = mayAdd ? h("p", { class: "muted" }, "An exchange may list what is not known here yet. What it lists is added for you.") : null;
  return [found, hint, h("div", { class: "steps" }, ...asks, button(filtered ? "Clear the filter" : "Clear the search", clear))].filter(Boolean);
}
