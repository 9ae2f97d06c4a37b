// What every page has: the clock and the user menu.
import { clockTime, exactTime, zoneName } from "./format.js";
import { themeMenu } from "./theme.js";

const menu = document.getElementById("user-menu");
const clock = document.getElementById("clock");

if (menu) {
  themeMenu(menu);
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
    event.stopPropagation();
  });
}

if (clock) {
  const tell = () => {
    const now = Date.now();
    clock.textContent = `${clockTime(now)} ${zoneName(now)}`;
    clock.title = exactTime(now);
    setTimeout(tell, 1000 - (now % 1000));
  };
  tell();
}
