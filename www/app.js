// The page's first script: its language and its tabs, at once. All else comes once the page has been painted.
// Not the page: that is page.js.

import { element } from "./parts.js";
import { showViews } from "./views.js";
import { localise } from "./words.js";

/** The page is to be seen before what is large is fetched; a hidden one is never painted. */
function painted() {
  return new Promise((done) => {
    if (document.visibilityState === "hidden") done();
    new PerformanceObserver(done).observe({ type: "paint", buffered: true });
    setTimeout(done, 2000); // where a browser does not tell
  });
}

localise(element("language"));
showViews();
await painted();
await import("./page.js");
