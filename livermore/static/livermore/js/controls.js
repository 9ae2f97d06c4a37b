// The filter controls of matrix and feed: chips and selects that show a filter and change it.
import { KINDS } from "./alerts.js";
import { arrange, h, icon, set, setText } from "./dom.js";
import { STAGES, TIMEFRAMES } from "./stages.js";

/**
 * A row of chips that are on or off. None on means all.
 * @param {HTMLElement} root @param {Set<string>} chosen changed in place @param {() => void} onChange
 */
export function toggles(root, chosen, onChange) {
  const buttons = new Map();
  /** @param {[string, string][]} options value and label */
  return (options) => {
    const wanted = options.map(([value, label]) => {
      let button = buttons.get(value);
      if (!button) {
        button = h("button", { type: "button", class: "toggle" });
        button.addEventListener("click", () => {
          if (!chosen.delete(value)) chosen.add(value);
          onChange();
        });
        buttons.set(value, button);
      }
      setText(button, label);
      set(button, "aria-pressed", String(chosen.has(value)));
      return button;
    });
    arrange(root, wanted);
  };
}

/**
 * A select over ``options``. A value that is not among them stays, so that a link to a filter survives the wait for data.
 * @param {HTMLSelectElement} select @param {(value: string) => void} onChange
 */
export function choice(select, onChange) {
  select.addEventListener("change", () => onChange(select.value));
  /** @param {[string, string][]} options @param {string} value */
  return (options, value) => {
    const known = options.some(([each]) => each === value) ? options : [...options, [value, value]];
    const written = JSON.stringify(known);
    if (select.dataset.options !== written) {
      select.dataset.options = written;
      select.replaceChildren(...known.map(([each, label]) => h("option", { value: each }, label)));
    }
    select.value = value;
    set(select, "data-filtering", value !== "");
  };
}

export const TIMEFRAME_OPTIONS = TIMEFRAMES.map((timeframe) => [timeframe, timeframe]);
export const KIND_OPTIONS = Object.entries(KINDS);

/** @param {HTMLElement} root */
export function paintLegend(root) {
  const entries = Object.entries(STAGES).map(([stage, meaning]) =>
    h("span", { class: "stage-name", "data-stage": stage, title: `${stage}: ${meaning}` }, icon(`stage-${stage}`), stage),
  );
  root.replaceChildren(...entries);
}
