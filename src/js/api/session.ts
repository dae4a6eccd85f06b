// Saved sessions, from the caller's side: the keys and values of a conversation as bytes, and back into the cache.
// Not what is in them, nor whether they fit: that is Rust's.

import { checkMessages, type ChatMessage } from "./chat-request.js";
import { adapterWeights, type AdapterChoice } from "./choice.js";
import type { Conversations } from "./conversations.js";
import type { Step } from "./generation.js";
import { throwIfCancelled } from "../error.js";
import { checkFunction, checkNames, checkSignal, isWhole, wrong } from "../options.js";
import { pause } from "../thread/pause.js";
import { promptOf } from "./template-fit.js";
import { checkTools, type ChatTool } from "./tools.js";
import type { Turns } from "../thread/turns.js";
import { WasmEngine, enter } from "../thread/wasm.js";

/** A conversation, a text, or token ids. */
export type SessionText = string | readonly number[] | readonly ChatMessage[];

/** How to restore a session. */
export interface RestoreOptions {
  /** The adapters to use instead of the engine's own choice. */
  adapter?: AdapterChoice;
  /** Called with the bytes that are done, and those in all. */
  onProgress?: (progress: { loaded: number; total: number }) => void;
  /** Cancels it, with an error of kind `cancelled`. */
  signal?: AbortSignal;
}

/** How to save a session. */
export interface SessionOptions extends RestoreOptions {
  /** The tools of the conversation, if its requests have some. */
  tools?: readonly ChatTool[];
}

/** Bytes at the beginning of a file that tell how long its head is. */
const FIRST_BYTES = 16;

/** The bytes from which `restoreSession` goes on. What of the text the cache does not hold is computed first. */
export async function saveSession(
  turns: Turns, conversations: Conversations, text: SessionText, options: SessionOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const what = "saving the session";
  const { onProgress, signal } = options;
  const { tools } = checkTools(options.tools, undefined);
  const { tools: _, ...others } = options;
  const prompt = await prepared(turns, conversations, text, tools, checked(others));
  const seating = turns.seats.takeNow(1, 1) ?? (await turns.seats.take(1, 1, signal, what));
  try {
    const id = await turns.take((engine) => engine.start([prompt.ids], { max_tokens: 1, temperature: 0, adapter: prompt.adapter }));
    const next = async <T>(call: (engine: WasmEngine) => T | Promise<T>): Promise<T> => {
      await pause();
      throwIfCancelled(signal, what);
      return turns.take(call, signal);
    };
    try {
      // Its one token is not part of the text; to draw it all of the text is computed.
      while (!(await next((engine) => engine.next(id) as Promise<Step>)).finished);
      const head = await next((engine) => engine.sessionHead(id));
      const bounds = await enter(() => WasmEngine.sessionParts(head));
      const file = new Uint8Array(bounds.at(-1)!);
      file.set(head);
      for (let part = 0; 2 * part < bounds.length; part++) {
        file.set(await next((engine) => engine.sessionPart(id, part)), bounds[2 * part]!);
        onProgress?.({ loaded: bounds[2 * part + 1]!, total: file.length });
      }
      return file;
    } finally {
      if (!turns.closed) await turns.take((engine) => engine.end(id)).catch(() => {}); // the error that led here is the one to tell
    }
  } finally {
    seating.leave();
  }
}

/** Puts a saved session into the cache, and gives its token ids. */
export async function restoreSession(turns: Turns, session: Uint8Array | ArrayBuffer | Blob, options: RestoreOptions): Promise<number[]> {
  const what = "restoring the session";
  const { onProgress, signal } = options;
  const weights = checked(options);
  if (!ArrayBuffer.isView(session) && !(session instanceof ArrayBuffer) && !(session instanceof Blob)) {
    throw wrong("session", session, "the bytes that `saveSession` gave, or a Blob of them");
  }
  // Bytes are not copied: the caller waits for the end before it changes them.
  const blob = session instanceof Blob ? session : undefined;
  const bytes = session instanceof Uint8Array ? session : new Uint8Array(session as ArrayBuffer);
  const total = blob?.size ?? bytes.length;
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    await pause();
    throwIfCancelled(signal, what);
    return blob ? new Uint8Array(await blob.slice(start, end).arrayBuffer()) : bytes.subarray(start, end);
  };
  const first = await read(0, FIRST_BYTES);
  const head = await read(0, Math.min(await enter(() => WasmEngine.sessionHeadBytes(first)), total));
  const bounds = await enter(() => WasmEngine.sessionParts(head));
  const seating = turns.seats.takeNow(1, 1) ?? (await turns.seats.take(1, 1, signal, what));
  try {
    const id = await turns.take((engine) => engine.openSession(head, total, weights));
    let isOpen = true;
    try {
      for (const step of ["checkPart", "restorePart"] as const) {
        for (let part = 0; 2 * part < bounds.length; part++) {
          const [start, end] = [bounds[2 * part]!, bounds[2 * part + 1]!];
          const piece = await read(start, end);
          await turns.take((engine) => engine[step](id, part, piece));
          if (step === "restorePart") onProgress?.({ loaded: end, total });
        }
      }
      const tokens = await turns.take((engine) => engine.endRestoring(id));
      isOpen = false;
      return Array.from(tokens);
    } finally {
      if (isOpen && !turns.closed) await turns.take((engine) => engine.endRestoring(id)).catch(() => {});
    }
  } finally {
    seating.leave();
  }
}

/** The adapters of the options, if they name some. Errors with `argument`. */
function checked(options: RestoreOptions): Record<string, number> | undefined {
  checkNames(options, ["adapter", "onProgress", "signal"]);
  checkFunction("onProgress", options.onProgress);
  checkSignal(options.signal);
  return options.adapter === undefined ? undefined : adapterWeights("adapter", options.adapter);
}

/** Token ids of a text, and the adapters that it is to be read under. */
async function prepared(
  turns: Turns, conversations: Conversations, text: SessionText, tools: readonly ChatTool[] | undefined,
  adapter: Record<string, number> | undefined,
): Promise<{ ids: number[]; adapter: Readonly<Record<string, number>> | undefined }> {
  if (typeof text === "string") return { ids: Array.from(await turns.take((engine) => engine.encode(text))), adapter };
  if (!Array.isArray(text) || text.length === 0) throw wrong("text", text, "a text, an array of token ids, or messages");
  if (text.every(isWhole)) return { ids: [...text], adapter };
  const messages = checkMessages("messages", text);
  const manner = await conversations.manner(adapter);
  // An answer that is not asked for yet does not begin yet.
  const { ids } = await promptOf(manner, { messages, tools }, messages.at(-1)!.role !== "assistant");
  return { ids, adapter: manner.adapter };
}
