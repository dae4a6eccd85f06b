// useEngine: a model that is loaded while a component is there.
// Not what is done with it.

import { useEffect, useRef, useState } from "react";
import { createEngine } from "../api/create.js";
import type { EngineOptions } from "../api/engine-options.js";
import type { Engine } from "../api/engine.js";
import type { Progress } from "../api/load.js";
import type { AdapterSource, ModelSource } from "../files/source.js";

/** How to load a model for a component. */
export interface UseEngineOptions extends Omit<EngineOptions, "signal"> {
  /** Adapters by name, loaded before the engine is handed out. None is switched on. */
  adapters?: Readonly<Record<string, AdapterSource>>;
}

/** What has become of it. */
export interface EngineState {
  /** Once it is loaded. */
  engine?: Engine;
  /** Of loading. */
  progress?: Progress;
  /** What went wrong instead: a `LorakeetError`. */
  error?: Error;
}

/**
 * Loads a model when the component is mounted, and frees it when it is gone, also in the middle of loading. Another
 * `source` takes the place of the one before; undefined is none yet. The options are read when loading begins.
 *
 * ```tsx
 * const { engine, progress, error } = useEngine("org/model", { dtype: "q8", adapters: { poet: "./adapters/poet/" } });
 * ```
 */
export function useEngine(source: ModelSource | undefined, options: UseEngineOptions = {}): EngineState {
  const [state, setState] = useState<EngineState>({});
  const latest = useRef(options);
  latest.current = options;
  useEffect(() => {
    if (source === undefined) return undefined;
    const leaving = new AbortController();
    const { signal } = leaving;
    const show = (change: EngineState) => {
      if (!signal.aborted) setState((before) => ({ ...before, ...change }));
    };
    setState({});
    const opened = open(source, latest.current, signal, show).then(
      (engine) => {
        show({ engine });
        return engine;
      },
      (error: Error) => void show({ error }),
    );
    return () => {
      leaving.abort();
      void opened.then((engine) => engine?.dispose());
    };
  }, [source]);
  return state;
}

async function open(
  source: ModelSource, { adapters = {}, ...options }: UseEngineOptions, signal: AbortSignal, show: (change: EngineState) => void,
): Promise<Engine> {
  const onProgress = (progress: Progress) => {
    show({ progress });
    options.onProgress?.(progress);
  };
  const engine = await createEngine(source, { ...options, signal, onProgress });
  try {
    for (const [name, adapter] of Object.entries(adapters)) await engine.loadAdapter(adapter, { name, signal });
    return engine;
  } catch (error) {
    await engine.dispose();
    throw error;
  }
}
