// Start, Stop and Restart of an exchange, with what came of it.
import { command } from "./commands.js";
import { h, icon, set, setText } from "./dom.js";

const WORKING = { start: "Starting…", stop: "Stopping…", restart: "Restarting…" };
const LABELS = { start: "Start", stop: "Stop", restart: "Restart" };
/** How long an answer stays: what went wrong is read more slowly. */
const SHOWN_FOR = { done: 8_000, refused: 30_000 };

export class CommandButtons {
  /** @param {string} url where commands go */
  constructor(url) {
    this.url = url;
    this.said = h("span", { class: "said", role: "status" });
    this.buttons = Object.fromEntries(Object.entries(LABELS).map(([action, label]) => [action, h("button", { class: "button", type: "button" }, label)]));
    for (const [action, button] of Object.entries(this.buttons)) button.addEventListener("click", () => this.send(action));
    this.element = h("div", { class: "controls" }, ...Object.values(this.buttons), this.said);
    /** @type {{ state: string, pid: number | null } | null} */
    this.card = null;
    this.working = "";
    this.timer = 0;
  }

  /** Only what makes sense now: a running exchange is stopped, an idle one is started. @param {{ state: string, pid: number | null }} card */
  paint(card) {
    this.card = card;
    const stopped = card.state === "idle" || (card.state === "offline" && card.pid === null);
    const shown = { start: stopped, stop: !stopped, restart: !stopped };
    for (const [action, button] of Object.entries(this.buttons)) {
      button.hidden = this.working ? action !== this.working : !shown[action];
      button.disabled = Boolean(this.working);
      set(button, "aria-busy", action === this.working ? "true" : null);
      setText(button, action === this.working ? WORKING[action] : LABELS[action]);
    }
  }

  /** @param {"start" | "stop" | "restart"} action */
  async send(action) {
    if (this.working || !this.card) return;
    this.working = action;
    this.say("working", "");
    this.paint(this.card);
    const { ok, message } = await command(this.url, action);
    this.working = "";
    const kind = ok ? "done" : "refused";
    this.say(kind, message);
    this.paint(this.card);
    this.timer = setTimeout(() => this.say("", ""), SHOWN_FOR[kind]);
  }

  say(kind, message) {
    clearTimeout(this.timer);
    set(this.said, "data-kind", kind || null);
    this.said.replaceChildren(...(kind === "done" ? [icon("icon-check")] : kind === "refused" ? [icon("icon-close")] : []), message);
  }
}
