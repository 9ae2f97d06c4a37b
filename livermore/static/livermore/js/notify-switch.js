// The switches of this browser: told on open pages, how loud, and while no page is open. On the settings page and under the bell.
import { get, patch } from "./api.js";
import { h, set, setText } from "./dom.js";
import { stateOf, stateText } from "./notify-words.js";
import { able, want, wanted, worker } from "./notify.js";
import { forgetPush, keepPush, mayPush, pushId, pushOff, pushOn } from "./push.js";
import { maySound, play, prepare, setVolume, volume } from "./sound.js";

const SETTINGS = "/api/my/notifications/";

export class NotifySwitch {
  /** @param {HTMLElement} root @param {{ onPush?: () => void }} [options] ``onPush``: the list of browsers has changed */
  constructor(root, { onPush } = {}) {
    this.onPush = onPush;
    this.pages = false;
    this.here = false;
    this.pageSwitch = toggle("On open pages", () => this.switchPages());
    this.pushSwitch = toggle("Also while none is open", () => this.switchPush());
    this.volume = h("input", { type: "range", min: 0, max: 100, step: 5, value: volume(), "aria-label": "Volume of the tone" });
    this.volume.addEventListener("input", () => (setVolume(Number(this.volume.value)), this.paint()));
    this.try = h("button", { class: "button", type: "button" }, "Hear it");
    this.try.addEventListener("click", () => play());
    this.level = h("output", { class: "muted" });
    const sound = h("div", { class: "notify-row" }, h("span", {}, "Tone"), this.volume, this.level, this.try);
    root.replaceChildren(this.pageSwitch.row, this.pageSwitch.said, sound, this.pushSwitch.row, this.pushSwitch.said);
    for (const event of ["pointerdown", "keydown"]) addEventListener(event, () => setTimeout(() => this.paint()), { once: true });
    this.paint();
  }

  /** What the server has of it. */
  async load() {
    await keepPush().catch(() => {});
    const [settings, browsers] = await Promise.all([get(SETTINGS), pushId() ? get("/api/my/browsers/") : null]);
    if (settings.ok) this.pages = settings.data.pages;
    const own = browsers?.ok ? browsers.data.find(({ id }) => id === pushId()) : null;
    this.here = Boolean(own) && !own.ended && own.enabled;
    if (browsers?.ok && (!own || own.ended)) {
      // Removed elsewhere, ended by the push service, or another account is logged in now.
      await forgetPush();
      tell(this.pushSwitch, own ? "The browser had ended it: switch it on again." : "");
    }
    this.paint();
  }

  get state() {
    const permission = able() ? Notification.permission : "default";
    return stateOf({ able: able(), permission, wanted: wanted(), pages: this.pages });
  }

  paint() {
    const { state } = this;
    const shut = state === "none" || state === "blocked";
    setText(this.pageSwitch.state, stateText(state, { mute: volume() === 0, maySound: maySound() }));
    set(this.pageSwitch.row, "data-state", state);
    settle(this.pageSwitch, state === "on", shut);
    setText(this.level, volume() ? `${volume()} %` : "mute");
    settle(this.pushSwitch, this.here && !shut, shut || !mayPush());
    const words = mayPush() ? "Off." : "Not possible in this browser: on iPhone and iPad it would have to be on the home screen first.";
    setText(this.pushSwitch.state, shut ? "" : this.here ? "On: through the push service of this browser, encrypted." : words);
  }

  /** In the click: a browser asks its reader for a permission then only. */
  async switchPages() {
    const on = this.pageSwitch.input.checked;
    prepare();
    await this.during(this.pageSwitch, async () => {
      if (!on) {
        want(false);
        return "";
      }
      if (!(await permitted())) return "";
      const { ok, message } = await patch(SETTINGS, { pages: true });
      if (!ok) return message;
      this.pages = true;
      want(true);
      return (await worker()) ? "" : "Where a click on a notification leads depends on this window: it allows no service worker.";
    });
  }

  async switchPush() {
    const on = this.pushSwitch.input.checked;
    await this.during(this.pushSwitch, async () => {
      if (on && !(await permitted())) return "";
      const problem = on ? await pushOn() : await pushOff();
      this.here = on && !problem;
      if (!problem) this.onPush?.();
      return problem;
    });
  }

  async during(part, work) {
    part.busy = part.input.disabled = true;
    set(part.row, "aria-busy", "true");
    tell(part, "");
    tell(part, await work());
    set(part.row, "aria-busy", null);
    part.busy = false;
    this.paint();
    part.input.focus();
  }
}

async function permitted() {
  return (await Notification.requestPermission()) === "granted";
}

/** What is being switched stays as the reader put it until it is known what became of it, whatever else is painted meanwhile. */
function settle({ input, busy }, checked, disabled) {
  if (busy) return;
  input.checked = checked;
  input.disabled = disabled;
}

function tell({ said }, problem) {
  set(said, "data-kind", "refused");
  setText(said, problem);
}

function toggle(text, onChange) {
  const input = h("input", { type: "checkbox", role: "switch" });
  const state = h("span", { class: "muted", role: "status" });
  const row = h("div", { class: "notify-row" }, h("label", { class: "option" }, input, text), state);
  input.addEventListener("change", onChange);
  return { input, busy: false, state, row, said: h("p", { class: "said", role: "status" }) };
}
