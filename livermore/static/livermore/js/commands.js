// Start, stop and restart: one POST, answered with what really happened.
import { post } from "./api.js";

/**
 * @param {string} url @param {"start" | "stop" | "restart"} action
 * @returns {Promise<{ ok: boolean, message: string }>} never rejects
 */
export async function command(url, action) {
  const { ok, data, message } = await post(url, { action });
  return { ok: ok && data?.ok !== false, message: data?.message ?? message };
}
