// The head of the symbol page: price, state, and a cell for each timeframe, which also chooses that of the chart.
import { byId, h, icon, set, setIcon, setText } from "./dom.js";
import { compact, exact, exactTime, macdv, percent, price } from "./format.js";
import { flash, stateText } from "./matrix-row.js";
import { stateOf } from "./rows.js";
import { STAGES, STATES, stageName, stateName } from "./stages.js";

const LISTED = "From the exchange’s list of symbols, as it was when that was last read.";

export class Head {
  /**
   * @param {object} options
   * @param {string[]} options.timeframes
   * @param {object} options.listed price, change and volume of the exchange's list, for a symbol that is not watched
   * @param {(timeframe: string) => void} options.onChoose
   */
  constructor({ timeframes, listed, onChoose }) {
    this.listed = listed;
    this.price = byId("price");
    this.change = byId("change");
    this.volume = byId("volume");
    this.state = byId("state");
    this.shown = null;
    this.cells = new Map(timeframes.map((timeframe, at) => [timeframe, createCell(timeframe, at, onChoose)]));
    byId("cells").replaceChildren(...[...this.cells.values()].map((cell) => cell.element));
  }

  /** @param {string} timeframe */
  choose(timeframe) {
    for (const [name, cell] of this.cells) set(cell.element, "aria-pressed", String(name === timeframe));
  }

  /** @param {object | undefined} row a SymbolRow @param {object | undefined} card @param {boolean} loaded */
  paint(row, card, loaded) {
    if (!row) {
      this.paintState(loaded ? "idle" : "unknown", loaded ? "not watched" : "", "");
      if (loaded) this.paintMarket(this.listed, LISTED);
      return;
    }
    const { state, reason } = stateOf(row, card);
    const name = stateName(state);
    this.paintState(name, name, reason || (name === "live" ? "" : STATES[name]), stateText(row, card));
    this.paintMarket(row, row.received === null ? LISTED : exactTime(row.received));
    if (this.shown && row.price !== this.shown.price) flash(this.price, row.price > this.shown.price ? "up" : "down");
    for (const [timeframe, cell] of this.cells) paintCell(cell, row.readings[timeframe], this.shown?.readings[timeframe]);
    this.shown = row;
  }

  paintMarket({ price: last, change_24h: change, quote_volume_24h: volume, decimals, quote }, origin) {
    setText(this.price, price(last, decimals));
    set(this.price, "title", `${exact(last)} ${quote}\n${origin}`);
    setText(this.change, percent(change));
    set(this.change, "data-direction", change > 0 ? "up" : change < 0 ? "down" : null);
    setText(this.volume, `${compact(volume)} ${quote}`);
    set(this.volume, "title", `${exact(volume)} ${quote} in 24 h`);
  }

  paintState(name, word, reason, title = "") {
    this.state.dataset.state = name;
    setIcon(this.state.querySelector(".icon"), `state-${name}`);
    setText(byId("state-word"), word);
    setText(byId("state-reason"), reason);
    set(this.state, "title", title || null);
  }
}

function createCell(timeframe, at, onChoose) {
  const shape = icon("stage-unknown");
  const value = h("span", { class: "cell-value figure" }, "–");
  const word = h("span", { class: "cell-stage" }, "");
  const element = h(
    "button",
    { class: "stage-cell", type: "button", "data-stage": "unknown", "aria-keyshortcuts": at + 1 },
    h("span", { class: "cell-timeframe" }, timeframe),
    shape,
    word,
    value,
  );
  element.addEventListener("click", () => onChoose(timeframe));
  return { element, shape, value, word, timeframe };
}

function paintCell(cell, reading, before) {
  const name = stageName(reading?.stage);
  set(cell.element, "data-stage", name);
  setIcon(cell.shape, `stage-${name}`);
  setText(cell.word, name === "unknown" ? "no value yet" : name);
  setText(cell.value, macdv(reading?.macdv));
  set(cell.element, "data-unseeded", Boolean(reading && !reading.seeded));
  set(cell.element, "title", cellTitle(cell.timeframe, name, reading));
  if (before && reading && reading.t !== before.t) flash(cell.element, "news");
}

function cellTitle(timeframe, name, reading) {
  if (!reading) return `${timeframe}: no reading yet`;
  const means = STAGES[name] ? `${name}: ${STAGES[name]}` : name;
  const values = `MACD-V ${macdv(reading.macdv, 2)}   signal ${macdv(reading.signal, 2)}   histogram ${macdv(reading.histogram, 2)}`;
  return [`${timeframe} ${means}`, values, `candle of ${exactTime(reading.t)}`, reading.reason].filter(Boolean).join("\n");
}
