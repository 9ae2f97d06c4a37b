// What the reader holds: a table, a form to enter it by hand, and reading it with the stored keys.
import { get, post, remove } from "./api.js";
import { byId, h, set, setText } from "./dom.js";
import { compact, exact, plural, price } from "./format.js";

export class Positions {
  /** @param {{ names: Map<string, HTMLOptionElement>, say: (kind: string, message: string) => void }} options names of exchanges */
  constructor({ names, say }) {
    Object.assign(this, { names, say });
    this.root = byId("positions");
    this.form = document.getElementById("enter");
    this.form?.addEventListener("submit", (event) => this.enter(event));
    document.getElementById("sync")?.addEventListener("click", (event) => this.sync(event.target));
  }

  /** @param {boolean} shown */
  show(shown) {
    this.root.hidden = !shown;
    if (shown) this.load();
  }

  async load() {
    const { ok, data, message } = await get("/api/my/positions/");
    if (!ok) {
      this.say("refused", message);
      return;
    }
    const table = byId("positions-table");
    table.tBodies[0].replaceChildren(...data.map((row) => this.line(row)));
    const worth = data.reduce((sum, row) => sum + (row.value ?? 0), 0);
    setText(byId("positions-tally"), data.length ? `${plural(data.length, "position")} · $ ${compact(worth)}` : "");
    table.hidden = data.length === 0;
    const empty = byId("positions-empty");
    empty.hidden = data.length > 0;
    empty.replaceChildren(
      h("p", {}, "No positions are known. ", h("a", { href: "/settings/" }, "Store a read-only key in the settings"), ", or enter one by hand."),
    );
  }

  line(row) {
    const watched = row.watched ? row.symbol : row.symbol ? "no: worth less than your minimum" : "no market here";
    const gone = h("button", { class: "button", "data-kind": "plain", type: "button" }, "Remove");
    gone.addEventListener("click", () => this.drop(row, gone));
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, row.asset),
      h("td", {}, this.names.get(row.exchange_id)?.text ?? row.exchange_id),
      h("td", { class: "right" }, exact(row.quantity)),
      h("td", { class: "right", title: row.value === null ? null : `$ ${exact(row.value)}` }, row.value === null ? "–" : `$ ${row.value < 100 ? price(row.value, 2) : compact(row.value)}`),
      h("td", { class: row.watched ? "" : "muted" }, watched),
      h("td", { class: "muted" }, row.by_hand ? "entered" : "your key"),
      h("td", { class: "right" }, row.by_hand && this.form && gone),
    );
  }

  async enter(event) {
    event.preventDefault();
    const values = new FormData(this.form);
    const quantity = Number(String(values.get("quantity")).replaceAll(/[\s,_]/g, ""));
    if (!(quantity > 0)) {
      this.tell("refused", "Write the quantity as a number above 0, e.g. 0.25.");
      return;
    }
    const { ok, data, message } = await post("/api/my/positions/", { exchange: values.get("exchange"), asset: values.get("asset"), quantity });
    this.tell(ok ? "done" : "refused", ok ? `${data.asset}: noted, watched as ${data.symbol || "nothing"}.` : message);
    if (!ok) return;
    this.form.asset.value = this.form.quantity.value = "";
    await this.load();
  }

  async drop(row, button) {
    set(button, "aria-busy", "true");
    const { ok, message } = await remove(`/api/my/positions/${row.id}/`);
    this.tell(ok ? "done" : "refused", ok ? `${row.asset}: removed.` : message);
    await this.load();
  }

  /** With the key of each exchange that has one. @param {HTMLElement} button */
  async sync(button) {
    set(button, "aria-busy", "true");
    const { ok, data, message } = await get("/api/my/exchanges/");
    const keyed = ok ? data.filter((row) => row.key_state !== "none") : [];
    const said = [];
    let failed = !ok;
    for (const { exchange_id: exchange } of keyed) {
      const answer = await post("/api/my/positions/sync/", { exchange });
      failed ||= !answer.ok || !answer.data.ok;
      said.push(`${this.names.get(exchange)?.text ?? exchange}: ${answer.data?.message ?? answer.message}`);
    }
    set(button, "aria-busy", null);
    if (ok && !keyed.length) said.push("No key is stored: add one in the settings.");
    this.tell(failed ? "refused" : "done", said.join(" · ") || message);
    await this.load();
  }

  tell(kind, message) {
    const said = byId("position-said");
    set(said, "data-kind", kind);
    setText(said, message);
  }
}
