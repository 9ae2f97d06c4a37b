// The theme, the palette and the time zone. boot.js and the server apply them before the first paint; here they follow a change.
import { patch } from "./api.js";
import { setZone } from "./format.js";
import { recall, remember } from "./storage.js";

const CHOICES = { theme: "dark", palette: "standard" };

/** Tie the radio buttons of the user menu to the page, and to the reader's settings. @param {ParentNode} menu */
export function themeMenu(menu) {
  for (const name of Object.keys(CHOICES)) {
    for (const input of menu.querySelectorAll(`input[name="${name}"]`)) {
      input.checked = input.value === chosen(name);
      input.addEventListener("change", () => {
        show(name, input.value);
        patch("/api/my/settings/", { [name]: input.value }); // where it cannot be kept, this browser remembers it
      });
    }
  }
  setZone(document.documentElement.dataset.zone ?? "");
}

/** @param {{ theme: string, palette: string, time_zone: string }} settings */
export function followSettings({ theme, palette, time_zone: zone }) {
  show("theme", theme);
  show("palette", palette);
  setZone(zone);
}

/** @param {string} name */
function chosen(name) {
  return document.documentElement.dataset[name] ?? recall(name, CHOICES[name]);
}

/** @param {string} name @param {string} value */
function show(name, value) {
  remember(name, value);
  document.documentElement.dataset[name] = value;
  for (const input of document.querySelectorAll(`#user-menu input[name="${name}"]`)) input.checked = input.value === value;
}
