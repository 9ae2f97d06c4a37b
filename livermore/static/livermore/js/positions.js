// What the reader holds: a table, a form to enter it by hand, and reading it with the stored keys.
import { get, post, remove } from "./api.js";
import { byId, h, set, setText } from "./dom.js";
import { compact, exact, plural, price } from "./format.js";
import { symbolUrl } from "./links.js";

export class Positions {
  /**
   * @param {object} options
   * @param {Map<string, { name: string, simulated: boolean }>} options.exchanges
   * @param {import("./toast.js").Toast} options.toast
   * @param {() => string} options.exchange the one to begin with
   * @param {() => void} options.onChange what is held is another
   */
  constructor({ exchanges, toast, exchange, onChange }) {
    Object.assign(this, { exchanges, toast, exchange, onChange });
    this.root = byId("positions");
    this.form = document.getElementById("enter");
    this.form?.addEventListener("submit", (event) => this.enter(event));
    document.getElementById("sync")?.addEventListener("click", (event) => this.sync(event.target));
  }

  /** @param {boolean} shown */
  show(shown) {
    this.root.hidden = !shown;
    if (!shown) return;
    if (this.form && this.exchange()) this.form.exchange.value = this.exchange();
    this.load();
  }

  async load() {
    const { ok, data, message } = await get("/api/my/positions/");
    if (!ok) {
      this.toast.say("refused", message);
      return;
    }
    const table = byId("positions-table");
    table.tBodies[0].replaceChildren(...data.map((row) => this.line(row)));
    const worth = data.reduce((sum, row) => sum + (row.value ?? 0), 0);
    setText(byId("positions-tally"), data.length ? `${plural(data.length, "position")} · $ ${compact(worth)}` : "");
    table.hidden = data.length === 0;
    byId("positions-empty").hidden = data.length > 0;
    const settings = h("a", { href: "/settings/#exchanges-title" }, "Store a read-only key in the settings");
    byId("positions-empty").replaceChildren(h("p", {}, "No positions are known. ", settings, this.form ? ", or enter one by hand." : "."));
  }

  line(row) {
    const { name, simulated } = this.exchanges.get(row.exchange_id) ?? { name: row.exchange_id, simulated: false };
    const badge = () => simulated && h("span", { class: "badge" }, "SIMULATED");
    const value = row.value === null ? "–" : `$ ${row.value < 100 ? price(row.value, 2) : compact(row.value)}`;
    const from = row.by_hand ? "entered" : "your key";
    return h(
      "tr",
      {},
      h("th", { scope: "row", class: "symbol" }, h("span", {}, row.asset), h("span", { class: "under" }, h("span", {}, name), badge(), watchedAs(row, true))),
      h("td", { class: "exchange" }, name, badge()),
      h("td", { class: "right", title: exact(row.quantity) }, exact(Number(row.quantity.toPrecision(8)))),
      h("td", { class: "right", title: row.value === null ? "not known" : `$ ${exact(row.value)}` }, value),
      h("td", { class: "watched" }, watchedAs(row)),
      h("td", { class: "from muted" }, from),
      h("td", { class: "right action" }, row.by_hand && this.form && this.dropButton(row)),
    );
  }

  dropButton(row) {
    const button = h("button", { class: "button", type: "button", "aria-label": `Remove the position in ${row.asset}` }, "Remove");
    button.addEventListener("click", () => this.drop(row, button));
    return button;
  }

  async enter(event) {
    event.preventDefault();
    const values = new FormData(this.form);
    const quantity = Number(String(values.get("quantity")).replaceAll(/[\s,_]/g, ""));
    if (!(quantity > 0)) {
      this.tell("refused", "Write the quantity as a number above 0, e.g. 0.25.");
      this.form.quantity.focus();
      return;
    }
    const position = { exchange: values.get("exchange"), asset: values.get("asset"), quantity };
    const { ok, data, message } = await this.toast.during(this.form.querySelector("[type=submit]"), "Noting it…", post("/api/my/positions/", position));
    this.tell(ok ? "done" : "refused", ok ? `${data.asset}: noted, ${data.symbol ? `watched as ${data.symbol}` : "not watched: no market of it here"}.` : message);
    if (!ok) return;
    this.form.asset.value = this.form.quantity.value = "";
    this.changed();
  }

  async drop(row, button) {
    const { ok, message } = await this.toast.during(button, `Removing ${row.asset}…`, remove(`/api/my/positions/${row.id}/`));
    const back = () => this.restore(row);
    this.toast.say(ok ? "done" : "refused", ok ? `${row.asset}: the position is removed.` : message, ok ? back : undefined);
    this.changed();
  }

  async restore({ exchange_id: exchange, asset, quantity }) {
    const { ok, message } = await post("/api/my/positions/", { exchange, asset, quantity });
    this.toast.say(ok ? "done" : "refused", ok ? `${asset}: the position is back.` : message);
    this.changed();
  }

  changed() {
    this.load();
    this.onChange();
  }

  /** With the key of each exchange that has one. @param {HTMLButtonElement} button */
  async sync(button) {
    const { ok, data, message } = await get("/api/my/exchanges/");
    const keyed = ok ? data.filter((row) => row.key_state !== "none") : [];
    if (!keyed.length) {
      this.tell("refused", ok ? "No key is stored: add one in the settings." : message);
      return;
    }
    const said = [];
    let failed = false;
    for (const { exchange_id: id } of keyed) {
      const name = this.exchanges.get(id)?.name ?? id;
      const answer = await this.toast.during(button, `Asking ${name} what you hold…`, post("/api/my/positions/sync/", { exchange: id }));
      failed ||= !answer.ok || !answer.data.ok;
      said.push(`${name}: ${answer.data?.message ?? answer.message}`);
    }
    this.tell(failed ? "refused" : "done", said.join(" · "));
    this.changed();
  }

  tell(kind, message) {
    const said = byId("position-said");
    set(said, "data-kind", kind);
    setText(said, message);
  }
}

/** @param {object} row @param {boolean} [brief] where there is no room for why not */
function watchedAs(row, brief = false) {
  if (row.watched) return h("a", { href: symbolUrl(row.exchange_id, row.symbol) }, row.symbol);
  const why = row.symbol ? "worth less than your minimum" : "no market here";
  return h("span", { class: "muted", title: why }, brief ? "not watched" : `not watched: ${why}`);
}
