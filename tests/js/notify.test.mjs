import assert from "node:assert/strict";
import { test } from "node:test";

import { browserName, stateOf, stateText } from "../../livermore/static/livermore/js/notify-words.js";

const ON = { able: true, permission: "granted", wanted: true, pages: true };

test("a browser tells only where it is able, allowed, switched on here and told by the server", () => {
  assert.equal(stateOf(ON), "on");
  for (const one of ["wanted", "pages"]) assert.equal(stateOf({ ...ON, [one]: false }), "off");
  assert.equal(stateOf({ ...ON, permission: "default" }), "off");
  assert.equal(stateOf({ ...ON, permission: "denied" }), "blocked");
  assert.equal(stateOf({ ...ON, able: false, permission: "denied" }), "none");
});

test("the words say what to do", () => {
  const sound = { mute: false, maySound: true };
  assert.equal(stateText("on", sound), "On, with sound.");
  assert.equal(stateText("on", { ...sound, mute: true }), "On, without sound.");
  assert.match(stateText("on", { ...sound, maySound: false }), /first click or key/);
  assert.match(stateText("blocked", sound), /allow notifications for this site/);
  assert.match(stateText("none", sound), /https, or at localhost/);
});

test("a browser is named as its owner knows it", () => {
  const names = {
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0": "Firefox on Linux",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0": "Edge on Windows",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36": "Chrome on Android",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15": "Safari on Mac",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1": "Safari on iPhone",
    "something else": "A browser",
  };
  for (const [agent, name] of Object.entries(names)) assert.equal(browserName(agent), name);
});
