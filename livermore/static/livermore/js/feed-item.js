// One alert of the feed: its elements.
import { cardOf as acrossCard, comparable, leadText } from "./across.js";
import { describe, safeLink } from "./alerts.js";
import { h, icon, setText } from "./dom.js";
import { ago, duration, exact, exactTime, macdv, percent, price } from "./format.js";
import { alertPageUrl, symbolUrl } from "./links.js";
import { receiptPart } from "./receipt.js";
import { silenceControls } from "./silence.js";
import { silencesOf } from "./silences.js";
import { stageName } from "./stages.js";

const SIGNS = { up: "▲", down: "▼" };
const BIASES = { bullish: "▲ bullish", bearish: "▼ bearish", neutral: "◆ neutral" };

/**
 * @param {object} alert an AlertMessage
 * @param {{ cardOf: (id: string) => object | undefined, decimalsOf: (id: string, symbol: string) => number | null, now: number }} context
 */
export function createAlert(alert, context) {
  const age = h("time", { class: "age", datetime: new Date(alert.triggered_at).toISOString(), title: exactTime(alert.triggered_at) });
  const main = h(
    "button",
    { class: "alert-main", type: "button", "aria-expanded": "false" },
    ...headline(alert, age, context),
    ...body(alert, context),
  );
  const element = h(
    "li",
    { class: "alert", "data-stage": stageName(alert.stage), "data-direction": alert.direction },
    main,
    elsewhere(alert, context),
  );
  element.dataset.uid = alert.uid;
  const entry = { alert, element, main, age, details: null };
  paintAge(entry, context.now);
  return entry;
}

/** @param {ReturnType<typeof createAlert>} entry @param {number} now */
export function paintAge(entry, now) {
  setText(entry.age, ago(now - entry.alert.triggered_at));
}

function headline(alert, age, { silences, now }) {
  const { ack, snooze } = silencesOf(alert, silences?.() ?? [], now);
  const sign = h(
    "span",
    { class: "sign", "data-direction": alert.direction, "aria-label": alert.direction },
    SIGNS[alert.direction] ?? "◆",
  );
  const marks = [
    alert.delayed && h("span", { class: "mark-word", title: "Found after an outage: the candle closed before it was seen." }, "delayed"),
    alert.revised &&
      h("span", { class: "mark-word", title: "The exchange corrected the candle afterwards; this is the original signal." }, "revised"),
    ack && h("span", { class: "mark-word quiet", title: `Acknowledged: no notifications of it until it is no longer ${alert.stage}` }, "seen"),
    snooze && h("span", { class: "mark-word quiet", title: "No notifications of this symbol for a while" }, "snoozed"),
  ];
  return [
    h("span", { class: "line" }, sign, h("strong", {}, alert.symbol), h("span", { class: "timeframe" }, alert.timeframe), ...marks, age),
  ];
}

function body(alert, { cardOf, decimalsOf }) {
  const stage = stageName(alert.stage);
  const card = cardOf(alert.source_exchange_id);
  const says = h(
    "span",
    { class: "line says" },
    h("span", {}, describe(alert)),
    h("span", { class: "figure" }, macdv(alert.trigger_value)),
  );
  const place = h(
    "span",
    { class: "line place" },
    h("span", { class: "name" }, card?.name ?? alert.source_exchange_id),
    card?.simulated && h("span", { class: "badge" }, "SIMULATED"),
    h("span", { class: "figure price" }, price(alert.price, decimalsOf(alert.source_exchange_id, alert.symbol))),
  );
  const named = h("span", { class: "stage-name", "data-stage": stage }, icon(`stage-${stage}`), stage);
  const bias = h(
    "span",
    { class: "bias", "data-bias": alert.bias, title: "Over all timeframes, the longer ones weighing more." },
    BIASES[alert.bias] ?? alert.bias,
  );
  return [says, place, h("span", { class: "line context" }, named, bias, strip(alert))];
}

/** The stages of all timeframes at that moment, as five small cells. */
function strip({ timeframes }) {
  const cells = timeframes.map(({ timeframe, stage, macdv: value }) => {
    const name = stageName(stage);
    return h("span", { class: "stage", "data-stage": name, title: `${timeframe}: ${name}, MACD-V ${macdv(value)}` }, icon(`stage-${name}`));
  });
  return h(
    "span",
    { class: "strip", role: "img", "aria-label": timeframes.map(({ timeframe, stage }) => `${timeframe} ${stage}`).join(", ") },
    ...cells,
  );
}

/** The same coin where the reader buys, or, for who buys nowhere, on the other exchanges. */
function elsewhere(alert, { cardOf, decimalsOf, settings }) {
  const nameOf = (id) => cardOf(id)?.name ?? id;
  const card = acrossCard(alert, settings?.() ?? null);
  const priceOf = (offer) => price(offer.price, decimalsOf(offer.exchange_id, offer.symbol));
  if (card) {
    const lines = acrossLines(alert, card, { nameOf, priceOf });
    return h("div", { class: "across", "data-allowed": card.allowed === false ? "no" : null }, ...lines);
  }
  const offers = alert.elsewhere.filter((offer) => offer.spread_bps !== null);
  if (!offers.length) return null;
  return h("ul", { class: "elsewhere" }, ...offers.map((offer) => otherOffer(offer, { nameOf, priceOf })));
}

