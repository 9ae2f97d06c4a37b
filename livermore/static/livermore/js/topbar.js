// The live part of the top bar: exchange chips, the state of this page's own link, and the count of unseen alerts.
import { difference } from "./clock.js";
import { arrange, byId, h, icon, pageIsLive, set, setIcon, setText } from "./dom.js";
import { clockTime, duration } from "./format.js";
import { stateName } from "./stages.js";

/** @param {import("./socket.js").Link} link */
export function linkText({ state, since, retryAt }, now = Date.now()) {
  const retry = retryAt === null ? "connecting…" : `reconnecting in ${duration(Math.max(retryAt - now, 0) + 999)}`;
  switch (state) {
    case "live":
      return "live";
    case "connecting":
      return "connecting…";
    case "reconnecting":
      return retry;
    case "offline":
      return `offline since ${clockTime(since)} · ${retry}`;
    case "logged-out":
      return "logged out";
    default:
      return "not allowed";
  }
}

const LINK_HINTS = {
  live: "This page hears the server.",
  connecting: "Prices and states appear once the server has answered.",
  reconnecting: "What you see is from before the connection was lost. Click to try now.",
  offline: "What you see is from before the connection was lost. Click to try now.",
  "logged-out": "Your session has ended: nothing on this page is current.",
  forbidden: "Your account may not read the feed.",
};

export class TopBar {
  /** @param {{ onChip: (exchangeId: string) => void }} options */
  constructor({ onChip }) {
    this.onChip = onChip;
    this.chips = new Map();
    this.chipBox = byId("chips");
    this.linkButton = byId("link");
    this.linkWord = byId("link-text");
    this.linkSaid = byId("link-said");
    this.counts = [...document.querySelectorAll("#unseen, #tab-unseen")];
    this.bell = byId("bell");
    this.title = document.title;
  }

  /** @param {Map<string, object>} exchanges */
  paintChips(exchanges) {
    const wanted = [...exchanges.values()].map((card) => this.chipOf(card));
    for (const id of this.chips.keys()) if (!exchanges.has(id)) this.chips.delete(id);
    arrange(this.chipBox, wanted);
    set(this.chipBox, "data-many", null);
    for (const short of ["idle", "live"]) if (this.chipBox.scrollWidth > this.chipBox.clientWidth) set(this.chipBox, "data-many", short);
  }

  chipOf(card) {
    let chip = this.chips.get(card.exchange_id);
    if (!chip) {
      chip = { shape: icon("state-unknown"), name: h("span", { class: "name" }), word: h("span", { class: "aside state-word" }) };
      chip.badge = h("span", { class: "badge" }, "SIMULATED");
      chip.element = h("button", { type: "button", class: "chip" }, chip.shape, chip.name, chip.word, chip.badge);
      chip.element.addEventListener("click", () => this.onChip(card.exchange_id));
      this.chips.set(card.exchange_id, chip);
    }
    const state = stateName(card.state);
    set(chip.element, "data-state", state);
    set(chip.element, "title", `${card.name}: ${pageIsLive() ? "" : "was "}${state}`);
    setIcon(chip.shape, `state-${state}`);
    setText(chip.name, card.name);
    setText(chip.word, state);
    chip.badge.hidden = !card.simulated;
    return chip.element;
  }

  /** @param {import("./socket.js").Link} link @returns {boolean} whether the state of the link is another */
  paintLink(link) {
    const changed = document.body.dataset.link !== link.state;
    document.body.dataset.link = link.state;
    setText(this.linkWord, linkText(link));
    const skew = Math.round(difference() / 1000);
    const clocks =
      Math.abs(skew) >= 2 ? `\nThis computer’s clock is ${Math.abs(skew)} s ${skew > 0 ? "behind" : "ahead of"} the server’s.` : "";
    set(this.linkButton, "title", LINK_HINTS[link.state] + clocks);
    // Spoken on a change only, not at every second of a countdown.
    if (changed) setText(this.linkSaid, `Page ${linkText({ ...link, retryAt: null })}`);
    return changed;
  }

  /** @param {number} unseen */
  paintUnseen(unseen) {
    const text = unseen > 99 ? "99+" : String(unseen);
    for (const count of this.counts) {
      count.hidden = unseen === 0;
      setText(count, text);
    }
    set(this.bell, "aria-label", unseen ? `Alerts, ${unseen} not seen` : "Alerts");
    document.title = unseen ? `(${text}) ${this.title}` : this.title;
  }
}

/** What stands across the page when it cannot go on by itself. @param {import("./socket.js").Link} link @param {string} loginUrl */
export function paintNotice(link, loginUrl) {
  const notice = byId("notice");
  const anchor = byId("notice-link");
  const ended = link.state === "logged-out";
  notice.hidden = !ended && link.state !== "forbidden";
  if (notice.hidden) return;
  notice.dataset.level = "error";
  setText(byId("notice-text"), ended ? "Your session has ended. Nothing below is current." : "Your account may not read the feed.");
  anchor.hidden = false;
  anchor.href = `${loginUrl}?next=${encodeURIComponent(location.pathname + location.search)}`;
  setText(anchor, ended ? "Log in again" : "Log in with another account");
}
