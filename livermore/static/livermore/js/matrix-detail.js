// What opens under a row of the matrix: every reading of the symbol in full.
import { h, icon, set, setText } from "./dom.js";
import { exact, exactTime, macdv } from "./format.js";
import { symbolUrl } from "./links.js";
import { stateText } from "./matrix-row.js";
import { TIMEFRAMES, stageName } from "./stages.js";

const HEADS = ["", "Stage", "MACD-V", "Signal", "Histogram", "ATR", "Candle", "With trades"];

/** An empty panel; `fillDetail` writes into it, leaving its button in place for a pointer on its way there. */
export function createDetail() {
  const parts = {
    title: h("strong"),
    state: h("span", { class: "muted" }),
    label: h("span"),
    table: h("div"),
    facts: h("p", { class: "muted" }),
  };
  const chart = h("a", { class: "button", "data-action": "chart" }, icon("icon-chart"), "Chart");
  const pin = h("button", { class: "button", type: "button", "data-action": "pin" }, icon("icon-pin"), parts.label);
  const head = h("div", { class: "detail-head" }, parts.title, parts.state, chart, pin);
  const inner = h("div", { class: "detail-inner", role: "cell" }, head, parts.table, parts.facts);
  return { element: h("div", { class: "detail", role: "row" }, inner), chart, ...parts };
}

/** @param {ReturnType<typeof createDetail>} detail @param {object} row @param {object | undefined} card @param {boolean} pinned */
export function fillDetail(detail, row, card, pinned) {
  const [title, state] = stateText(row, card).split("\n");
  setText(detail.title, title);
  setText(detail.state, state);
  set(detail.chart, "href", symbolUrl(row.exchange_id, row.symbol));
  setText(detail.label, pinned ? "Unpin" : "Pin to the top");
  detail.table.replaceChildren(readings(row));
  setText(detail.facts, facts(row));
}

function readings(row) {
  const head = h("tr", {}, ...HEADS.map((text) => h("th", { scope: "col" }, text)));
  const lines = TIMEFRAMES.map((timeframe) => line(timeframe, row.readings[timeframe]));
  return h("table", { class: "readings" }, h("thead", {}, head), h("tbody", {}, ...lines));
}

function line(timeframe, reading) {
  if (!reading) return h("tr", {}, h("th", { scope: "row" }, timeframe), h("td", { colspan: 7, class: "muted" }, "no reading yet"));
  const stage = stageName(reading.stage);
  const values = [reading.macdv, reading.signal, reading.histogram].map((value) => h("td", {}, macdv(value, 2)));
  return h(
    "tr",
    { title: reading.reason },
    h("th", { scope: "row" }, timeframe),
    h("td", {}, h("span", { class: "stage-name", "data-stage": stage }, icon(`stage-${stage}`), stage)),
    ...values,
    h("td", {}, reading.atr === null ? "–" : exact(Number(reading.atr.toPrecision(6)))),
    h("td", { title: exactTime(reading.t) }, candleTime(reading.t)),
    h("td", {}, `${reading.observed} of ${reading.span}`),
  );
}

const candleFormat = new Intl.DateTimeFormat("en-GB", {
  timeZone: "UTC",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

/** The candle's open time, in UTC as candles are. */
function candleTime(at) {
  return `${candleFormat.format(at)} UTC`;
}

function facts(row) {
  const parts = [];
  if (row.rank !== null) parts.push(`rank ${row.rank} by volume`);
  if (row.quote_volume_24h !== null) parts.push(`${exact(Math.round(row.quote_volume_24h))} ${row.quote} in 24 h`);
  if (row.received !== null) parts.push(`price of ${exactTime(row.received).split("\n")[0]}`);
  return parts.join(" · ");
}