function otherOffer(offer, { nameOf, priceOf }) {
  const url = safeLink(offer.trade_url);
  const name = nameOf(offer.exchange_id);
  const link = url && h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, name, icon("icon-out"));
  return h("li", {}, h("span", { class: "name" }, link || name), h("span", {}, priceOf(offer)), spreadOf(offer));
}

function spreadOf(offer) {
  return h("span", { title: "Its price against this one, before fees" }, percent(offer.spread_bps / 100));
}

function acrossLines(alert, card, { nameOf, priceOf }) {
  const { offer, residual } = card;
  if (!card.listed) return [h("p", { class: "muted" }, `${alert.base} is not listed on ${card.name}.`)];
  if (!offer.symbol) return [h("p", { class: "muted" }, `What ${card.name} lists is not known yet: start it once.`)];
  if (offer.identity === "different") {
    return [h("p", { class: "muted" }, `${card.name} lists another coin as ${offer.symbol}: its price is far from this one. Nothing is derived.`)];
  }
  const name = h("span", { class: "name" }, card.name);
  const figures =
    offer.price === null
      ? h("p", { class: "line" }, name, h("span", { class: "muted" }, `${offer.symbol}: no current price`))
      : h(
          "p",
          { class: "line" },
          name,
          h("span", { class: "figure" }, priceOf(offer)),
          offer.spread_bps !== null && spreadOf(offer),
          !comparable(alert.quote, offer.quote) && h("span", { class: "muted" }, `${offer.quote}, not compared with ${alert.quote}`),
        );
  const act = h("p", { class: "line act" }, residual !== null && residualOf(residual), tradeButton(alert, card));
  return [figures, act, notesOf(alert, card, nameOf)];
}

function residualOf(residual) {
  const title = "What is left of the difference after both taker fees, and half the spread there";
  return h("span", { class: "residual", title, "data-direction": residual > 0 ? "up" : "down" }, `${percent(residual / 100)} after fees`);
}

/** What else is to be known. */
function notesOf(alert, { offer, allowed, region, otherDollars }, nameOf) {
  const unproved = offer.identity === "unknown" && offer.price !== null;
  const said = [
    unproved && `${offer.symbol} may be another coin: not compared yet`,
    leadText(offer.lead, nameOf),
    otherDollars && `${offer.quote} beside ${alert.quote}, not converted`,
    allowed === false && region,
    allowed === null && h("a", { href: "/settings/", title: region }, "set your region"),
  ].filter(Boolean);
  if (!said.length) return null;
  return h("p", { class: "muted notes" }, ...said.flatMap((note, at) => (at ? [" · ", note] : [note])));
}

function tradeButton(alert, { offer, name, allowed }) {
  const url = safeLink(offer.trade_url);
  if (!url) return null;
  const verb = alert.direction === "up" ? "Buy" : "Sell";
  const title = `Opens ${name}’s own page of ${offer.symbol}. Livermore places no order.${allowed === false ? " It does not serve your region." : ""}`;
  return h("a", { class: "button", href: url, target: "_blank", rel: "noopener noreferrer", title }, `${verb} on ${name}`, icon("icon-out"));
}

/**
 * What opens under an alert.
 * @param {object} alert
 * @param {{ whole?: boolean, silences?: import("./silences.js").Silence[], onSilence?: () => void }} [options] ``whole``: on its own page,
 *   with the receipt open; ``silences``: without them there is nothing to silence with
 */
export function alertDetails(alert, { whole = false, silences, onSilence } = {}) {
  const facts = [
    ["Candle", exactTime(alert.candle_time)],
    ["Triggered", exactTime(alert.triggered_at)],
    ["Published", publication(alert)],
    ["MACD-V", macdv(alert.trigger_value, 2)],
    ["Less its signal", macdv(alert.signal_delta, 2)],
    ["Price", `${exact(alert.price)} ${alert.quote}`],
    ["Number", `${alert.source_exchange_id} #${alert.id}`],
  ];
  const list = facts.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]);
  const chart = h(
    "a",
    { class: "button", href: symbolUrl(alert.source_exchange_id, alert.symbol, alert.timeframe, alert.candle_time) },
    icon("icon-chart"),
    `Chart of ${alert.symbol} ${alert.timeframe}`,
  );
  const link = whole ? null : h("a", { class: "button", "data-kind": "plain", href: alertPageUrl(alert.uid) }, "Its own page");
  const actions = h("div", { class: "alert-actions" }, chart, link, ...(silences ? silenceControls(alert, silences, onSilence) : []));
  return h("div", { class: "alert-details" }, h("dl", {}, ...list), timeframeTable(alert), actions, receiptPart(alert, whole));
}

function publication({ published_at: published, triggered_at: triggered }) {
  if (!published) return "–";
  const late = published - triggered;
  return `${exactTime(published)}\n${late < 1000 ? `${Math.max(late, 0)} ms` : duration(late)} after the trigger`;
}

function timeframeTable({ timeframes }) {
  const lines = timeframes.map(({ timeframe, stage, macdv: value }) => {
    const name = stageName(stage);
    const label = h("span", { class: "stage-name", "data-stage": name }, icon(`stage-${name}`), name);
    return h("tr", {}, h("th", { scope: "row" }, timeframe), h("td", {}, label), h("td", {}, macdv(value)));
  });
  return h("table", { class: "readings" }, h("tbody", {}, ...lines));
}
