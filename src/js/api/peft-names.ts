// PEFT's spellings of the options of training, for those whose fingers know `LoraConfig`.
// Not of a finished adapter: what its `adapter_config.json` says is Rust's to read.

import { LorakeetError } from "../error.js";

/** Options as PEFT's `LoraConfig` spells them, each in the place of the one named. */
export interface PeftSpellings {
  /** `rank` */
  r?: number;
  /** `alpha` */
  lora_alpha?: number;
  /** `dropout` */
  lora_dropout?: number;
  /** `targetModules` */
  target_modules?: readonly string[];
}

const SPELLINGS: Record<keyof PeftSpellings, string> = { r: "rank", lora_alpha: "alpha", lora_dropout: "dropout", target_modules: "targetModules" };

/** The options under their own names. Errors with `argument` where one is given in both spellings. */
export function spelled<T extends PeftSpellings>(options: T): Omit<T, keyof PeftSpellings> {
  if (typeof options !== "object" || options === null) return options;
  const entries = Object.entries(options).filter(([, value]) => value !== undefined).map(([name, value]) => {
    const own = Object.hasOwn(SPELLINGS, name) ? SPELLINGS[name as keyof PeftSpellings] : name;
    if (own !== name && (options as Record<string, unknown>)[own] !== undefined) throw new LorakeetError("argument", `\`${own}\` and \`${name}\` are both given, expected one of them`);
    return [own, value];
  });
  return Object.fromEntries(entries) as T;
}
