// trainAdapter: an ordinary adapter taught in the page, step by step.
// Not the arithmetic of a step, which is Rust's; nor a temporary adapter, which is temp-lora.ts's.

import { exportAdapter } from "./adapters.js";
import { givenName, type AdapterInfo } from "./choice.js";
import { readCheckpoint, removeCheckpoint, writeCheckpoint, type Checkpoint } from "./checkpoint.js";
import type { Conversations } from "./conversations.js";
import { windows, type TrainingDataset, type Window } from "./dataset.js";
import { digest } from "../files/digest.js";
import { LorakeetError, throwIfCancelled } from "../error.js";
import {
  checkBoolean, checkFunction, checkNames, checkNumber, checkPositive, checkSignal, checkString, checkTexts, checkWhole, wrong,
} from "../options.js";
import { Slices, type SliceBudget } from "../thread/slices.js";
import type { Turns } from "../thread/turns.js";
import { keeping } from "../thread/verdicts.js";
import { WasmEngine } from "../thread/wasm.js";

/** What to teach, to which adapter, and how. */
export interface TrainOptions {
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

/** Trains an adapter; nothing begins before the first `next`. */
export async function* trainAdapter(
  turns: Turns, conversations: Conversations, contextLength: number, options: TrainOptions,
): AsyncGenerator<TrainingStep, void, undefined> {
  const plan = check(options, contextLength);
  const { name, batch, epochs, seed, checkpoint, signal } = plan;
  throwIfCancelled(signal, WHAT);
  const all = await windows(turns, conversations, options.dataset, plan.maxLength, options.completionOnly);
  const perEpoch = Math.ceil(all.length / batch);
  const steps = epochs * perEpoch;
  // What is learned, and in which order. A page without digests has no place for checkpoints, and hears of that next.
  const of = checkpoint === undefined ? "" : ((await digest(JSON.stringify([all, batch, epochs, seed]))) ?? "");
  const saved = checkpoint === undefined ? undefined : await savedTraining(checkpoint, steps, of, plan.kept);
  throwIfCancelled(signal, WHAT);
  const isNew = await begin(turns, plan, saved);
  const [first, began] = [saved?.step ?? 0, performance.now()];
  let learned = false;
  try {
    let order: Window[] = [];
    for (let step = first; step < steps; step++) {
      throwIfCancelled(signal, WHAT);
      const epoch = Math.floor(step / perEpoch);
      const at = (step % perEpoch) * batch;
      if (at === 0 || step === first) order = shuffled(all, seed + epoch);
      const chosen = order.slice(at, at + batch);
      const started = performance.now();
      const { loss, lr } = await oneStep(turns, plan, chosen, step, steps);
      learned = true;
      const now = performance.now();
      const tokens = chosen.reduce((sum, window) => sum + window.tokens.length, 0);
      const done: TrainingStep = {
        step: step + 1, steps, epoch: epoch + 1, loss, lr, tokens,
        tokensPerSecond: (1000 * tokens) / (now - started),
        eta: ((steps - step - 1) * (now - began)) / (step + 1 - first) / 1000,
      };
      if (checkpoint !== undefined && done.step < steps && done.step % plan.checkpointEvery === 0) {
        await save(turns, checkpoint, name, { of, step: done.step, steps, options: plan.kept });
      }
      options.onStep?.(done);
      yield done;
    }
    if (checkpoint !== undefined) await removeCheckpoint(checkpoint);
  } finally {
    if (!turns.closed) {
      await turns.take((engine) => {
        engine.endTraining();
        if (isNew && !learned) engine.deleteAdapter(name);
      });
    }
  }
}

/** A step's loss and learning rate. If it is left before its end, the adapter is as before. */
async function oneStep(turns: Turns, plan: Plan, chosen: Window[], step: number, steps: number): Promise<{ loss: number; lr: number }> {
  const seating = await turns.seats.take(1, 1, plan.signal, WHAT);
  try {
    return await seatedStep(turns, plan, chosen, step, steps);
  } finally {
    seating.leave();
  }
}

async function seatedStep(turns: Turns, plan: Plan, chosen: Window[], step: number, steps: number): Promise<{ loss: number; lr: number }> {
  const { name, slices, signal } = plan;
  const [id, lr] = await turns.take((engine) => {
    const lr = plan.learningRate * WasmEngine.scheduleShare(plan.schedule, step, plan.warmupSteps, steps);
    return [engine.beginStep(chosen, { [name]: 1 }, lr), lr] as const;
  });
  try {
    for (;;) {
      throwIfCancelled(signal, WHAT);
      const { finished, loss } = await slices.run(turns, (engine, count) => engine.nextSlices(id, count) as Promise<{ finished: boolean; loss: number; done: number }>, ({ finished, done }) => (finished ? undefined : done), signal);
      if (finished) return { loss, lr };
    }
  } finally {
    if (!turns.closed) await turns.take((engine) => engine.endStep(id)).catch(() => {}); // the error that led here is the one to tell
  }
}

/** In one turn, so that what fails leaves nothing behind. Returns whether the adapter is new, and empty. */
function begin(turns: Turns, { name, lora, optimizer, room, resume, given }: Plan, saved: Checkpoint | undefined): Promise<boolean> {
  return turns.take(async (engine) => {
    const there = (engine.adapters() as AdapterInfo[]).some((adapter) => adapter.name === name);
    if (there && !resume && !saved) {
      throw new LorakeetError("argument", `adapter \`${name}\` is loaded already, expected \`resume: true\` or another name`);
    }
    if (there && !saved) checkResumed(engine, name, given);
    if (saved) await engine.loadAdapter(name, saved.config, saved.weights);
    else if (!there) await engine.newLora(name, lora);
    try {
      await keeping(engine, () => engine.beginTraining(name, optimizer, room));
    } catch (error) {
      if (!there) engine.deleteAdapter(name);
      throw error;
    }
    return !there && !saved;
  });
}

/** An adapter that is gone on with keeps its own shape: one that is asked for must be the same. */
function checkResumed(engine: WasmEngine, name: string, { rank, alpha, targetModules }: Plan["given"]): void {
  const { modules } = engine.adapter(name) as AdapterInfo;
  const { r, lora_alpha } = JSON.parse(engine.adapterConfig(name)) as { r: number; lora_alpha: number };
  const other = (option: string, its: unknown, here: unknown) =>
    new LorakeetError("argument", `adapter \`${name}\` has ${option} ${JSON.stringify(its)}, expected no ${option} or the same with \`resume: true\`, got ${JSON.stringify(here)}`);
  if (rank !== undefined && rank !== r) throw other("rank", r, rank);
  if (alpha !== undefined && alpha !== lora_alpha) throw other("alpha", lora_alpha, alpha);
  const fits = (module: string, target: string) => module === target || module.endsWith(`.${target}`);
  const same = !targetModules || (modules.every((module) => targetModules.some((target) => fits(module, target))) &&
    targetModules.every((target) => modules.some((module) => fits(module, target))));
  if (!same) throw other("targetModules", modules, targetModules);
}

async function savedTraining(key: string, steps: number, of: string, options: Checkpoint["options"]): Promise<Checkpoint | undefined> {
  const saved = await readCheckpoint(key);
  if (saved && (saved.steps !== steps || saved.of !== of)) {
    throw new LorakeetError("argument", `checkpoint \`${key}\` is of another training, of ${saved.steps} steps, this one has ${steps}: another dataset or other options; use another key`);
  }
  for (const [name, value] of Object.entries(options)) {
    const [its, here] = [saved?.options[name], value].map((each) => JSON.stringify(each));
    if (saved && its !== here) {
      throw new LorakeetError("argument", `checkpoint \`${key}\` is of another training: its ${name} is ${its}, this one has ${here}; use another key`);
    }
  }
  return saved;
}

async function save(turns: Turns, key: string, name: string, state: Omit<Checkpoint, "config" | "weights">): Promise<void> {
  const files = await exportAdapter(turns, name);
  const [config, weights] = await Promise.all(files.map(async (file) => new Uint8Array(await file.arrayBuffer())));
  await writeCheckpoint(key, { ...state, config: config!, weights: weights! });
}

type Plan = ReturnType<typeof check>;

function check(options: TrainOptions, contextLength: number) {
  checkNames(options, NAMES);
  const { variant = "lora", rank = 8, alpha = 2 * rank, targetModules = [], epochs = 3, learningRate = 1e-3, schedule = "linear", warmupSteps = 0 } = options;
  const { batch = 1, maxLength = Math.min(256, contextLength), dropout = 0, weightDecay = 0, seed = 0, resume = false } = options;
  const { memoryLimit, checkpoint, checkpointEvery = 20, signal } = options;
  for (const [name, value] of Object.entries({ rank, epochs, batch, maxLength, checkpointEvery })) checkPositive(name, value);
  for (const [name, value] of Object.entries({ warmupSteps, seed })) checkWhole(name, value);
  for (const [name, value] of Object.entries({ alpha, learningRate, dropout, weightDecay, memoryLimit })) checkNumber(name, value);
  if (!(learningRate >= 0 && learningRate < Infinity)) throw wrong("learningRate", learningRate, "0 or more");
  if (maxLength < 2 || maxLength > contextLength) throw wrong("maxLength", maxLength, `2 to ${contextLength}, the context`);
  checkTexts("targetModules", targetModules);
  checkString("variant", variant);
  checkString("schedule", schedule);
  checkBoolean("resume", resume);
  if (checkpoint !== undefined && (typeof checkpoint !== "string" || checkpoint === "")) throw wrong("checkpoint", checkpoint, "a text");
  // What is kept is an ordinary LoRA, and would be trained as one.
  if (checkpoint !== undefined && variant !== "lora") throw wrong("variant", variant, "lora with a checkpoint, which keeps no core");
  checkSignal(signal);
  checkFunction("onStep", options.onStep);
  return {
    name: givenName(options.name),
    lora: { variant, rank, alpha, targetModules, seed },
    given: { rank: options.rank, alpha: options.alpha, targetModules: options.targetModules },
    kept: { rank, alpha, targetModules: [...targetModules].sort(), learningRate, schedule, warmupSteps, dropout, weightDecay },
    optimizer: { dropout, weightDecay, seed },
    room: { maxLength, memoryLimit },
    slices: new Slices(options.budget),
    epochs, batch, maxLength, learningRate, schedule, warmupSteps, seed, resume, checkpoint, checkpointEvery, signal,
  };
}

/** Fisher and Yates, with mulberry32 for its dice: the same seed, the same order. */
function shuffled<T>(items: readonly T[], seed: number): T[] {
  const order = [...items];
  for (let left = order.length; left > 1; left--) {
    seed = (seed + 0x6d2b79f5) | 0;
    let noise = Math.imul(seed ^ (seed >>> 15), seed | 1);
    noise ^= noise + Math.imul(noise ^ (noise >>> 7), noise | 61);
    const at = Math.floor((((noise ^ (noise >>> 14)) >>> 0) / 2 ** 32) * left);
    [order[left - 1], order[at]] = [order[at]!, order[left - 1]!];
  }
  return order;
}
