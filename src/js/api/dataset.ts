// The formats that a training dataset may have.
// Not their checks, nor how they become tokens: that is Rust's.

import type { ChatMessage } from "./chat-request.js";

/** Metadata that items of a dataset may have. It is ignored. A field that is null counts as missing, here and in the other formats. */
export interface ItemNotes {
  id?: unknown;
  source?: unknown;
  category?: unknown;
  score?: unknown;
}

/** A prompt and its completion. */
export interface TrainingExample extends ItemNotes {
  /** Context only; trained on too if `completionOnly` is false. */
  prompt: string;
  /** Trained on, followed by an end token if the model has one. */
  completion: string;
}

/** A conversation, formatted by the model's chat template. Its assistant messages are trained on, each in the context of those before it. */
export interface TrainingConversation extends ItemNotes {
  messages: readonly ChatMessage[];
}

/** An example in Alpaca's format. Its prompt has the headings `### Instruction:`, `### Input:` (if there is an input) and `### Response:`. */
export interface InstructionExample extends ItemNotes {
  instruction: string;
  input?: string | null;
  /** Trained on, followed by an end token if the model has one. */
  output: string;
  /** The whole prompt and output again, as in the original Alpaca file. Ignored. */
  text?: unknown;
}

/** A turn in ShareGPT's format. */
export interface ShareGptTurn {
  /** `human` or `user`, `gpt` or `assistant`, or `system`. */
  from: string;
  value: string;
}

/** A conversation in ShareGPT's format; messages may stand in place of its turns. It is trained on like a {@link TrainingConversation}. */
export interface ShareGptConversation extends ItemNotes {
  conversations: readonly (ShareGptTurn | ChatMessage)[];
}

/** One item of a dataset. */
export type TrainingItem = string | TrainingExample | TrainingConversation | InstructionExample | ShareGptConversation;

/** A text, or an array of texts, examples and conversations. */
export type TrainingDataset = string | readonly TrainingItem[];
