// The stage matrix: symbols by timeframes. Keeps only the rows in sight in the page, and holds still under the pointer.
import { arrange, h, set } from "./dom.js";
import { createDetail, fillDetail } from "./matrix-detail.js";
import { createRow, hint, paintRow, paintState } from "./matrix-row.js";
import { follows, order, windowOf } from "./rows.js";
import { TIMEFRAMES } from "./stages.js";

const COLUMNS = [
  ["", "", "pin-cell"],
  ["symbol", "Symbol", "symbol"],
  ["exchange", "Exchange", "exchange"],
  ["state", "State", "state"],
  ["price", "Price", "price"],
  ["change", "24 h", "change"],
  ["volume", "Volume", "volume"],
  ...TIMEFRAMES.map((timeframe) => [timeframe, timeframe, "stage"]),
];

/** Rows that went out of sight are used again for those that come in. */
const SPARE_ROWS = 80;

/** Columns that are read from the largest down. */
const LARGEST_FIRST = new Set(["price", "change", "volume", ...TIMEFRAMES]);

export class Matrix {
  /**
   * @param {object} options
   * @param {import("./state.js").State} options.state
   * @param {import("./rows.js").View} options.view changed in place: sort and pins
   * @param {() => number} options.now
   * @param {() => void} options.onView the reader changed sort or pins
   * @param {Record<"scroller" | "table" | "head" | "rows", HTMLElement>} options.elements
   */
  constructor({ state, view, now, onView, elements }) {
    Object.assign(this, { state, view, now, onView, ...elements });
    /** @type {string[]} */
    this.keys = [];
    /** @type {Map<string, ReturnType<typeof createRow>>} */
    this.entries = new Map();
    this.spare = [];
    this.selected = "";
    this.open = "";
    this.detail = createDetail();
    this.openHeight = 0;
    this.rowHeight = 0;
    /** The part of ``keys`` that is in the page. */
    this.from = 0;
    this.to = 0;
    /** Whether an order was held back. */
    this.owed = false;
    /** What of the scroller is in sight, as it was told: asking for it while a frame is drawn has the page laid out twice. */
    this.top = 0;
    this.height = 0;
    this.buildHead();
    this.listen();
  }

  buildHead() {
    this.sorters = new Map();
    for (const [by, label, name] of COLUMNS) {
      const cell = h("span", { class: `cell ${name}`, role: "columnheader", "data-timeframe": TIMEFRAMES.includes(by) ? by : null });
      if (by) {
        const button = h("button", { type: "button", class: "sorter" }, label);
        button.addEventListener("click", () => this.sortBy(by));
        cell.append(button);
        this.sorters.set(by, cell);
      }
      this.head.append(cell);
    }
  }

  listen() {
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.rows.addEventListener("click", (event) => this.clicked(event.target));
    this.rows.addEventListener("pointerover", (event) => this.explain(event.target.closest(".cell")));
    this.scroller.addEventListener("pointerleave", () => this.reorder());
    new ResizeObserver(() => {
      this.top = this.scroller.scrollTop;
      this.height = this.scroller.clientHeight;
      this.measure();
      this.render();
    }).observe(this.scroller);
  }

  /** Comes once a frame, before it is drawn. */
  scrolled() {
    this.top = this.scroller.scrollTop;
    this.render(false);
  }

  /** First click the natural direction, second the other, third back to the standard order. @param {string} by */
  sortBy(by) {
    const first = LARGEST_FIRST.has(by);
    const { sort } = this.view;
    if (sort.by !== by) this.view.sort = { by, descending: first };
    else if (sort.descending === first) this.view.sort = { by, descending: !first };
    else this.view.sort = { by: "rank", descending: false };
    this.onView();
    this.reorder(true);
  }

  /** @param {Element} target */
  clicked(target) {
    const key = target.closest(".row")?.dataset.key ?? (target.closest(".detail") ? this.open : "");
    if (!key) return;
    if (target.closest(".pin, [data-action=pin]")) {
      this.pin(key);
      return;
    }
    if (target.closest(".detail")) return;
    this.select(key);
    this.toggle(key);
  }

  /** Titles are made when asked for: a thousand rows have ten thousand of them. @param {HTMLElement | null} cell */
  explain(cell) {
    const entry = cell && this.entries.get(cell.parentElement.dataset.key);
    if (entry) set(cell, "title", hint(cell, entry) || null);
  }

  /** Nothing may move under a pointer, nor while details are read. */
  get held() {
    return Boolean(this.open) || this.rows.matches(":hover");
  }

  /** @param {boolean} [asked] the reader did it: also where rows are held */
  reorder(asked = false) {
    this.owed = !asked && this.held && this.keys.every((key) => this.state.rows.has(key));
    if (this.owed) return;
    this.keys = order(this.state, this.view);
    if (this.open && !this.keys.includes(this.open)) this.close();
    for (const [by, cell] of this.sorters) {
      const { sort } = this.view;
      set(cell, "aria-sort", sort.by === by ? (sort.descending ? "descending" : "ascending") : null);
    }
    set(this.table, "aria-rowcount", this.keys.length + 1);
    if (asked) this.scroller.scrollTop = this.top = 0;
    this.render();
  }

