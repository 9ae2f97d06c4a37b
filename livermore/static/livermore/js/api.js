// Requests to our own API: JSON in, JSON out, and a sentence for whatever goes wrong.

const PATIENCE = 20_000;

function csrfToken() {
  return /(?:^|;\s*)csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "";
}

const REFUSED = {
  401: "Your session has ended: log in again.",
  403: "You may not do that, or your session has changed: reload the page.",
  404: "The server does not know that any more: reload the page.",
  429: "Too many requests: wait a minute.",
};

/**
 * @typedef {object} Outcome
 * @property {boolean} ok
 * @property {any} data the answer's JSON, where there is one
 * @property {string} message what went wrong, in a sentence; "" where all went well
 */

/**
 * @param {string} method @param {string} url @param {object} [body] @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<Outcome>} never rejects, but where ``signal`` aborts it
 */
export async function ask(method, url, body, { signal } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const limit = AbortSignal.timeout(PATIENCE);
  try {
    const response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    // The log-in page in place of an answer.
    if (response.redirected) return { ok: false, data: null, message: REFUSED[401] };
    const data = await response.json().catch(() => null);
    return { ok: response.ok, data, message: response.ok ? "" : whyNot(response.status, data) };
  } catch (error) {
    if (signal?.aborted) throw error;
    const late = error.name === "TimeoutError";
    return { ok: false, data: null, message: late ? "No answer in 20 s; it may still happen." : "The server cannot be reached." };
  }
}

/** The sentence of an error answer: its own, those about its fields, or ours for the status. */
function whyNot(status, data) {
  if (typeof data?.detail === "string") return data.detail;
  const found = data && typeof data === "object" ? Object.values(data).flat(3).filter((text) => typeof text === "string") : [];
  return found.join(" ") || REFUSED[status] || `The server answered ${status}.`;
}

/** @param {string} url @param {{ signal?: AbortSignal }} [options] */
export const get = (url, options) => ask("GET", url, undefined, options);

/** @param {string} url @param {object} body */
export const post = (url, body) => ask("POST", url, body);

/** @param {string} url @param {object} body */
export const patch = (url, body) => ask("PATCH", url, body);

/** @param {string} url */
export const remove = (url) => ask("DELETE", url);

/** An answer that did not come, with why in words. */
export class ApiError extends Error {}

/** @param {string} url @returns {Promise<any>} the answer's JSON; rejects with ApiError */
export async function read(url) {
  const { ok, data, message } = await get(url);
  if (ok && data !== null) return data;
  throw new ApiError(message || "The server’s answer could not be read.");
}
