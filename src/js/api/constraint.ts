// What a text may be, said token by token by code outside the engine.
// Not who asks for it, nor when it is asked.

/** Decides token by token what a text may be. */
export interface Constraint {
  /**
   * Sets the bit of each token that may come next in `mask`, which is zeros at first: bit t % 32 of word t >>> 5. Tells
   * whether the text may end here: with `may` the end tokens are allowed, too; with `must` nothing more is drawn.
   */
  allowed(mask: Uint32Array): "never" | "may" | "must";
  /** Hears the token that was drawn; of end tokens it does not hear. */
  accept(token: number): void;
  /** Frees what it holds; called once. */
  free(): void;
}
