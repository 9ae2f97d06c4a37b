// One row of the stage matrix: its elements, and writing a SymbolRow into them.
import { h, icon, pageIsLive, set, setIcon, setText } from "./dom.js";
import { compact, duration, exact, exactTime, macdv, percent, price } from "./format.js";
import { stateOf } from "./rows.js";
import { STATES, TIMEFRAMES, stageName, stateName } from "./stages.js";

export const FLASH = 300;
/** A stale row tells how old its price is; where prices come and candles do not, that would say nothing. */
const WORTH_TELLING = 10_000;
/** Signs that fit into the narrowest cell of each kind. */
const LONG = { price: 11, change: 9, stage: 4 };
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Show once that a value has changed. @param {Element} element @param {"up" | "down" | "news"} kind */
export function flash(element, kind) {
  if (still.matches) return;
  element.animate([{ backgroundColor: `var(--flash-${kind})` }, {}], { duration: FLASH, easing: "ease-out" });
}

const cell = (name, ...children) => h("span", { class: `cell ${name}`, role: "cell" }, ...children);

/** An empty row, to be painted. */
export function createRow() {
  const pin = h("button", { class: "pin", type: "button", tabindex: -1 }, icon("icon-pin"));
  const badge = h("span", { class: "badge" }, "SIMULATED");
  const parts = {
    pin,
    badge,
    symbolName: h("span", { class: "name" }),
    mine: h("span", { class: "mine" }),
    exchangeName: h("span", { class: "name" }),
    stateIcon: icon("state-unknown"),
    stateWord: h("span", { class: "word state-word" }),
    price: cell("price"),
    change: cell("change"),
    volume: cell("volume"),
    stages: Object.fromEntries(TIMEFRAMES.map((timeframe) => [timeframe, createStage(timeframe)])),
  };
  parts.symbol = cell("symbol", parts.symbolName, parts.mine);
  parts.exchange = cell("exchange", parts.exchangeName, badge);
  parts.state = cell("state", parts.stateIcon, parts.stateWord);
  const stages = Object.values(parts.stages).map((stage) => stage.cell);
  const cells = [cell("pin-cell", pin), parts.symbol, parts.exchange, parts.state, parts.price, parts.change, parts.volume, ...stages];
  return { element: h("div", { class: "row", role: "row" }, ...cells), ...parts, key: "", row: null, card: null };
}

function createStage(timeframe) {
  const shape = icon("stage-unknown");
  const whole = h("span");
  const fraction = h("span", { class: "fraction" });
  const value = h("span", {}, whole, fraction);
  return { cell: h("span", { class: "cell stage", role: "cell", "data-timeframe": timeframe }, shape, value), shape, whole, fraction };
}

/**
 * Write ``row`` into ``entry``, touching only what differs from what is there.
 * @param {ReturnType<typeof createRow>} entry @param {string} key @param {object} row @param {object | undefined} card @param {number} now
 * @param {object} [own] the OwnSymbol of the row, where the reader holds or added it
 */
export function paintRow(entry, key, row, card, now, own) {
  const before = entry.key === key ? entry.row : null;
  setText(entry.mine, own ? (own.quantity === null ? "+" : "◆") : "");
  set(entry.mine, "title", own ? ownText(own, row) : null);
  if (before === row && entry.card === card) return;
  Object.assign(entry, { key, row, card });
  if (!before) paintNames(entry, key, row);
  setText(entry.exchangeName, card?.name ?? row.exchange_id);
  entry.badge.hidden = !card?.simulated;
  paintState(entry, now);
  paintMarket(entry, row, before);
  for (const timeframe of TIMEFRAMES) {
    paintStage(entry.stages[timeframe], row.readings[timeframe], before && (before.readings[timeframe] ?? {}));
  }
}

function paintNames(entry, key, row) {
  entry.element.dataset.key = key;
  setText(entry.symbolName, row.symbol);
  set(entry.pin, "aria-label", `Pin ${row.symbol}`);
}

