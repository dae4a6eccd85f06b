// How far the engine's own module has come: the first thing a visitor waits for, of which the engine cannot tell yet.
// Not what the engine uses: it asks for the same file, which a browser fetches once for both.

const MODULE = "./dist/wasm/lorakeet_bg.wasm";
/** Of a compressed answer the length is not known: so many bytes are told at a time. */
const STEP_BYTES = 250_000;

/** `hear` hears {loaded, total} as it comes; `total` is 0 where the server does not tell. Whatever fails is the engine's to say. */
export async function watchModule(hear) {
  try {
    const response = await fetch(MODULE);
    if (!response.ok) return;
    const total = response.headers.has("content-encoding") ? 0 : Number(response.headers.get("content-length"));
    let [loaded, told] = [0, 0];
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      loaded += value.length;
      if (total === 0 && loaded - told < STEP_BYTES) continue;
      told = loaded;
      hear({ loaded, total });
    }
  } catch {
    // the engine meets it too
  }
}
