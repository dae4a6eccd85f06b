// useCompletion: one text that is written in a component, stopped, and given other adapters.
// Not a conversation: chat-transport.ts is for that.

import { useCallback, useEffect, useRef, useState } from "react";
import type { AdapterChoice } from "../api/choice.js";
import type { CompletionChunk } from "../api/completions.js";
import type { Engine } from "../api/engine.js";
import type { CompletionRequest } from "../api/request.js";
import type { TextStream } from "../api/text-stream.js";
import { LorakeetError } from "../error.js";

type Request = Omit<CompletionRequest, "prompt" | "stream" | "stream_options" | "signal" | "n">;

/** A text and what can be done with it. The names are those of the AI SDK's hook. */
export interface CompletionState {
  /** What was written so far, without the prompt. */
  completion: string;
  isLoading: boolean;
  /** What ended the last text, if that was an error; to be stopped is none. */
  error: Error | undefined;
  /** Goes on from a prompt, in the place of what was there; gives the text, or what there was of it when it was stopped. */
  complete(prompt: string, request?: Request): Promise<string>;
  /** Ends the text where it is. */
  stop(): void;
  /** Goes on with the text, and begins later ones, under other adapters: see {@link TextStream.setAdapter}. */
  setAdapter(choice: AdapterChoice): Promise<void>;
}

/**
 * A text that an engine writes. A new one ends the one before, and so does the component's end.
 *
 * ```tsx
 * const { completion, complete, stop, setAdapter, isLoading } = useCompletion(engine, { max_tokens: 200 });
 * ```
 *
 * `request` is for all its texts, and read when each begins.
 */
export function useCompletion(engine: Engine | undefined, request: Request = {}): CompletionState {
  const [text, setText] = useState({ completion: "", isLoading: false, error: undefined as Error | undefined });
  const latest = useRef({ engine, request });
  latest.current = { engine, request };
  const adapter = useRef<AdapterChoice | undefined>(undefined);
  const running = useRef<{ stream: TextStream<CompletionChunk>; controller: AbortController } | undefined>(undefined);

  const stop = useCallback(() => running.current?.controller.abort(), []);

  const complete = useCallback(async (prompt: string, more: Request = {}) => {
    stop();
    const { engine, request } = latest.current;
    if (!engine) throw new LorakeetError("argument", "complete: there is no engine yet");
    const controller = new AbortController();
    const own = adapter.current === undefined ? {} : { adapter: adapter.current };
    const stream = engine.completions.create({ ...request, ...own, ...more, prompt, signal: controller.signal, stream: true });
    const mine = (running.current = { stream, controller });
    const show = (change: Partial<typeof text>) => {
      if (running.current === mine) setText((before) => ({ ...before, ...change }));
    };
    let completion = "";
    let error: Error | undefined;
    show({ completion, isLoading: true, error });
    try {
      for await (const { choices: [choice] } of stream) show({ completion: (completion += choice!.text) });
    } catch (thrown) {
      if (!controller.signal.aborted) error = thrown as Error;
    }
    show({ isLoading: false, error });
    if (running.current === mine) running.current = undefined;
    return completion;
  }, [stop]);

  const setAdapter = useCallback(async (choice: AdapterChoice) => {
    await running.current?.stream.setAdapter(choice);
    adapter.current = choice;
  }, []);

  useEffect(() => stop, [stop]);
  return { ...text, complete, stop, setAdapter };
}
