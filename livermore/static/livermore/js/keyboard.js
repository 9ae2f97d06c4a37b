// The keys of the dashboard.

/** @param {EventTarget | null} target */
function types(target) {
  return target instanceof HTMLElement && target.matches("input:not([type=radio]), select, textarea, [contenteditable]");
}

/**
 * Enter belongs to the control that has the focus; to the selected row only where none has.
 * @param {EventTarget | null} target
 */
function activates(target) {
  return target instanceof HTMLElement && target.closest("button, a, summary, label, select") !== null;
}

/**
 * @param {Record<string, () => void>} actions by key; "Escape" works in fields too
 */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const { key, target } = event;
    if (!Object.hasOwn(actions, key)) return;
    if (types(target) && key !== "Escape") return;
    if (key === "Enter" && activates(target)) return;
    event.preventDefault();
    actions[key]();
  });
}
