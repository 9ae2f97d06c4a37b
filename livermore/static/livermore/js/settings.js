// The settings page: times in the reader's zone, and a word while a form is at work.
import "./site.js"; // first: it sets the zone
import { set, setText } from "./dom.js";
import "./notifications.js";
import { ago, exactTime } from "./format.js";

function tellAges() {
  for (const element of document.querySelectorAll("time[data-at]")) {
    const at = Number(element.dataset.at);
    setText(element, ago(Date.now() - at));
    set(element, "title", exactTime(at));
  }
}

tellAges();
setInterval(tellAges, 1_000);

// What was refused is what the reader looks for.
document.querySelector(".has-errors :is(input, select, textarea)")?.focus();

for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", () => {
    for (const button of form.querySelectorAll("button[type=submit]")) {
      set(button, "aria-busy", "true");
      if (button.dataset.working) setText(button, button.dataset.working);
      // After the browser has read the form: a disabled button is not sent.
      setTimeout(() => (button.disabled = true));
    }
  });
}

// Back to a page that was left by its form: its buttons work again.
addEventListener("pageshow", (event) => event.persisted && location.reload());
