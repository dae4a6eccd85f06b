// A stream of chunks as server-sent events, as OpenAI sends them.
// Not the chunks, which are the engine's.

import { errorOf } from "./refusal.js";

/** What is wrong with the request is this call's error; what goes wrong later is an event. */
export async function events(chunks: AsyncGenerator<object, void, undefined>): Promise<Response> {
  const encoder = new TextEncoder();
  const event = (value: object | string) => encoder.encode(`data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`);
  let next: IteratorResult<object, void> | undefined = await chunks.next();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = next ?? (await chunks.next());
        next = undefined;
        controller.enqueue(event(done ? "[DONE]" : value));
        if (done) controller.close();
      } catch (error) {
        controller.enqueue(event(errorOf(error).body));
        controller.close();
      }
    },
    cancel: async () => void (await chunks.return()),
  }, { highWaterMark: 0 });
  return new Response(stream, { headers: { "content-type": "text/event-stream", "cache-control": "no-cache" } });
}
