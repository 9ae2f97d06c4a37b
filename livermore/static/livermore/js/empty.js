// What an empty part of the page says: why it is empty, and the next step.
import { h } from "./dom.js";

/**
 * @typedef {object} Steps
 * @property {string} adminUrl "" where the reader has no admin
 * @property {boolean} mayControl
 * @property {(exchangeId: string) => void} start
 * @property {() => void} clear
 */

const button = (label, onClick) => {
  const element = h("button", { class: "button", type: "button" }, label);
  element.addEventListener("click", onClick);
  return element;
};

const adminLink = (url, label) => h("a", { href: url }, label);

/** @param {HTMLElement} root @param {import("./state.js").State} state @param {Steps} steps @param {boolean} filtered */
export function paintEmptyMatrix(root, state, steps, filtered) {
  if (filtered && state.rows.size) {
    root.replaceChildren(h("p", {}, "No symbol matches the filter."), button("Clear the filter", steps.clear));
    return;
  }
  if (!state.exchanges.size) {
    const how = steps.adminUrl ? adminLink(steps.adminUrl, "Add one in the admin") : "Ask an administrator to add one";
    root.replaceChildren(h("p", {}, "There is no exchange yet. ", how, "."));
    return;
  }
  root.replaceChildren(...[...state.exchanges.values()].flatMap((card) => nextStep(card, steps)), addAnother(steps));
}

function nextStep(card, { mayControl, start }) {
  if (card.state === "idle") {
    if (!mayControl) return [h("p", {}, `${card.name} is idle. Ask somebody who may control exchanges to start it.`)];
    return [
      h(
        "p",
        {},
        `${card.name} is idle.`,
        button("Start it", () => start(card.exchange_id)),
      ),
    ];
  }
  if (card.state === "warming") return [h("p", {}, `${card.name} is warming up: its symbols appear as their history arrives.`)];
  if (card.state === "offline")
    return [h("p", {}, `${card.name} is offline: ${card.error || "no process hosts it"}. Its card says what to do.`)];
  return [h("p", {}, `${card.name} is ${card.state} and has no symbols yet.`)];
}

function addAnother({ adminUrl }) {
  return adminUrl ? h("p", { class: "muted" }, "Or ", adminLink(adminUrl, "add an exchange in the admin"), ".") : h("p");
}

/** @param {HTMLElement} root @param {import("./state.js").State} state @param {Steps} steps @param {boolean} filtered */
export function paintEmptyFeed(root, state, steps, filtered) {
  if (filtered && state.alerts.length) {
    root.replaceChildren(h("p", {}, "No alert passes the filter."), button("Clear the filter", steps.clear));
    return;
  }
  const running = [...state.exchanges.values()].some((card) => card.state !== "idle" && card.state !== "offline");
  const text = running
    ? "No alerts yet. One appears the moment a candle closes across ±150 or beyond, or turns back from there."
    : "No alerts yet, and no exchange is running. Start one to watch its candles.";
  root.replaceChildren(h("p", {}, text));
}
