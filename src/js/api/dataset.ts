// What an adapter is to learn, in the forms that a dataset may have.
// Not their checks, nor how they become tokens: that is Rust's.

import type { ChatMessage } from "./chat-request.js";

/** What a dataset notes beside its examples; nothing of it is learned. A field that is null is as one that is not there. */
export interface ItemNotes {
  id?: unknown;
  source?: unknown;
  category?: unknown;
  score?: unknown;
}

/** A text to go on from, and what is to come after it. */
export interface TrainingExample extends ItemNotes {
  /** Given. */
  prompt: string;
  /** To be learned, with an end token after it where the model has one. */
  completion: string;
}

/** A conversation in the model's chat template, whose answers are to be learned, each after what came before it. */
export interface TrainingConversation extends ItemNotes {
  messages: readonly ChatMessage[];
}

/** An example in Alpaca's form. Its prompt has the headings `### Instruction:`, `### Input:` (where there is one) and `### Response:`. */
export interface InstructionExample extends ItemNotes {
  instruction: string;
  input?: string | null;
  /** To be learned, with an end token after it where the model has one. */
  output: string;
  /** All of it once more, as Alpaca's own file has it; not read. */
  text?: unknown;
}

/** A turn in ShareGPT's form. */
export interface ShareGptTurn {
  /** `human` or `user`, `gpt` or `assistant`, `system`. */
  from: string;
  value: string;
}

/** A conversation in ShareGPT's form, or with messages in the place of its turns. It is learned as {@link TrainingConversation} is. */
export interface ShareGptConversation extends ItemNotes {
  conversations: readonly (ShareGptTurn | ChatMessage)[];
}

/** A part of a dataset. */
export type TrainingItem = string | TrainingExample | TrainingConversation | InstructionExample | ShareGptConversation;

/** One text, or several of texts, examples and conversations. */
export type TrainingDataset = string | readonly TrainingItem[];
