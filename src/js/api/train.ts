// trainAdapter: trains an ordinary adapter in the page, step by step.
// Not the training itself, which is Rust's: this yields to the page between slices, measures time, and reads and writes checkpoints.

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

/** What to train, on what, and how. */
export interface TrainOptions extends PeftSpellings {
  /** The adapter's name. */
  name: string;
  /** What to train it on. */
  dataset: TrainingDataset;
  /**
   * Which parameters of the new adapter are trained: `lora`, both matrices, or `lora-xs`, a core matrix (rank × rank)
   * between the largest singular vectors of the base model's weights, which takes less memory but cannot be
   * combined with `checkpoint`. Default `lora`.
   */
  variant?: "lora" | "lora-xs";
  /** Rank of the new adapter. Default 8. */
  rank?: number;
  /** Its effect is scaled by alpha / rank. Default: twice the rank. */
  alpha?: number;
  /** Which modules to adapt, by the ends of their names, for example `["q_proj", "v_proj"]`. Default: every linear layer except the head. */
  targetModules?: readonly string[];
  /** Number of passes over the dataset. Default 3. */
  epochs?: number;
  /** Peak learning rate of AdamW. Default 1e-3, which suits small models. */
  learningRate?: number;
  /** How the learning rate decays, as in transformers; all but `constant` end near 0. Default `linear`. */
  schedule?: "constant" | "linear" | "cosine";
  /** Number of steps in which the learning rate first rises from 0; the first of them changes nothing. Default 0. */
  warmupSteps?: number;
  /** Number of windows per step. Default 1. */
  batch?: number;
  /** Tokens per window. Default 256, or the context length if that is less. */
  maxLength?: number;
  /**
   * Most bytes that all of the engine's tensors may take during training. If that is not enough, an error says
   * which rank and which window would fit. Default: what the device can address.
   */
  memoryLimit?: number;
  /** Compute the loss only on the completions of examples and the answers of conversations. Default `true`. */
  completionOnly?: boolean;
  /** Dropout probability on the LoRA's input. Default 0. */
  dropout?: number;
  /** Weight decay of AdamW. Default 0. */
  weightDecay?: number;
  /** Seed of the initial parameters, the order of the windows and dropout. Default 0. */
  seed?: number;
  /** Continue training an adapter of that name, if there is one. It keeps its rank, alpha and modules; other values for them are an error. Default `false`. */
  resume?: boolean;
  /**
   * A key under which the adapter and the current step are saved in the origin private file system, so that
   * the same call resumes after a reload. The optimizer's moments then start from zero. The checkpoint is deleted at the end.
   */
  checkpoint?: string;
  /** Number of steps between checkpoints. Default 20. */
  checkpointEvery?: number;
  /** How long training may block the page at a time. */
  budget?: SliceBudget;
  /** Cancels the training within a slice, with an error of kind `cancelled`. */
  signal?: AbortSignal;
  /** Called after every step, with what the loop gets. */
  onStep?: (step: TrainingStep) => void;
}

/** A completed step. */
export interface TrainingStep {
  /** From 1. */
  step: number;
  /** Total number of steps. */
  steps: number;
  /** From 1. */
  epoch: number;
  /** Mean loss over the trained tokens before the update, nats. */
  loss: number;
  /** Learning rate of this step. */
  lr: number;
  /** Number of tokens processed. */
  tokens: number;
  /** Speed of this step; time that other requests took in between counts too. */
  tokensPerSecond: number;
  /** Estimated seconds until the end. */
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

/** Trains an adapter. Training starts with the first `next`. */
export async function* trainAdapter(
  turns: Turns, conversations: Conversations, options: TrainOptions,
): AsyncGenerator<TrainingStep, void, undefined> {
  const { fields, slices, items, checkpoint, signal } = check(options);
  throwIfCancelled(signal, WHAT);
  const id = await turns.take((engine) => engine.planTraining(fields));
  let seating: Seating | undefined;
  try {
    await give(turns, conversations, id, items);
    // A page without digests has no file system for checkpoints either: reading one fails and says so.
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

/** How much of the current step is done. */
function workDone(event: Event): number | undefined {
  return event.kind === "progress" ? event.done : undefined;
}

/** Passes the dataset to Rust. The conversations that Rust finds in it are formatted by the chat template and passed as tokens. */
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
  if (checkpoint !== undefined && (typeof checkpoint !== "string" || checkpoint === "")) throw wrong("checkpoint", checkpoint, "a string that is not empty");
  checkSignal(signal);
  checkFunction("onStep", onStep);
  const items: readonly unknown[] = typeof dataset === "string" ? [dataset] : Array.isArray(dataset) ? dataset : [];
  if (items.length === 0) throw wrong("dataset", dataset, "a string, or an array of strings, examples and conversations");
  givenName(options.name);
  return {
    fields: { ...fields, checkpointEvery: checkpoint === undefined ? undefined : (checkpointEvery ?? 20) },
    slices: new Slices(budget), items, checkpoint, signal,
  };
}
