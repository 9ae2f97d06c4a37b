// What this browser tells its reader of an open page: a notification and a tone, once, however many tabs are open.
import { maySound, play, prepare, volume } from "./sound.js";
import { recall, remember } from "./storage.js";

const HELD = 60_000; // a tab that hears later than this repeats it
const WORKER = "/service-worker.js";

/** Whether this browser has what is needed, which it gives to https and localhost only. */
export const able = () => isSecureContext && "Notification" in window && "locks" in navigator;

/** Switched on in this browser. */
export const wanted = () => recall("notify") === "on";

/** @param {boolean} on */
export const want = (on) => remember("notify", on ? "on" : "off");

/** @returns {Promise<ServiceWorkerRegistration | null>} null where there can be none, as in some private windows */
export async function worker() {
  try {
    await navigator.serviceWorker.register(WORKER, { updateViaCache: "none" });
    return await navigator.serviceWorker.ready;
  } catch {
    return null;
  }
}

const telling = () => able() && wanted() && Notification.permission === "granted";

for (const event of ["pointerdown", "keydown"]) addEventListener(event, () => telling() && prepare(), { once: true, capture: true });

/**
 * Tell of something, if this browser is to.
 * @param {{ title: string, body: string, path: string, tag: string, silent: boolean, at: number }} note
 */
export async function announce(note) {
  if (!telling()) return;
  const sounds = !note.silent && volume() > 0 && maySound();
  if (sounds) first(`sound:${note.tag}`, play); // of the tabs that may
  await first(`notification:${note.tag}`, () => show(note, sounds || !volume()));
}

/** Do something in the first tab that comes to it, and in no other. @param {string} what @param {() => Promise<unknown>} work */
function first(what, work) {
  return new Promise((resolve) => {
    navigator.locks.request(`livermore.${what}`, { ifAvailable: true }, async (lock) => {
      try {
        if (lock) await work();
      } finally {
        resolve(undefined);
      }
      if (lock) await new Promise((later) => setTimeout(later, HELD));
    });
  });
}

/** @param {boolean} quiet whether the system is to make no sound of its own */
async function show({ title, body, path, tag, silent, at }, quiet) {
  const options = { body, tag, silent: silent || quiet, timestamp: at, data: { path } };
  const registration = await worker();
  if (registration) {
    await registration.showNotification(title, options);
    return;
  }
  const shown = new Notification(title, options);
  shown.addEventListener("click", () => (window.focus(), location.assign(path)));
}
