// trainAdapter: an ordinary adapter taught in the page, step by step.
// Not the program, which is Rust's: this lets the page live meanwhile, and has the clock and the checkpoints' files.

import { conversation, type Message } from "./chat-request.js";
import { readCheckpoint, removeCheckpoint, writeCheckpoint } from "./checkpoint.js";
import { givenName } from "./choice.js";
import type { Conversations } from "./conversations.js";
import type { TrainingDataset } from "./dataset.js";
import { digest } from "../files/digest.js";
import { throwIfCancelled } from "../error.js";
import {
  checkBoolean, checkFunction, checkNames, checkNumber, checkPositive, checkSignal, checkString, checkTexts, checkWhole, wrong,
} from "../options.js";
import { spelled, type PeftSpellings } from "./peft-names.js";
import { pause } from "../thread/pause.js";
import type { Seating } from "../thread/seats.js";
import { Slices, type SliceBudget } from "../thread/slices.js";
import type { Turns } from "../thread/turns.js";
import { keeping } from "../thread/verdicts.js";

/** What to teach, to which adapter, and how. */
export interface TrainOptions extends PeftSpellings {
  /** The adapter's name. */
  name: string;
  /** What it is to learn. */
  dataset: TrainingDataset;
  /**
   * What of the new adapter is trained: `lora`, both matrices, or `lora-xs`, a core of rank by rank numbers
   * between the largest singular vectors of the base's own weights, which takes less memory but cannot be
   * kept under a `checkpoint`. Default `lora`.
   */
  variant?: "lora" | "lora-xs";
  /** Numbers of the new adapter per input and output. Default 8. */
  rank?: number;
  /** Its effect is scaled by alpha / rank. Default twice the rank. */
  alpha?: number;
  /** Ends of the names of the modules to adapt, as `["q_proj", "v_proj"]`. Default: every linear map but the head. */
  targetModules?: readonly string[];
  /** How often the dataset is gone through. Default 3. */
  epochs?: number;
  /** Of AdamW, at its highest. Default 1e-3, for small models. */
  learningRate?: number;
  /** How it falls, to nearly nothing at the end, as transformers' schedules do. Default `linear`. */
  schedule?: "constant" | "linear" | "cosine";
  /** Steps over which it rises first, from 0: the first of them teaches nothing. Default 0. */
  warmupSteps?: number;
  /** Windows per step. Default 1. */
  batch?: number;
  /** Tokens of a window. Default 256, or the context if that is less. */
  maxLength?: number;
  /**
   * Bytes that all the engine's tensors may take while it trains; beyond them it is refused, with the
   * rank and the window that would fit. Default: what the device can address.
   */
  memoryLimit?: number;
  /** Whether examples teach their completions, and conversations their answers, alone. Default `true`. */
  completionOnly?: boolean;
  /** Probability of an element of a LoRA's input to be dropped. Default 0. */
  dropout?: number;
  /** Of AdamW. Default 0. */
  weightDecay?: number;
  /** Of the first numbers, the order of the windows and the dropout. Default 0. */
  seed?: number;
  /** Goes on with an adapter of that name if there is one, with its own rank, alpha and modules; others that are given are an error. Default `false`. */
  resume?: boolean;
  /**
   * A key under which the adapter and the position are kept in the origin private file system, so that
   * the same call goes on after a reload. The optimizer's moments begin anew then. It is removed at the end.
   */
  checkpoint?: string;
  /** Steps between two checkpoints. Default 20. */
  checkpointEvery?: number;
  /** How long training may hold the page at a time. */
  budget?: SliceBudget;
  /** Ends the training within a slice, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** Hears of every step, as the loop does. */
  onStep?: (step: TrainingStep) => void;
}

/** A step that is done. */
export interface TrainingStep {
  /** From 1. */
  step: number;
  /** In all. */
  steps: number;
  /** From 1. */
  epoch: number;
  /** Mean over the tokens learned, nats, before the step. */
  loss: number;
  /** Its learning rate. */
  lr: number;
  /** Tokens it read. */
  tokens: number;
  /** Of this step, other requests' turns included. */
  tokensPerSecond: number;
  /** Seconds until the end, if all goes on as it did. */
  eta: number;
}

const NAMES = [
  "name", "dataset", "variant", "rank", "alpha", "targetModules", "epochs", "learningRate", "schedule", "warmupSteps", "batch", "maxLength", "memoryLimit",
  "completionOnly", "dropout", "weightDecay", "seed", "resume", "checkpoint", "checkpointEvery", "budget", "signal", "onStep",
] as const;

const WHAT = "the training";

/** `Engine.nextOfTraining`'s reply. */
type Event =
  | { kind: "progress"; done: number; all: number }
  | { kind: "step"; step: Omit<TrainingStep, "tokensPerSecond" | "eta"> & { isCheckpoint: boolean } }
  | { kind: "done" };

