// The receipt of an alert: fetched when it is opened, and told in a table with a bar of its times.
import { ApiError, read } from "./api.js";
import { h, icon, set } from "./dom.js";
import { exactTime, macdv, preciseTime } from "./format.js";
import { receiptUrl } from "./links.js";
import { STEP_NAMES, factsOf, lapse, wayOf, wholeOf, widthOf } from "./receipt-words.js";
import { shownAt } from "./shown.js";
import { stageName } from "./stages.js";

const VALUES = [
  ["macdv", "MACD-V"],
  ["signal", "Signal"],
  ["histogram", "Histogram"],
  ["atr", "ATR"],
];

/**
 * A part that opens, empty until it does.
 * @param {{ uid: string }} alert @param {boolean} [open] from the start
 */
export function receiptPart({ uid }, open = false) {
  const body = h("div", { class: "receipt-body", "aria-live": "polite" });
  const part = h("details", { class: "receipt" }, h("summary", {}, "Receipt"), body);
  part.addEventListener("toggle", () => part.open && fill(body, uid));
  part.open = open;
  return part;
}

async function fill(body, uid) {
  if (body.dataset.filled !== undefined) return;
  if (!body.hasChildNodes()) body.replaceChildren(h("p", { class: "muted" }, "Reading it…"));
  try {
    body.replaceChildren(...partsOf(await read(receiptUrl(uid)), shownAt(uid)));
    body.dataset.filled = "";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const again = h("button", { class: "button", type: "button" }, "Try again");
    again.addEventListener("click", () => fill(body, uid));
    body.replaceChildren(h("p", { role: "alert" }, `It could not be read: ${error.message}`), again);
  }
}

function partsOf(receipt, shown) {
  const way = wayOf(receipt.steps, shown);
  if (!receipt.recorded) {
    return [h("p", {}, "This alert is from before receipts were kept: what it was decided from is not known."), times(way)];
  }
  return [h("p", { class: "because" }, receipt.because), readings(receipt), bar(way), times(way), facts(receipt)];
}

function readings({ previous, current }) {
  const lines = VALUES.map(([name, label]) =>
    h("tr", {}, h("th", { scope: "row" }, label), ...[previous, current].map((reading) => h("td", {}, value(name, reading[name])))),
  );
  const stages = [previous, current].map((reading) => h("td", {}, stage(stageName(reading.stage))));
  const head = ["", "Before", "This candle"].map((text) => h("th", { scope: "col" }, text));
  const body = h("tbody", {}, ...lines, h("tr", {}, h("th", { scope: "row" }, "Stage"), ...stages));
  return h("table", { class: "receipt-readings" }, h("thead", {}, h("tr", {}, ...head)), body);
}

/** An ATR is in units of the price: as many digits as it needs. */
function value(name, number) {
  if (name !== "atr" || number === null || Math.abs(number) >= 10 || number === 0) return macdv(number, 2);
  return macdv(number, Math.min(Math.ceil(-Math.log10(Math.abs(number))) + 4, 12));
}

function stage(name) {
  return h("span", { class: "stage-name", "data-stage": name }, icon(`stage-${name}`), name);
}

/** The parts of the way, the longer the wider. */
function bar(way) {
  const parts = way.filter(({ after }) => after !== null);
  const elements = parts.map(({ name, after }) => {
    const part = h("span", { class: "way-part", "data-step": name, title: `${STEP_NAMES[name]}: ${lapse(after)}` }, h("span", {}, lapse(after)));
    part.style.flexGrow = widthOf(after);
    return part;
  });
  const label = parts.map(({ name, after }) => `${STEP_NAMES[name]} ${lapse(after)} later`).join(", ");
  return h("div", { class: "way", role: "img", "aria-label": label, hidden: !parts.length }, ...elements);
}

function times(way) {
  const lines = way.map(({ name, at, after, ahead }) => {
    const time = h("td", { title: at === null ? null : exactTime(at) }, at === null ? unknown(name) : preciseTime(at));
    const line = h("tr", { "data-step": name }, h("th", { scope: "row" }, h("span", { class: "way-key" }), STEP_NAMES[name]), time);
    if (at === null) set(time, "colspan", 2);
    else line.append(difference(after, ahead));
    return line;
  });
  const whole = wholeOf(way);
  const foot = whole === null ? null : h("tfoot", {}, h("tr", {}, h("th", { scope: "row", colspan: 2 }, "In all"), h("td", { class: "lapse" }, lapse(whole))));
  return h("table", { class: "times" }, h("tbody", {}, ...lines), foot);
}

function difference(after, ahead) {
  if (ahead === undefined) return h("td", { class: "lapse" }, after === null ? "" : `${after < 0 ? "" : "+"}${lapse(after)}`);
  const title = `The exchange’s clock is ${lapse(ahead)} ahead of ours: no time passed between the two.`;
  return h("td", { class: "lapse muted", title }, "another clock");
}

function unknown(name) {
  return name === "shown" ? "there before this page was opened" : "not known";
}

function facts(receipt) {
  return h("dl", {}, ...factsOf(receipt).flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]));
}
