// A server of Node's over a function from requests to responses.
// It knows nothing of what is asked.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** Listens, and gives the server once it does. Errors where the port is taken. */
export function listen(handle: (request: Request) => Promise<Response>, port: number, host: string): Promise<Server> {
  const server = createServer((incoming, outgoing) => {
    answer(handle, incoming, outgoing).catch(() => outgoing.destroy()); // the client is gone, or is told by the cut
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve(server));
  });
}

async function answer(handle: (request: Request) => Promise<Response>, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const gone = new AbortController();
  outgoing.once("close", () => gone.abort());
  const response = await handle(requestOf(incoming, gone.signal));
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    if (outgoing.destroyed) return; // leaving the loop ends the stream
    if (!outgoing.write(part)) await new Promise<void>((resolve) => void outgoing.once("drain", resolve).once("close", resolve));
  }
  outgoing.end();
}

function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request {
  const headers = Object.entries(incoming.headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as [string, string]]));
  const hasBody = incoming.method !== "GET" && incoming.method !== "HEAD";
  // Neither `from` nor `duplex`, which is demanded of bodies that are streams, is among the types of pages.
  const streams = ReadableStream as unknown as { from(parts: AsyncIterable<Uint8Array>): ReadableStream };
  const body = hasBody ? { body: streams.from(incoming), duplex: "half" } : {};
  return new Request(new URL(incoming.url, `http://${incoming.headers.host ?? "localhost"}`), { method: incoming.method, headers, signal, ...body } as RequestInit);
}
