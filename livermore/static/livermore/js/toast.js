// What a page says at its foot about what was done, with a way back; and a word while something takes long.
import { h, icon, set, setText } from "./dom.js";

const SHOWN_FOR = 8_000;
const LONG = 700;

export class Toast {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.text = h("span", { role: "status" });
    this.more = h("span");
    this.timer = 0;
    const close = h("button", { class: "icon-button", type: "button", "aria-label": "Close" }, icon("icon-close"));
    close.addEventListener("click", () => this.hide());
    root.replaceChildren(this.text, this.more, close);
  }

  /** What can be undone, and what went wrong, stays until the reader closes it. @param {"done" | "refused" | "working"} kind @param {string} message @param {() => void} [undo] */
  say(kind, message, undo) {
    clearTimeout(this.timer);
    this.root.hidden = false;
    set(this.root, "data-kind", kind);
    setText(this.text, message);
    this.more.replaceChildren();
    if (undo) {
      const button = h("button", { class: "button", type: "button" }, "Undo");
      button.addEventListener("click", () => (this.hide(), undo()), { once: true });
      this.more.append(button);
    }
    if (kind === "done" && !undo) this.timer = setTimeout(() => this.hide(), SHOWN_FOR);
  }

  hide() {
    clearTimeout(this.timer);
    this.root.hidden = true;
  }

  /**
   * Wait for an answer: ``control`` is busy meanwhile, and what takes long says what it is doing.
   * @template T @param {HTMLButtonElement | HTMLSelectElement} control @param {string} doing @param {Promise<T>} answer @returns {Promise<T>}
   */
  async during(control, doing, answer) {
    const long = setTimeout(() => this.say("working", doing), LONG);
    control.disabled = true;
    set(control, "aria-busy", "true");
    try {
      return await answer;
    } finally {
      clearTimeout(long);
      control.disabled = false;
      set(control, "aria-busy", null);
      if (this.root.dataset.kind === "working") this.hide();
    }
  }
}
