// Notifications on the settings page: channels, when to be left alone, and what is silenced.
import { get, patch, post, remove } from "./api.js";
import { byId, h, set, setText } from "./dom.js";
import { ago, clockTime, exactTime } from "./format.js";
import { NotifySwitch } from "./notify-switch.js";
import { forgetPush, pushId } from "./push.js";
import { endSilence } from "./silence.js";
import { silenceText } from "./silences.js";

const CHANNELS = "/api/my/channels/";
const LOOK_EVERY = 400;
const LOOK_FOR = 70_000;
const ENDED = new Set(["sent", "failed", "expired"]);

const section = document.getElementById("notifications");
/** @type {NotifySwitch} */
let here;
if (section) start();

function start() {
  const kind = byId("channel-kind");
  kind.addEventListener("change", paintHelp);
  paintHelp();
  byId("channel-form").addEventListener("submit", add);
  byId("notify-form").addEventListener("submit", save);
  here = new NotifySwitch(byId("this-browser"), { onPush: loadChannels });
  here.load();
  loadChannels();
  loadSettings();
  loadSilences();
  setInterval(() => document.hidden || loadSettings(true), 15_000);
}

function tell(element, kind, text) {
  set(element, "data-kind", kind);
  setText(element, text);
}

/** Wait with a busy button. @template T @param {HTMLButtonElement} button @param {Promise<T>} answer @returns {Promise<T>} */
async function during(button, answer) {
  button.disabled = true;
  set(button, "aria-busy", "true");
  try {
    return await answer;
  } finally {
    button.disabled = false;
    set(button, "aria-busy", null);
  }
}

// Channels

function paintHelp() {
  const { label, example, help } = byId("channel-kind").selectedOptions[0].dataset;
  setText(byId("channel-address-label"), label);
  set(byId("channel-address"), "placeholder", example);
  setText(byId("channel-help"), `${help} Stored encrypted, never shown again.`);
}

async function loadChannels() {
  const { ok, data, message } = await get(CHANNELS);
  const list = byId("channels");
  byId("channels-empty").hidden = !ok || data.length > 0;
  if (ok && !data.length) byId("channel-new").open = true;
  list.replaceChildren(...(ok ? data.map(channelItem) : [h("li", { class: "field-error", role: "alert" }, `The channels could not be read: ${message}`)]));
}

function channelItem(channel) {
  const item = h("li", { class: "channel", "data-off": channel.enabled ? null : "yes" });
  const said = h("p", { class: "said", role: "status" });
  const change = async (control, changes) => {
    control.disabled = true;
    const { ok, data, message } = await patch(`${CHANNELS}${channel.id}/`, changes);
    control.disabled = false;
    if (!ok) {
      tell(said, "refused", message);
      return;
    }
    const fresh = channelItem(data);
    item.replaceWith(fresh);
    const same = control.dataset.control && fresh.querySelector(`[data-control="${control.dataset.control}"]`);
    if (same) same.focus();
  };
  const parts = [head(channel), facts(channel), !channel.ended && choices(channel, change), said, buttons(channel, item, said)];
  item.append(...parts.filter(Boolean));
  return item;
}

function head({ name, service }) {
  return h("div", { class: "channel-head" }, h("strong", {}, name), name !== service && h("span", { class: "muted" }, service));
}

function facts({ last_sent_at: sent, last_error: error, last_error_at: at, hold_until: hold }) {
  const time = (value) => h("time", { "data-at": value, title: exactTime(value) }, ago(Date.now() - value));
  const waits = hold > Date.now() ? `, tried again at ${clockTime(hold)}` : "";
  return h(
    "p",
    { class: "channel-facts" },
    sent ? h("span", { class: "muted" }, "last sent ", time(sent)) : h("span", { class: "muted" }, "nothing sent yet"),
    error && h("span", { class: "field-error" }, `${error} `, at && time(at), waits),
  );
}

