// Which methods of an engine give streams, and which end an object: what its caller in another thread or tab must know.
// Not how they are called from there.

import type { Habits } from "../thread/message.js";
import type { ChatCompletions } from "./chat.js";
import type { Completions } from "./completions.js";
import type { Engine } from "./engine.js";
import type { TempLora } from "./temp-lora.js";
import type { TextStream } from "./text-stream.js";

type Streams<T> = { [K in keyof T]: T[K] extends (...args: never[]) => AsyncGenerator ? K : never }[keyof T];

/** The type names all methods that always give a stream, so that none can be forgotten. */
const ALWAYS: Record<Streams<Engine> | Streams<TempLora>, "always"> = { generate: "always", trainAdapter: "always" };
const ASKED = { create: "asked" } satisfies Partial<Record<keyof (Completions & ChatCompletions), "asked">>;
const ENDS: readonly (keyof TempLora)[] = ["dispose", "keepAs"];

const OF_STREAMS: Record<keyof typeof ASKED, readonly (keyof TextStream<unknown> & string)[]> = { create: ["setAdapter"] };

export const HABITS: Habits = { streams: { ...ALWAYS, ...ASKED }, ofStreams: OF_STREAMS, ends: ENDS };
