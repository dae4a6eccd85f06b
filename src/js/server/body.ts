// The JSON body of a request.
// Not what is in it: the engine checks that.

import { Refusal } from "./refusal.js";

/** More is no conversation. */
const MOST_BYTES = 16 << 20;

/** Errors where it is no JSON object, is too long, or is not called JSON: a page may not send such to another server unasked. */
export async function bodyOf(request: Request): Promise<Record<string, unknown>> {
  const type = request.headers.get("content-type") ?? "none";
  if (!/^application\/json\b/i.test(type)) throw new Refusal(415, `content-type ${type}, expected application/json`);
  const text = await textOf(request);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new Refusal(400, `body: ${(error as Error).message}, expected JSON`);
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw new Refusal(400, "body: expected a JSON object");
  return body as Record<string, unknown>;
}

async function textOf({ body }: Request): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const part of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    // To its end, without keeping it: who still sends hears no answer.
    if (bytes <= MOST_BYTES) text += decoder.decode(part, { stream: true });
  }
  if (bytes > MOST_BYTES) throw new Refusal(413, `body: ${bytes} bytes, expected at most ${MOST_BYTES}`);
  return text + decoder.decode();
}