/** Also once a second, as a stale row tells its age. */
export function paintState(entry, now) {
  const { state } = stateOf(entry.row, entry.card);
  const name = stateName(state);
  if (entry.element.dataset.state !== name) {
    entry.element.dataset.state = name;
    setIcon(entry.stateIcon, `state-${name}`);
  }
  const quiet = now - (entry.row.received ?? now);
  setText(entry.stateWord, name === "stale" && quiet >= WORTH_TELLING ? `${name} ${duration(quiet)}` : name);
}

/** @param {Element} element @param {string} text @param {number} longest that fits */
function write(element, text, longest) {
  setText(element, text);
  set(element, "data-long", text.length > longest || null);
}

function paintMarket(entry, row, before) {
  write(entry.price, price(row.price, row.decimals), LONG.price);
  if (before && before.price !== null && row.price !== before.price) flash(entry.price, row.price > before.price ? "up" : "down");
  const { change_24h: change } = row;
  write(entry.change, percent(change), LONG.change);
  set(entry.change, "data-direction", change > 0 ? "up" : change < 0 ? "down" : null);
  setText(entry.volume, compact(row.quote_volume_24h));
}

function paintStage(stage, reading, before) {
  const name = stageName(reading?.stage);
  if (stage.cell.dataset.stage !== name) {
    stage.cell.dataset.stage = name;
    setIcon(stage.shape, `stage-${name}`);
  }
  // Where there is no room the fraction is cut off, not rounded: 149.9 must not look like a level that was crossed.
  const [whole, fraction = ""] = macdv(reading?.macdv).split(".");
  setText(stage.whole, whole);
  setText(stage.fraction, fraction && `.${fraction}`);
  set(stage.cell, "data-long", whole.length > LONG.stage || null);
  set(stage.cell, "data-unseeded", reading && !reading.seeded);
  if (before && reading && reading.t !== before.t) flash(stage.cell, "news");
}

/** What the reader has of it. @param {object} own @param {object} row */
export function ownText(own, row) {
  const held = own.quantity === null ? [] : [`You hold ${exact(own.quantity)} ${row.base}`];
  const worth = held.length && row.price ? [`worth ${compact(own.quantity * row.price)} ${row.quote}`] : [];
  const added = own.added ? ["you added it"] : [];
  const tier = row.tier === 2 ? "Not in Tier 1: watched for you." : "In Tier 1: watched for everybody.";
  return `${[...held, ...worth, ...added].join(", ")}. ${tier}`;
}

/** What a cell says on hover; "" where it says all already. @param {Element} element @param {ReturnType<typeof createRow>} entry */
export function hint(element, { row, card }) {
  const timeframe = element.dataset.timeframe;
  if (timeframe) return `${row.symbol} ${timeframe}\n${readingText(row.readings[timeframe])}`;
  if (element.matches(".state, .symbol, .exchange")) return stateText(row, card);
  if (element.matches(".price")) return `${exact(row.price)} ${row.quote}\n${exactTime(row.received)}`;
  if (element.matches(".volume")) return `${exact(row.quote_volume_24h)} ${row.quote} in 24 h`;
  return "";
}

/** @param {object} row @param {object | undefined} card */
export function stateText(row, card) {
  const { state, reason } = stateOf(row, card);
  const title = `${row.symbol} on ${card?.name ?? row.exchange_id}${card?.simulated ? " (SIMULATED)" : ""}`;
  return `${title}\n${pageIsLive() ? "" : "was "}${state}: ${reason || STATES[stateName(state)] || "no word from the server"}`;
}

/** @param {object | undefined} reading */
function readingText(reading) {
  if (!reading) return "No reading yet: history is being fetched.";
  const lines = [
    `${reading.stage}`,
    `MACD-V ${macdv(reading.macdv, 2)}   signal ${macdv(reading.signal, 2)}   histogram ${macdv(reading.histogram, 2)}`,
    `ATR ${exact(reading.atr)}   close ${exact(reading.close)}`,
    `candle of ${exactTime(reading.t)}`,
    `${reading.observed} of ${reading.span} candles with trades`,
  ];
  if (!reading.seeded) lines.push("Not seeded yet: not evaluated.");
  if (reading.reason) lines.push(reading.reason);
  return lines.join("\n");
}
