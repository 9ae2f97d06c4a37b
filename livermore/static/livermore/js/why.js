// "Why no alert?": what each rule makes of the last closed candle of the chosen timeframe, asked for while the panel is open.
import { ApiError, read } from "./api.js";
import { h, setText } from "./dom.js";
import { exactTime } from "./format.js";
import { whyUrl } from "./links.js";

const AGAIN = 5_000; // while it is not evaluated, it says for how long

export class Why {
  /**
   * @param {object} options
   * @param {string} options.exchangeId @param {string} options.symbol @param {string} options.timeframe
   * @param {Record<"panel" | "body" | "tally", HTMLElement>} options.elements
   */
  constructor({ exchangeId, symbol, timeframe, elements }) {
    Object.assign(this, { exchangeId, symbol, timeframe, ...elements });
    this.turn = 0;
    this.askedAt = 0;
    this.blocked = false;
    this.panel.addEventListener("toggle", () => this.refresh());
    setText(this.tally, timeframe);
  }

  /** @param {string} timeframe */
  choose(timeframe) {
    this.timeframe = timeframe;
    setText(this.tally, timeframe);
    this.refresh();
  }

  async refresh() {
    if (!this.panel.open) return;
    this.turn += 1;
    const { turn } = this;
    this.askedAt = Date.now();
    let parts;
    try {
      parts = this.partsOf(await read(whyUrl(this.exchangeId, this.symbol, this.timeframe)));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      parts = [h("p", { role: "alert" }, `It could not be read: ${error.message}`)];
    }
    if (turn === this.turn) this.body.replaceChildren(...parts);
  }

  tick() {
    if (this.blocked && Date.now() - this.askedAt > AGAIN) this.refresh();
  }

  partsOf({ candle_time: candle, rules, state }) {
    this.blocked = state !== "live";
    const of = candle === null ? "No candle is evaluated yet." : `Last closed candle: ${exactTime(candle).replace("\n", ", ")}`;
    if (!rules.length) return [h("p", {}, "No rule is enabled: nothing can fire.")];
    return [h("p", { class: "muted" }, of), ...rules.map(rulePart)];
  }
}

function rulePart({ rule, version, sentences, blocked, fired }) {
  const kind = (sentence) => (sentence.startsWith("NOT EVALUATED") ? "blocked" : sentence.startsWith("Fired") ? "fired" : null);
  const lines = sentences.map((sentence) => h("li", { "data-kind": kind(sentence) }, sentence));
  const nothing = !blocked.length && !fired.length ? h("p", { class: "why-verdict" }, "Evaluated: nothing fired.") : null;
  return h("section", { class: "why-rule" }, h("h3", {}, rule || "Rule", h("span", { class: "muted" }, ` version ${version}`)), nothing, h("ul", {}, ...lines));
}
