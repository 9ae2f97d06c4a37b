// Acknowledge and snooze: the buttons under an alert.
import { post, remove } from "./api.js";
import { now } from "./clock.js";
import { h, set, setText } from "./dom.js";
import { clockTime } from "./format.js";
import { silencesOf } from "./silences.js";

const URL = "/api/my/silences/";
const SPANS = [
  ["", "Snooze…"],
  ["60", "for 1 h"],
  ["240", "for 4 h"],
  ["1440", "for a day"],
  ["10080", "for a week"],
];

/** @param {string} uid */
export const acknowledge = (uid) => post(URL, { kind: "ack", uid });

/** All timeframes of its symbol. @param {string} uid @param {number} minutes */
export const snooze = (uid, minutes) => post(URL, { kind: "snooze", uid, minutes });

/** @param {number} id */
export const endSilence = (id) => remove(`${URL}${id}/`);

/**
 * @param {object} alert @param {import("./silences.js").Silence[]} silences
 * @param {() => void} [onChange] where no socket brings the change
 * @returns {HTMLElement[]}
 */
export function silenceControls(alert, silences, onChange = () => {}) {
  const { ack, snooze: asleep } = silencesOf(alert, silences, now());
  const said = h("span", { class: "said", role: "status" });
  const act = async (control, asked) => {
    control.disabled = true;
    set(control, "aria-busy", "true");
    const { ok, message } = await asked;
    control.disabled = false;
    set(control, "aria-busy", null);
    set(said, "data-kind", ok ? "done" : "refused");
    setText(said, message);
    if (ok) onChange();
  };
  const seen = h(
    "button",
    {
      class: "button",
      type: "button",
      "aria-pressed": Boolean(ack),
      title: ack ? "Be told of it again" : `No more notifications of ${alert.symbol} ${alert.timeframe} until it is no longer ${alert.stage}`,
    },
    ack ? "✓ Acknowledged" : "Acknowledge",
  );
  seen.addEventListener("click", () => act(seen, ack ? endSilence(ack.id) : acknowledge(alert.uid)));
  return [seen, asleep ? wakeButton(alert, asleep, act) : snoozeChoice(alert, act), said];
}

function wakeButton(alert, asleep, act) {
  const title = `Be told of ${alert.symbol} again`;
  const button = h("button", { class: "button", type: "button", "aria-pressed": true, title }, `✓ Snoozed until ${clockTime(asleep.until).slice(0, 5)}`);
  button.addEventListener("click", () => act(button, endSilence(asleep.id)));
  return button;
}

function snoozeChoice(alert, act) {
  const options = SPANS.map(([value, text]) => h("option", { value }, text));
  const choice = h("select", { class: "field snooze", "aria-label": `Snooze ${alert.symbol}` }, ...options);
  choice.addEventListener("change", () => choice.value && act(choice, snooze(alert.uid, Number(choice.value))).then(() => (choice.value = "")));
  return choice;
}