/** Trains an adapter; nothing begins before the first `next`. */
export async function* trainAdapter(
  turns: Turns, conversations: Conversations, options: TrainOptions,
): AsyncGenerator<TrainingStep, void, undefined> {
  const { fields, slices, items, checkpoint, signal } = check(options);
  throwIfCancelled(signal, WHAT);
  const id = await turns.take((engine) => engine.planTraining(fields));
  let seating: Seating | undefined;
  try {
    await give(turns, conversations, id, items);
    // A page without digests has no place for checkpoints, and hears of that next.
    const of = checkpoint === undefined ? "" : ((await digest(await turns.take((engine) => engine.trainingIdentity(id)))) ?? "");
    const saved = checkpoint === undefined ? undefined : await readCheckpoint(checkpoint);
    throwIfCancelled(signal, WHAT);
    await turns.take((engine) => keeping(engine, () => engine.beginProgram(id, checkpoint ?? "", of, saved)));
    const began = performance.now();
    for (let [done, started] = [0, began]; ; ) {
      throwIfCancelled(signal, WHAT);
      seating ??= await turns.seats.take(1, 1, signal, WHAT);
      const event = await slices.run(turns, (engine, rows) => engine.nextOfTraining(id, rows) as Promise<Event>, workDone, signal);
      if (event.kind === "progress") continue;
      seating = void seating.leave();
      if (event.kind === "done") break;
      const [{ isCheckpoint, ...step }, now] = [event.step, performance.now()];
      if (checkpoint !== undefined && isCheckpoint) {
        await writeCheckpoint(checkpoint, await turns.take((engine) => engine.trainingCheckpoint(id, of)));
      }
      const report: TrainingStep = {
        ...step,
        tokensPerSecond: (1000 * step.tokens) / (now - started),
        eta: ((step.steps - step.step) * (now - began)) / ++done / 1000,
      };
      options.onStep?.(report);
      yield report;
      started = performance.now();
    }
    if (checkpoint !== undefined) await removeCheckpoint(checkpoint);
  } finally {
    seating?.leave();
    if (!turns.closed) await turns.take((engine) => engine.endProgram(id));
  }
}

/** Of a step under way. */
function workDone(event: Event): number | undefined {
  return event.kind === "progress" ? event.done : undefined;
}

/** Gives a training its dataset; what Rust asks for of it is written by the chat template. */
async function give(turns: Turns, conversations: Conversations, id: number, items: readonly unknown[]): Promise<void> {
  for (const item of items) {
    await pause();
    const asked = await turns.take((engine) => engine.addToTraining(id, item) as { messages: Message[]; isOpen: boolean }[]);
    const tokens: number[][] = [];
    for (const { messages, isOpen } of asked) tokens.push(await conversations.tokens(conversation({ messages }, isOpen)));
    if (tokens.length > 0) await turns.take((engine) => engine.addConversations(id, tokens));
  }
}

/** Types are checked here, ranges in Rust. */
function check(given: TrainOptions) {
  const options = spelled(given);
  checkNames(options, NAMES);
  const { dataset, checkpoint, checkpointEvery, budget, signal, onStep, ...fields } = options;
  const { rank, epochs, batch, maxLength, warmupSteps, seed, alpha, learningRate, dropout, weightDecay, memoryLimit } = fields;
  for (const [name, value] of Object.entries({ rank, epochs, batch, maxLength, checkpointEvery })) checkPositive(name, value);
  for (const [name, value] of Object.entries({ warmupSteps, seed })) checkWhole(name, value);
  for (const [name, value] of Object.entries({ alpha, learningRate, dropout, weightDecay, memoryLimit })) checkNumber(name, value);
  for (const [name, value] of Object.entries({ resume: fields.resume, completionOnly: fields.completionOnly })) checkBoolean(name, value);
  checkTexts("targetModules", fields.targetModules);
  checkString("variant", fields.variant);
  checkString("schedule", fields.schedule);
  if (checkpoint !== undefined && (typeof checkpoint !== "string" || checkpoint === "")) throw wrong("checkpoint", checkpoint, "a text");
  checkSignal(signal);
  checkFunction("onStep", onStep);
  const items: readonly unknown[] = typeof dataset === "string" ? [dataset] : Array.isArray(dataset) ? dataset : [];
  if (items.length === 0) throw wrong("dataset", dataset, "a text, or a list of texts, examples and conversations");
  givenName(options.name);
  return {
    fields: { ...fields, checkpointEvery: checkpoint === undefined ? undefined : (checkpointEvery ?? 20) },
    slices: new Slices(budget), items, checkpoint, signal,
  };
}
