// `lorakeet/react`: an engine, a text and a chat as React's hooks take them. React is the caller's.
// A door and nothing else.

export { chatTransport } from "./react/chat-transport.js";
export type { ChatTransport, TransportChunk, TransportMessage } from "./react/chat-transport.js";
export { useCompletion } from "./react/use-completion.js";
export type { CompletionState } from "./react/use-completion.js";
export { useEngine } from "./react/use-engine.js";
export type { EngineState, UseEngineOptions } from "./react/use-engine.js";
