// A model's `generation_config.json`: what it gives for options that a request leaves out, as transformers takes them.
// Not its end tokens, which Rust reads.

/** What a model's makers recommend; what each means, a request's options say. */
export interface GenerationConfig {
  readonly temperature?: number;
  readonly top_p?: number;
  readonly top_k?: number;
  readonly min_p?: number;
  readonly typical_p?: number;
  readonly repetition_penalty?: number;
  readonly no_repeat_ngram_size?: number;
}

const NAMES: readonly (keyof GenerationConfig)[] = ["temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size"];

/** Reads the file, of which Rust knows already that it is JSON. What is no number, or asks for nothing, is left out. */
export function generationConfig(bytes: Uint8Array | undefined): GenerationConfig {
  if (!bytes) return {};
  const file = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
  const given = Object.fromEntries(NAMES.map((name) => [name, file[name]]).filter(([, value]) => typeof value === "number"));
  if (file.do_sample !== false) return given;
  const { repetition_penalty, no_repeat_ngram_size } = given as GenerationConfig;
  return withoutUndefined({ temperature: 0, repetition_penalty, no_repeat_ngram_size }) as GenerationConfig;
}

/** A request's options, with those of the model for what it leaves out. Mirostat takes the place of the filters. */
export function withDefaults<T extends { mirostat?: number }>(given: T, config: GenerationConfig): T {
  const { top_p, top_k, min_p, typical_p, ...others } = config;
  return { ...(given.mirostat ? others : config), ...withoutUndefined(given) } as T;
}

function withoutUndefined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as { [K in keyof T]: Exclude<T[K], undefined> };
}
