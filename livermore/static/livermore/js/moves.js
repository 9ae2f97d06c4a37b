// What moves on another exchange and has not moved yet where the reader buys: a line each, for as long as it is news.
import { moveText } from "./across.js";
import { arrange, h, setText } from "./dom.js";
import { ago, exactTime, percent } from "./format.js";
import { symbolUrl } from "./links.js";

const NEWS = 180_000;
const MOST = 3;

export class Moves {
  /** @param {{ root: HTMLElement, state: import("./state.js").State, now: () => number }} options */
  constructor({ root, state, now }) {
    Object.assign(this, { root, state, now });
    this.entries = new Map();
  }

  /** Also once a second: ages, and what is no news any more. */
  paint() {
    const now = this.now();
    const shown = this.state.moves.filter((move) => now - move.at < NEWS).slice(0, MOST);
    const keys = new Set(shown.map(keyOf));
    for (const key of this.entries.keys()) if (!keys.has(key)) this.entries.delete(key);
    arrange(
      this.root,
      shown.map((move) => this.entryOf(move).element),
    );
    for (const { move, age } of this.entries.values()) setText(age, ago(now - move.at));
  }

  entryOf(move) {
    const known = this.entries.get(keyOf(move));
    if (known) return known;
    const nameOf = (id) => this.state.exchanges.get(id)?.name ?? id;
    const age = h("time", { class: "muted", title: exactTime(move.at) });
    const element = h(
      "li",
      { title: move.grouped ? move.coins.join(", ") : null },
      h("strong", {}, move.grouped ? moveText(move, nameOf) : h("a", { href: symbolUrl(move.exchange_id, move.symbols[0]) }, moveText(move, nameOf))),
      h("span", { class: "figure", "data-direction": move.direction }, percent(move.move_bps / 100)),
      h(
        "span",
        { class: "muted" },
        `in ${Math.round(move.window_ms / 1000)} s, usually ${percent(move.usual_bps / 100)}; ${nameOf(move.other_id)} ${percent(move.other_bps / 100)}`,
      ),
      age,
    );
    const entry = { move, element, age };
    this.entries.set(keyOf(move), entry);
    return entry;
  }
}

function keyOf({ exchange_id: id, at, coins }) {
  return `${id}|${at}|${coins.join()}`;
}
