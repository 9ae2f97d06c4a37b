// The alert feed: newest first, filtered, and still while it is being read.
import { passes } from "./alerts.js";
import { arrange, set, setText } from "./dom.js";
import { alertDetails, createAlert, paintAge } from "./feed-item.js";
import { flash } from "./matrix-row.js";
import { noteShown } from "./shown.js";
import { silencesOf } from "./silences.js";
import { rowKey } from "./state.js";

const PAGE = 50;
const AT_TOP = 8;

const maySilence = () => document.body.dataset.maySilence === "yes";

export class AlertFeed {
  /**
   * @param {object} options
   * @param {import("./state.js").State} options.state
   * @param {import("./alerts.js").AlertFilter} options.filter changed in place by the controls
   * @param {() => number} options.now
   * @param {(shown: object[]) => void} options.onShown alerts that a reader can see now
   * @param {Record<"scroller" | "list" | "bar" | "more", HTMLElement>} options.elements
   */
  constructor({ state, filter, now, onShown, elements }) {
    Object.assign(this, { state, filter, now, onShown, ...elements });
    /** @type {Map<string, ReturnType<typeof createAlert>>} */
    this.entries = new Map();
    /** @type {object[]} */
    this.shown = [];
    /** @type {object[]} */
    this.passing = [];
    this.limit = PAGE;
    this.selected = "";
    this.drawn = false;
    this.context = {
      cardOf: (id) => this.state.exchanges.get(id),
      settings: () => this.state.settings,
      silences: () => this.state.silences,
      decimalsOf: (id, symbol) => this.state.rows.get(rowKey(id, symbol))?.decimals ?? null,
    };
    this.listen();
  }

  listen() {
    this.bar.addEventListener("click", () => this.showNew());
    this.more.addEventListener("click", () => this.showMore());
    this.scroller.addEventListener("scroll", () => this.atTop && this.waiting && this.refresh(), { passive: true });
    this.scroller.addEventListener("pointerleave", () => this.waiting && this.refresh());
    this.list.addEventListener("click", (event) => this.clicked(event.target));
  }

  get atTop() {
    return this.scroller.scrollTop < AT_TOP;
  }

  /** Whether somebody is reading it, so that nothing may move. */
  get held() {
    return !this.atTop || this.list.matches(":hover") || this.list.querySelector("[aria-expanded=true]") !== null;
  }

  /** Alerts that have come since the list was held. */
  get waiting() {
    const known = new Set(this.shown.map((alert) => alert.uid));
    const oldest = this.passing.findLastIndex((alert) => known.has(alert.uid));
    return this.passing.slice(0, oldest + 1).filter((alert) => !known.has(alert.uid)).length;
  }

  /** @param {boolean} [asked] the reader did it: also where the list is held */
  refresh(asked = false) {
    this.passing = this.state.alerts.filter((alert) => passes(alert, this.filter, this.state));
    if (asked || !this.drawn || !this.shown.length || !this.held) this.shown = this.passing.slice(0, this.limit);
    else this.keep();
    this.draw();
  }

  /** What is shown, as it is now: an alert may have been revised, and a fresh list may lack some. */
  keep() {
    const current = new Map(this.passing.map((alert) => [alert.uid, alert]));
    this.shown = this.shown.map((alert) => current.get(alert.uid)).filter(Boolean);
  }

  draw() {
    if (!this.state.loaded) return;
    const context = { ...this.context, now: this.now() };
    const uids = new Set(this.shown.map((alert) => alert.uid));
    for (const uid of this.entries.keys()) if (!uids.has(uid)) this.entries.delete(uid);
    arrange(
      this.list,
      this.shown.map((alert) => this.entryOf(alert, context).element),
    );
    this.drawn = true;
    const { waiting } = this;
    this.bar.hidden = waiting === 0;
    setText(this.bar, `↑ ${waiting} new`);
    this.more.hidden = this.passing.length - waiting <= this.shown.length;
    this.onShown(this.shown);
  }

  /** The elements of an alert: those that are there, while alert, names and decimals are what they were. */
  entryOf(alert, context) {
    const known = this.entries.get(alert.uid);
    const card = context.cardOf(alert.source_exchange_id);
    const terms = JSON.stringify([this.state.settings?.own_exchange_id, this.state.settings?.terms]);
    const { ack, snooze } = silencesOf(alert, this.state.silences, context.now);
    const stamp = `${ack?.id}|${snooze?.id}|${snooze?.until}|${terms}|${card?.name}|${card?.simulated}|${context.decimalsOf(alert.source_exchange_id, alert.symbol)}`;
    if (known?.alert === alert && known.stamp === stamp) return known;
    const entry = Object.assign(createAlert(alert, context), { stamp });
    this.entries.set(alert.uid, entry);
    if (known?.details) this.expand(entry);
    if (this.drawn && !known) flash(entry.element, "news");
    noteShown(alert.uid);
    set(entry.element, "aria-current", alert.uid === this.selected || null);
    return entry;
  }

  tick() {
    const now = this.now();
    for (const entry of this.entries.values()) paintAge(entry, now);
    if (this.waiting) this.refresh();
  }

  // What the reader does.

  showNew() {
    this.scroller.scrollTop = 0;
    this.limit = PAGE;
    this.refresh(true);
  }

  showMore() {
    this.limit = this.shown.length + PAGE;
    this.shown = this.passing.slice(0, this.limit);
    this.draw();
  }

  /** @param {Element} target */
  clicked(target) {
    const item = target.closest(".alert-main")?.closest(".alert");
    if (!item) return;
    this.select(item.dataset.uid);
    this.toggle(item.dataset.uid);
  }

  /** @param {string} uid */
  select(uid) {
    for (const known of [this.selected, uid]) {
      const entry = this.entries.get(known);
      if (entry) set(entry.element, "aria-current", known === uid || null);
    }
    this.selected = uid;
  }

  /** @param {number} step */
  move(step) {
    if (!this.shown.length) return;
    const index = this.shown.findIndex((alert) => alert.uid === this.selected);
    const next = index < 0 ? 0 : Math.min(Math.max(index + step, 0), this.shown.length - 1);
    const { uid } = this.shown[next];
    this.select(uid);
    this.entries.get(uid).element.scrollIntoView({ block: "nearest" });
  }

  enter() {
    this.toggle(this.selected);
  }

  /** @param {string} uid */
  toggle(uid) {
    const entry = this.entries.get(uid);
    if (!entry) return;
    if (entry.details) this.collapse(entry);
    else this.expand(entry);
  }

  expand(entry) {
    entry.details = alertDetails(entry.alert, { silences: maySilence() ? this.state.silences : undefined });
    entry.element.append(entry.details);
    set(entry.main, "aria-expanded", "true");
  }

  collapse(entry) {
    entry.details.remove();
    entry.details = null;
    set(entry.main, "aria-expanded", "false");
  }

  /** @returns {boolean} whether there was anything to close */
  close() {
    const open = [...this.entries.values()].filter((entry) => entry.details);
    for (const entry of open) this.collapse(entry);
    return open.length > 0;
  }

  get tally() {
    const all = this.state.alerts.length;
    return this.passing.length === all ? String(all || "") : `${this.passing.length} of ${all}`;
  }
}
