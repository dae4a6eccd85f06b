// What a text may be, said token by token by code outside the engine.
// Not who asks for it, nor when it is asked.

/** What may come next in a text. */
export interface Allowed {
  /** The bit of each token that may: bit t % 32 of word t >>> 5. */
  mask: Uint32Array;
  /** Whether the text may end here: with `may` the end tokens are allowed, too; with `must` nothing more is drawn. */
  ending: "never" | "may" | "must";
}

/** Decides token by token what a text may be. */
export interface Constraint {
  allowed(): Allowed;
  /** Hears the token that was drawn; of end tokens it does not hear. */
  accept(token: number): void;
}