  /** Show the columns of these timeframes. @param {string[]} timeframes */
  setTimeframes(timeframes) {
    const hidden = TIMEFRAMES.filter((timeframe) => !timeframes.includes(timeframe));
    set(this.table, "data-without", hidden.join(" ") || null);
    this.table.style.setProperty("--timeframes", String(TIMEFRAMES.length - hidden.length));
    this.render();
  }

  /** Heights come from the style sheet: they differ by pointer, width and zoom. */
  measure() {
    const row = this.entries.values().next().value;
    const height = row?.element.getBoundingClientRect().height ?? 0;
    const openHeight = this.open ? this.detail.element.getBoundingClientRect().height : 0;
    if (height === this.rowHeight && openHeight === this.openHeight) return;
    this.rowHeight = height;
    this.openHeight = openHeight;
    this.render();
  }

  /** @param {boolean} [all] false: rows that are in the page already stay as they are, only others come into sight */
  render(all = true) {
    if (!this.state.loaded) return;
    const { from, to, before, after } = windowOf({
      count: this.keys.length,
      rowHeight: this.rowHeight,
      top: this.top,
      height: this.height,
      openAt: this.open ? this.keys.indexOf(this.open) : -1,
      openHeight: this.openHeight,
    });
    if (!all && from === this.from && to === this.to) return;
    Object.assign(this, { from, to });
    const keys = this.keys.slice(from, this.rowHeight ? to : 50);
    this.recycle(new Set(keys));
    const elements = [];
    for (const [index, key] of keys.entries()) {
      const { element } = (!all && this.entries.get(key)) || this.paint(key);
      set(element, "aria-rowindex", from + index + 2);
      elements.push(element);
      if (key === this.open) elements.push(this.detail.element);
    }
    arrange(this.rows, elements);
    this.rows.style.paddingTop = `${before}px`;
    this.rows.style.paddingBottom = `${after}px`;
    if (!this.rowHeight) this.measure();
  }

  /** @param {Set<string>} wanted */
  recycle(wanted) {
    for (const [key, entry] of this.entries) {
      if (wanted.has(key)) continue;
      this.entries.delete(key);
      if (this.spare.length < SPARE_ROWS) this.spare.push(entry);
    }
  }

  /** @param {string} key */
  paint(key) {
    let entry = this.entries.get(key);
    if (!entry) {
      entry = this.spare.pop() ?? createRow();
      this.entries.set(key, entry);
    }
    const row = this.state.rows.get(key);
    paintRow(entry, key, row, this.state.exchanges.get(row.exchange_id), this.now(), this.state.own.get(key));
    set(entry.element, "aria-current", key === this.selected || null);
    set(entry.element, "data-open", key === this.open || null);
    set(entry.pin, "aria-pressed", String(this.view.pins.has(key)));
    return entry;
  }

  /** Repaint those of ``keys`` that are in sight. @param {Iterable<string>} keys */
  update(keys) {
    for (const key of keys) {
      if (this.entries.has(key) && this.state.rows.has(key)) this.paint(key);
      if (key === this.open) this.refreshDetail();
    }
  }

  /** Once a second: orders that follow moving values, and ages. */
  tick() {
    if (this.owed || follows(this.view)) this.reorder();
    for (const entry of this.entries.values()) paintState(entry, this.now());
  }

  // What the reader does.

  /** @param {string} key */
  select(key) {
    const previous = this.selected;
    this.selected = key;
    for (const changed of [previous, key]) if (this.entries.has(changed)) this.paint(changed);
  }

  /** @param {number} step */
  move(step) {
    const index = this.keys.indexOf(this.selected);
    const next = index < 0 ? 0 : Math.min(Math.max(index + step, 0), this.keys.length - 1);
    if (!this.keys.length) return;
    this.reveal(next);
    this.select(this.keys[next]);
  }

  /** @param {number} index */
  reveal(index) {
    const openAt = this.open ? this.keys.indexOf(this.open) : -1;
    const head = this.head.offsetHeight;
    const top = index * this.rowHeight + (openAt >= 0 && index > openAt ? this.openHeight : 0);
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + head + this.rowHeight > scrollTop + clientHeight) this.scroller.scrollTop = top + head + this.rowHeight - clientHeight;
    this.top = this.scroller.scrollTop;
    this.render();
  }

  enter() {
    if (this.keys.includes(this.selected)) this.toggle(this.selected);
  }

  /** @param {string} key */
  toggle(key) {
    const wasOpen = this.open === key;
    this.close();
    if (!wasOpen) {
      this.open = key;
      this.refreshDetail();
    }
    this.render();
    this.measure();
  }

  /** @returns {boolean} whether there was anything to close */
  close() {
    const wasOpen = Boolean(this.open);
    this.open = "";
    this.openHeight = 0;
    return wasOpen;
  }

  refreshDetail() {
    const row = this.state.rows.get(this.open);
    if (row) fillDetail(this.detail, row, this.state.exchanges.get(row.exchange_id), this.view.pins.has(this.open));
  }

  /** @param {string} [key] */
  pin(key = this.selected) {
    if (!this.state.rows.has(key)) return;
    if (!this.view.pins.delete(key)) this.view.pins.add(key);
    if (key === this.open) this.refreshDetail();
    this.onView();
    this.keys = order(this.state, this.view);
    this.render();
  }
}
