// `lorakeet/ai-sdk`: an engine as a language model of the AI SDK.
// A door and nothing else.

export { lorakeet } from "./api/ai-sdk.js";
export type { LanguageModelSettings, Message } from "./api/ai-sdk.js";
