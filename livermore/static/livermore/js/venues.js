// "Where to act": which exchanges list the coin, may serve the reader, at what fee and delay; best first, asked for while the panel is open.
import { ApiError, read } from "./api.js";
import { h } from "./dom.js";
import { price } from "./format.js";
import { venuesUrl } from "./links.js";

const AGAIN = 10_000;

export class Venues {
  /**
   * @param {object} options
   * @param {string} options.coin @param {boolean} options.simulated
   * @param {Record<"panel" | "body", HTMLElement>} options.elements
   */
  constructor({ coin, simulated, elements }) {
    Object.assign(this, { coin, simulated, ...elements });
    this.askedAt = 0;
    this.panel.addEventListener("toggle", () => this.refresh());
  }

  async refresh() {
    if (!this.panel.open) return;
    this.askedAt = Date.now();
    try {
      this.body.replaceChildren(...parts(await read(venuesUrl(this.coin, this.simulated))));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.body.replaceChildren(h("p", { role: "alert" }, `It could not be read: ${error.message}`));
    }
  }

  /** Prices and delays go on: ask again, but not while a link in the panel has the focus. */
  tick() {
    if (Date.now() - this.askedAt > AGAIN && !this.body.contains(document.activeElement)) this.refresh();
  }
}

function parts(venues) {
  if (!venues.length) return [h("p", {}, "No exchange is active.")];
  return [
    h("ol", { class: "venues" }, ...venues.map(line)),
    h("p", { class: "muted" }, "Livermore places no order: a link opens the exchange’s own page. Delays are measured from the server’s host."),
  ];
}

function line({ place, name, price: last, reason, trade_url: url }) {
  return h(
    "li",
    { "data-place": place === null ? "none" : place },
    h("span", { class: "rank" }, place === null ? "–" : `${place}.`),
    url ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, name) : h("strong", {}, name),
    h("span", { class: "price" }, last === null ? "–" : price(last)),
    h("span", { class: "reason" }, reason),
  );
}