function choices(channel, change) {
  const tick = (name, text, title) => {
    const input = h("input", { type: "checkbox", "data-control": name });
    input.checked = channel[name];
    input.addEventListener("change", () => change(input, { [name]: input.checked }));
    return h("label", { class: "option", title }, input, text);
  };
  const frames = byId("channel-timeframes").content.cloneNode(true);
  const inputs = [...frames.querySelectorAll("input")];
  for (const input of inputs) {
    input.checked = channel.timeframes.includes(input.value);
    input.dataset.control = input.value;
    input.addEventListener("change", () => {
      const chosen = inputs.filter((one) => one.checked).map((one) => one.value);
      if (chosen.length) change(input, { timeframes: chosen });
      else input.checked = true; // one has to be there: to have none, switch the channel off
    });
  }
  return h(
    "div",
    { class: "options" },
    tick("enabled", "On", "Off: nothing is sent there"),
    h("fieldset", { class: "frames", "aria-label": `Timeframes of ${channel.name}` }, frames),
    tick("mine_only", "Mine only", "Only symbols that you hold or added"),
  );
}

function buttons(channel, item, said) {
  const test = h("button", { class: "button", type: "button", "aria-label": `Test ${channel.name}` }, "Test");
  test.addEventListener("click", () => during(test, tryOut(channel, said)));
  const drop = h("button", { class: "button", type: "button", "aria-label": `Remove ${channel.name}` }, "Remove");
  drop.addEventListener("click", async () => {
    if (drop.dataset.sure === undefined) {
      // Its address is known to nobody else here: it cannot be undone.
      drop.dataset.sure = "";
      setText(drop, "Remove for good?");
      setTimeout(() => (delete drop.dataset.sure, setText(drop, "Remove")), 5_000);
      return;
    }
    const { ok, message } = await during(drop, remove(`${CHANNELS}${channel.id}/`));
    if (!ok) {
      tell(said, "refused", message);
      return;
    }
    item.remove();
    if (channel.id === pushId()) {
      await forgetPush();
      here.load();
    }
    byId("channels-empty").hidden = byId("channels").children.length > 0;
  });
  return h("div", { class: "actions" }, !channel.ended && test, channel.kind !== "push" && replacement(channel, item), drop);
}

function replacement(channel, item) {
  const input = h("input", {
    class: "field secret", required: true, maxlength: 2000, autocomplete: "off", autocapitalize: "none", spellcheck: "false",
    "aria-label": `New address of ${channel.name}`, placeholder: "The new address",
  }); // prettier-ignore
  const said = h("p", { class: "said", role: "status" });
  const store = h("button", { class: "button", type: "submit" }, "Replace");
  const form = h("form", { autocomplete: "off" }, input, store, said);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { ok, data, message } = await during(store, patch(`${CHANNELS}${channel.id}/`, { address: input.value }));
    if (ok) item.replaceWith(channelItem(data));
    else tell(said, "refused", message);
  });
  return h("details", { class: "replace" }, h("summary", { class: "button" }, "Replace the address"), form);
}

/** What really happened to a test message: look until it is known. */
async function tryOut(channel, said) {
  tell(said, "working", "Sending…");
  const { ok, data, message } = await post(`${CHANNELS}${channel.id}/test/`, {});
  if (!ok) {
    tell(said, "refused", message);
    return;
  }
  const began = Date.now();
  let row = data;
  while (!ENDED.has(row.state) && Date.now() - began < LOOK_FOR) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
    const answer = await get(`/api/my/deliveries/${row.id}/`);
    if (answer.ok) row = answer.data;
    tell(said, "working", `Sending… ${Math.round((Date.now() - began) / 1000)} s`);
  }
  if (row.state === "sent") tell(said, "done", `Taken by the other end after ${((row.sent_at - row.created_at) / 1000).toFixed(1)} s: look there.`);
  else tell(said, "refused", row.last_error || "It was not sent: the delivery process does not answer.");
}

