// What a browser does about notifications, in words. Pure.

/**
 * @param {object} found
 * @param {boolean} found.able whether this browser has notifications here: it needs https, or localhost
 * @param {"default" | "granted" | "denied"} found.permission
 * @param {boolean} found.wanted switched on in this browser
 * @param {boolean} found.pages whether the server tells pages of this user
 * @returns {"none" | "blocked" | "off" | "on"}
 */
export function stateOf({ able, permission, wanted, pages }) {
  if (!able) return "none";
  if (permission === "denied") return "blocked";
  return permission === "granted" && wanted && pages ? "on" : "off";
}

const WORDS = {
  none: "Not possible here: open Livermore over https, or at localhost, in a browser that has notifications.",
  blocked: "Blocked by the browser: allow notifications for this site, with the sign beside the address, and reload the page.",
  off: "Off.",
  on: "On.",
};

/** @param {"none" | "blocked" | "off" | "on"} state @param {{ mute: boolean, maySound: boolean }} sound */
export function stateText(state, { mute, maySound }) {
  if (state !== "on") return WORDS[state];
  if (mute) return "On, without sound.";
  return maySound ? "On, with sound." : "On. Sound begins with your first click or key on this page: the browser wants one.";
}

/** "Firefox on Linux", to know it again in a list. @param {string} agent as in ``navigator.userAgent`` */
export function browserName(agent) {
  const browsers = [["Edg", "Edge"], ["OPR/", "Opera"], ["SamsungBrowser", "Samsung Internet"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]]; // prettier-ignore
  const systems = [["Android", "Android"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["CrOS", "ChromeOS"], ["Windows", "Windows"], ["Mac OS", "Mac"], ["Linux", "Linux"]]; // prettier-ignore
  const name = (known) => known.find(([sign]) => agent.includes(sign))?.[1];
  const system = name(systems);
  return `${name(browsers) ?? "A browser"}${system ? ` on ${system}` : ""}`;
}
