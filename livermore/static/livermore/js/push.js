// Web Push: this browser is told while no page of ours is open.
import { get, post, remove } from "./api.js";
import { browserName } from "./notify-words.js";
import { able, worker } from "./notify.js";
import { recall, remember } from "./storage.js";

const BROWSERS = "/api/my/browsers/";

export const mayPush = () => able() && "serviceWorker" in navigator && "PushManager" in window;

/** The id of this browser among the reader's, as it was when it was switched on; 0 for none. */
export const pushId = () => Number(recall("push")) || 0;

/** Ask the push service for a subscription, and give it to the server. @returns {Promise<string>} what went wrong; "" where nothing did */
export async function pushOn() {
  const registration = await worker();
  if (!registration) return "This browser allows no service worker here: private windows often do not.";
  const { ok, data, message } = await get(`${BROWSERS}key/`);
  if (!ok) return message;
  try {
    return await give(await subscribe(registration, data.key), "");
  } catch (error) {
    return error.name === "NotAllowedError"
      ? "The browser does not allow it: allow notifications for this site, and reload."
      : "The push service of this browser does not answer (in a private window it never does): try again later, or use another channel.";
  }
}

async function subscribe(registration, key) {
  const options = { userVisibleOnly: true, applicationServerKey: key };
  try {
    return await registration.pushManager.subscribe(options);
  } catch (error) {
    if (error.name !== "InvalidStateError") throw error;
    await (await registration.pushManager.getSubscription())?.unsubscribe(); // it was made with another key of ours
    return registration.pushManager.subscribe(options);
  }
}

async function give(subscription, replaces) {
  const { endpoint, keys } = subscription.toJSON();
  const { ok, data, message } = await post(BROWSERS, { endpoint, keys, replaces, name: browserName(navigator.userAgent) });
  if (!ok) return message;
  remember("push", String(data.id));
  remember("push-endpoint", endpoint);
  return "";
}

/** @returns {Promise<string>} what went wrong; "" where nothing did */
export async function pushOff() {
  const id = pushId();
  const { ok, message } = id ? await remove(`${BROWSERS}${id}/`) : { ok: true, message: "" };
  await forgetPush();
  // Nothing arrives without a subscription: whether the server has forgotten it is no matter, but that it cannot be reached is.
  return ok || message.includes("does not know") || message.startsWith("No ") ? "" : message;
}

/** End the subscription in this browser. */
export async function forgetPush() {
  remember("push", "");
  remember("push-endpoint", "");
  const registration = await navigator.serviceWorker?.getRegistration();
  await (await registration?.pushManager?.getSubscription())?.unsubscribe();
}

/** Where the browser has changed its subscription and could not say so: give the new one to the server. */
export async function keepPush() {
  if (!pushId() || !mayPush() || Notification.permission !== "granted") return;
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  const before = recall("push-endpoint");
  if (subscription && subscription.endpoint !== before) await give(subscription, before);
}
