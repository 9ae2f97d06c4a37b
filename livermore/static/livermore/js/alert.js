// The page of one alert: what it said, and its receipt.
import { ApiError, get, read } from "./api.js";
import { now } from "./clock.js";
import { byId, h } from "./dom.js";
import { alertDetails, createAlert, paintAge } from "./feed-item.js";
import { alertUrl } from "./links.js";

const page = document.body.dataset;
/** @type {Record<string, string>} exchange_id -> its name: an alert also tells prices of others */
const names = JSON.parse(page.names);

async function show() {
  const box = byId("alert");
  try {
    const alert = await read(alertUrl(page.uid));
    const entry = createAlert(alert, {
      cardOf: (id) => ({ name: names[id] ?? id, simulated: id === page.exchange && page.simulated === "yes" }),
      decimalsOf: (id) => (id !== page.exchange || page.decimals === "" ? null : Number(page.decimals)),
      now: now(),
    });
    // Nothing to open: all of it is there.
    entry.main.disabled = true;
    entry.main.removeAttribute("aria-expanded");
    await paintDetails(entry);
    box.replaceChildren(entry.element);
    setInterval(() => paintAge(entry, now()), 1_000);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    box.replaceChildren(h("li", { class: "empty", role: "alert" }, `The alert could not be read: ${error.message}`));
  }
}

/** The details, with what silences the alert as it is now; there is no socket on this page. */
async function paintDetails(entry) {
  const found = page.maySilence === "yes" ? await get("/api/my/silences/") : null;
  const details = alertDetails(entry.alert, { whole: true, silences: found?.ok ? found.data : undefined, onSilence: () => paintDetails(entry) });
  entry.details?.remove();
  entry.details = details;
  entry.element.append(details);
}

show();
