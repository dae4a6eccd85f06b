// `lorakeet/tabs`: one engine for all tabs of an origin.
// A door and nothing else.

export { shareEngine } from "./thread/tabs.js";
