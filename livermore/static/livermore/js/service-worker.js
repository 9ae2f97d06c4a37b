// Shows what a push service brings while no page is open, and opens what is clicked. It takes no requests: pages load as without it.
const BROWSERS = "/api/my/browsers/";

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("push", (event) => event.waitUntil(show(event.data)));
addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.path));
});
addEventListener("pushsubscriptionchange", (event) => event.waitUntil(renew(event)));

/** Something has to be shown for each push, or the browser ends the subscription. @param {PushMessageData | null} data */
async function show(data) {
  let message = {};
  try {
    message = data.json();
  } catch {
    // Not one of ours, or of a later version.
  }
  const { title = "Livermore", body = "Something happened: open Livermore.", path = "/", tag = "", silent = false, at } = message;
  await registration.showNotification(title, { body, tag, silent, timestamp: at, data: { path } });
}

/** The page about it: in a tab of ours, where there is one. @param {unknown} path */
async function open(path) {
  const url = new URL(typeof path === "string" ? path : "/", location.origin);
  if (url.origin !== location.origin) return;
  const tabs = await clients.matchAll({ type: "window" });
  const tab = tabs.find((one) => one.focused) ?? tabs.find((one) => one.visibilityState === "visible") ?? tabs[0];
  await tab?.focus().catch(() => {}); // first: a click allows it for a moment only
  const shown = await tab?.navigate(url.href).catch(() => null);
  if (!shown) await clients.openWindow(url.href);
}

/** The browser has another subscription now, or none: tell the server. Where that fails, the next page that is opened does (push.js). */
async function renew({ oldSubscription, newSubscription }) {
  const options = { userVisibleOnly: true };
  if (!newSubscription) {
    const { key } = await (await fetch(`${BROWSERS}key/`)).json();
    options.applicationServerKey = key;
  }
  const fresh = newSubscription ?? (await registration.pushManager.subscribe(options));
  const token = await self.cookieStore?.get("csrftoken");
  await fetch(BROWSERS, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": token?.value ?? "" },
    body: JSON.stringify({ ...fresh.toJSON(), replaces: oldSubscription?.endpoint ?? "" }),
  });
}
