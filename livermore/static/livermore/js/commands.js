// Start, stop and restart: one POST, answered with what really happened.

const PATIENCE = 20_000;

function csrfToken() {
  return /(?:^|;\s*)csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "";
}

const REFUSED = {
  401: "Your session has ended: log in again.",
  403: "You may not control exchanges, or your session has changed: reload the page.",
  404: "The server does not know this exchange: reload the page.",
  429: "Too many commands: wait a minute.",
};

/**
 * @param {string} url @param {"start" | "stop" | "restart"} action
 * @returns {Promise<{ ok: boolean, message: string }>} never rejects
 */
export async function command(url, action) {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": csrfToken() },
      body: JSON.stringify({ action }),
      signal: AbortSignal.timeout(PATIENCE),
    });
    // The log-in page in place of an answer.
    if (response.redirected) return { ok: false, message: REFUSED[401] };
    const answer = await response.json().catch(() => ({}));
    const message = answer.message ?? answer.detail ?? REFUSED[response.status];
    return { ok: response.ok && answer.ok !== false, message: message ?? `The server answered ${response.status}.` };
  } catch (error) {
    const late = error.name === "TimeoutError";
    return { ok: false, message: late ? "No answer in 20 s; it may still happen." : "The server cannot be reached." };
  }
}
