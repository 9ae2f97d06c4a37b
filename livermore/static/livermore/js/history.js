// The alerts of one symbol, newest first: what the API has, and what comes over the feed.
import { ApiError, read } from "./api.js";
import { arrange, h, set, setText } from "./dom.js";
import { alertDetails, createAlert, paintAge } from "./feed-item.js";
import { alertsUrl } from "./links.js";
import { flash } from "./matrix-row.js";
import { noteShown } from "./shown.js";

const PAGE = 20;
const MOST_MARKS = 500;

export class History {
  /**
   * @param {object} options
   * @param {string} options.exchangeId @param {string} options.symbol
   * @param {() => { cardOf: Function, decimalsOf: Function, now: number }} options.context
   * @param {Record<"list" | "more" | "empty" | "tally", HTMLElement>} options.elements
   */
  constructor({ exchangeId, symbol, context, elements }) {
    Object.assign(this, { exchangeId, symbol, context, ...elements });
    /** Every alert that is known, by uid. @type {Map<string, object>} */
    this.alerts = new Map();
    /** Those in the list. @type {Map<string, ReturnType<typeof createAlert>>} */
    this.entries = new Map();
    this.total = 0;
    this.drawn = false;
    this.more.addEventListener("click", () => this.showMore());
    this.list.addEventListener("click", (event) => this.clicked(event.target));
  }

  /** The newest ones again, after a time in which some may have been missed. */
  async refresh() {
    await this.fetch(1);
  }

  async showMore() {
    set(this.more, "aria-busy", "true");
    // By what is held, as every new alert moves the pages on.
    await this.fetch(Math.floor(this.entries.size / PAGE) + 1);
    set(this.more, "aria-busy", null);
  }

  /** @param {number} page */
  async fetch(page) {
    try {
      const answer = await read(alertsUrl(this.exchangeId, this.symbol, { page, page_size: PAGE }));
      this.total = answer.count;
      // Nothing joins these to what is held: more was missed than a page. It begins anew, without a hole.
      if (page === 1 && !answer.results.some((alert) => this.entries.has(alert.uid))) this.entries.clear();
      for (const alert of answer.results) this.put(alert);
      this.paint();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.say(`The alerts could not be read: ${error.message}`);
    }
  }

  /** Alerts on the candles of one timeframe, from ``since`` on, for their marks. @param {string} timeframe @param {number} since */
  async marks(timeframe, since) {
    const answer = await read(alertsUrl(this.exchangeId, this.symbol, { timeframe, candle_from: since, page_size: MOST_MARKS }));
    return answer.results;
  }

  /** An alert that has just come, or was revised. @param {object} alert */
  add(alert) {
    if (!this.alerts.has(alert.uid)) this.total += 1;
    this.put(alert);
    this.paint();
  }

  put(alert) {
    const known = this.entries.get(alert.uid);
    this.alerts.set(alert.uid, alert);
    if (known && known.alert.revised === alert.revised) return;
    const entry = createAlert(alert, this.context());
    this.entries.set(alert.uid, entry);
    if (this.drawn && !known) flash(entry.element, "news");
    noteShown(alert.uid);
  }

  paint() {
    const newestFirst = (a, b) => b.alert.triggered_at - a.alert.triggered_at || b.alert.id - a.alert.id;
    const entries = [...this.entries.values()].sort(newestFirst);
    arrange(
      this.list,
      entries.map((entry) => entry.element),
    );
    this.drawn = true;
    this.more.hidden = entries.length >= this.total;
    setText(this.tally, entries.length === this.total ? String(this.total || "") : `${entries.length} of ${this.total}`);
    this.say(entries.length ? "" : "No alert yet. One appears the moment a candle closes across ±150 or beyond, or turns back from there.");
  }

  /** @param {string} text */
  say(text) {
    this.empty.hidden = !text;
    this.empty.replaceChildren(h("p", {}, text));
  }

  tick() {
    const { now } = this.context();
    for (const entry of this.entries.values()) paintAge(entry, now);
  }

  /** @param {Element} target */
  clicked(target) {
    const uid = target.closest(".alert-main")?.closest(".alert")?.dataset.uid;
    const entry = uid && this.entries.get(uid);
    if (!entry) return;
    if (entry.details) entry.details.remove();
    entry.details = entry.details ? null : alertDetails(entry.alert);
    if (entry.details) entry.element.append(entry.details);
    set(entry.main, "aria-expanded", String(Boolean(entry.details)));
  }
}
