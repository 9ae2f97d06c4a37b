// What the reader has the server do: one request, answered with what really happened.
import { post } from "./api.js";

/**
 * @param {string} url @param {"start" | "stop" | "restart"} action
 * @returns {Promise<{ ok: boolean, message: string }>} never rejects
 */
export async function command(url, action) {
  return told(await post(url, { action }));
}

/**
 * Have a symbol watched for the reader.
 * @param {string} exchange @param {string} symbol
 * @returns {Promise<{ ok: boolean, message: string }>} never rejects
 */
export async function addSymbol(exchange, symbol) {
  const { ok, data, message } = await post("/api/my/symbols/", { exchange, lines: [symbol] });
  return ok ? data.verdicts[0] : { ok, message };
}

function told({ ok, data, message }) {
  return { ok: ok && data?.ok !== false, message: data?.message ?? message };
}
