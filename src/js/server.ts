// `lorakeet/server`: OpenAI's HTTP interface over an engine.
// A door and nothing else.

export { createHandler } from "./server/handler.js";
export type { HandlerOptions } from "./server/handler.js";
