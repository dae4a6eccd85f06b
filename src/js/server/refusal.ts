// What a server answers where it cannot: OpenAI's `error`, and the status of HTTP that its clients act on.
// Not why: the engine's errors say that.

import { LorakeetError, type ErrorKind } from "../error.js";

/** A request that does not get to the engine. */
export class Refusal extends Error {
  constructor(readonly status: number, message: string, readonly code: string | null = null) {
    super(message);
  }
}

/** Clients try again after 5xx, and not after 4xx. 499 is nginx's: nobody hears it. */
const STATUS: Record<ErrorKind, number> = {
  argument: 400, unsupported: 400, format: 400, mismatch: 400, network: 502, memory: 507, device: 500, cancelled: 499,
};

/** OpenAI's `error` of what was thrown. */
export function errorOf(error: unknown): { status: number; body: object } {
  const { message } = error as Error;
  const [status, code] = error instanceof LorakeetError ? [STATUS[error.kind], error.kind] : error instanceof Refusal ? [error.status, error.code] : [500, null];
  const type = status < 500 ? "invalid_request_error" : "server_error";
  return { status, body: { error: { message, type, param: null, code } } };
}

export function refusalOf(error: unknown): Response {
  const { status, body } = errorOf(error);
  return jsonOf(body, status);
}

export function jsonOf(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } });
}
