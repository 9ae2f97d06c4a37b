// The line over the chart: the candle under the pointer, or the newest one, in figures.
import { describe } from "./alerts.js";
import { crosshairTime } from "./chart-times.js";
import { h, icon } from "./dom.js";
import { compact, macdv, percent, price } from "./format.js";
import { stageName } from "./stages.js";

/**
 * @param {HTMLElement} root
 * @param {{ bar: import("./bars.js").Bar | undefined, reading: import("./bars.js").Reading | undefined, alerts: object[], decimals: number | null, inDays: boolean }} shown
 */
export function paintFigures(root, { bar, reading, alerts, decimals, inDays }) {
  if (!bar) {
    root.replaceChildren();
    return;
  }
  const direction = bar.close < bar.open ? "down" : "up";
  const prices = ["open", "high", "low", "close"].map((name) => pair(name[0].toUpperCase(), price(bar[name], decimals), direction));
  root.replaceChildren(
    h("time", { class: "figures-time", datetime: new Date(bar.t).toISOString() }, crosshairTime(bar.t, inDays)),
    ...prices,
    pair("V", compact(bar.volume)),
    h("span", { class: "change", "data-direction": direction }, percent((bar.close / bar.open - 1) * 100)),
    ...(bar.forming ? [h("span", { class: "mark-word", title: FORMING }, "forming"), h("span", { class: "muted" }, "last close")] : []),
    ...readingParts(reading),
    ...(bar.synthetic ? [h("span", { class: "mark-word", title: "Filled in with the close before it." }, "no trades")] : []),
    ...alerts.map((alert) =>
      h("span", { class: "figures-alert", "data-direction": alert.direction }, `${alert.direction === "up" ? "▲" : "▼"} ${describe(alert)}`),
    ),
  );
}

const FORMING = "Not closed: from the prices seen so far. MACD-V is worked out when it closes.";

function pair(name, value, direction = null) {
  return h("span", { class: "pair" }, h("span", { class: "pair-name" }, name), h("span", { class: "figure", "data-direction": direction }, value));
}

function readingParts(reading) {
  if (!reading) return [];
  const stage = stageName(reading.stage);
  return [
    h("span", { class: "pair key-macdv" }, h("span", { class: "pair-name" }, "MACD-V"), h("span", { class: "figure" }, macdv(reading.macdv))),
    h("span", { class: "pair key-signal" }, h("span", { class: "pair-name" }, "signal"), h("span", { class: "figure" }, macdv(reading.signal))),
    pair("histogram", macdv(reading.histogram)),
    h("span", { class: "stage-name", "data-stage": stage }, icon(`stage-${stage}`), stage),
  ];
}