async function add(event) {
  event.preventDefault();
  const form = event.target;
  const said = byId("channel-said");
  const values = { kind: form.kind.value, name: form.name.value, address: form.address.value };
  tell(said, "working", "Storing it…");
  const { ok, data, message } = await during(form.querySelector("[type=submit]"), post(CHANNELS, values));
  if (!ok) {
    tell(said, "refused", message);
    form.address.focus();
    return;
  }
  tell(said, "done", "");
  form.reset();
  paintHelp();
  byId("channel-new").open = false;
  byId("channels-empty").hidden = true;
  const item = channelItem(data);
  byId("channels").append(item);
  tell(item.querySelector(".said"), "done", "Stored. Test it.");
  item.querySelector(".actions .button").focus();
}

// When

async function loadSettings(quietly = false) {
  const { ok, data, message } = await get("/api/my/notifications/");
  if (ok) byId("delivering").hidden = data.delivering !== false;
  if (quietly) return;
  if (!ok) {
    tell(byId("notify-said"), "refused", message);
    return;
  }
  const form = byId("notify-form");
  form.quiet.checked = data.quiet_from !== null;
  if (data.quiet_from !== null) [form.quiet_from.value, form.quiet_to.value] = [data.quiet_from, data.quiet_to];
  form.group_from.value = data.group_from;
  form.health.checked = data.health;
  setText(byId("quiet-zone"), `In your zone, ${zoneInUse().replaceAll("_", " ")}. What comes meanwhile is in the history.`);
  byId("repeats").replaceChildren(...data.repeats.flatMap(repeatChoice));
}

/** The reader's own zone, or, where none is set, the one the browser is in: the server has to know it. */
function zoneInUse() {
  return section.dataset.zone || Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

const REPEATS = [
  ["stage", "once until the stage changes"],
  ["every", "every alert"],
  ["hour", "at most once an hour"],
  ["day", "at most once a day"],
  ["never", "not at all"],
];

function repeatChoice({ rule, name, repeat }) {
  const id = `repeat-${rule}`;
  const options = REPEATS.map(([value, text]) => h("option", { value, selected: value === repeat }, text));
  return [h("label", { for: id }, `Rule “${name}”, for each symbol and timeframe`), h("select", { class: "field", id, "data-rule": rule }, ...options)];
}

async function save(event) {
  event.preventDefault();
  const form = event.target;
  const said = byId("notify-said");
  const quiet = form.quiet.checked;
  const changes = {
    quiet_from: quiet ? form.quiet_from.value : null,
    quiet_to: quiet ? form.quiet_to.value : null,
    zone: zoneInUse(),
    group_from: Number(form.group_from.value),
    health: form.health.checked,
    repeats: [...byId("repeats").querySelectorAll("select")].map((choice) => ({ rule: Number(choice.dataset.rule), repeat: choice.value })),
  };
  const { ok, message } = await during(form.querySelector("[type=submit]"), patch("/api/my/notifications/", changes));
  tell(said, ok ? "done" : "refused", ok ? "Saved." : message);
}

// What is silenced

async function loadSilences() {
  const { ok, data, message } = await get("/api/my/silences/");
  const list = byId("silences");
  list.replaceChildren(...(ok ? data.map(silenceItem) : [h("li", { class: "field-error", role: "alert" }, message)]));
  byId("silences-empty").hidden = !ok || data.length > 0;
}

function silenceItem(silence) {
  const end = h("button", { class: "button", type: "button", "aria-label": `Be told of ${silence.symbol} again` }, "End");
  end.addEventListener("click", async () => {
    const { ok } = await during(end, endSilence(silence.id));
    if (ok) loadSilences();
  });
  const until = silence.until ? h("time", { class: "muted", title: exactTime(silence.until) }, ` until ${clockTime(silence.until)}`) : null;
  return h("li", {}, h("span", {}, `${silence.exchange_id} ${silenceText(silence)}`, until), end);
}
