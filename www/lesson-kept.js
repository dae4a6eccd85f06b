// The lesson under way, kept in this browser until it ends: a page that is closed or refreshed goes on with it.
// The adapter as far as it came is in the engine's checkpoint; here is what was to be learned.

const KEY = "lorakeet lesson";
/** Where the engine has its checkpoints, in the origin's private file system. */
const FOLDER = "lorakeet-checkpoints";

const modelOf = ({ info }) => `${info.model} ${info.vocabSize}`;

/** Keeps a lesson, {name, text, epochs}; gives the key for its checkpoint, undefined where the browser keeps nothing. */
export async function keepLesson(engine, lesson) {
  const checkpoint = `page ${crypto.randomUUID()}`;
  try {
    await navigator.storage.getDirectory();
    localStorage.setItem(KEY, JSON.stringify({ ...lesson, checkpoint, model: modelOf(engine) }));
    return checkpoint;
  } catch {
    return undefined;
  }
}

/** The lesson that this model was at when the page went, {name, text, epochs, checkpoint}, if there is one. */
export function keptLesson(engine) {
  try {
    const { model, ...lesson } = JSON.parse(localStorage.getItem(KEY)) ?? {};
    return model === modelOf(engine) ? lesson : undefined;
  } catch {
    return undefined;
  }
}

/** The lesson has ended, or is not to go on. */
export async function dropLesson(checkpoint) {
  try {
    localStorage.removeItem(KEY);
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER);
    await folder.removeEntry(`${encodeURIComponent(checkpoint)}.checkpoint`);
  } catch {
    // there was none
  }
}
