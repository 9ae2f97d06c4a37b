// The theme and palette choices of the user menu. boot.js applies them before the first paint.
import { recall, remember } from "./storage.js";

const CHOICES = { theme: "dark", palette: "standard" };

/** Tie the radio buttons of the user menu to the page. @param {ParentNode} menu */
export function themeMenu(menu) {
  for (const [name, standard] of Object.entries(CHOICES)) {
    const chosen = recall(name, standard);
    for (const input of menu.querySelectorAll(`input[name="${name}"]`)) {
      input.checked = input.value === chosen;
      input.addEventListener("change", () => choose(name, input.value));
    }
  }
}

/** @param {string} name @param {string} value */
function choose(name, value) {
  remember(name, value);
  document.documentElement.dataset[name] = value;
}
