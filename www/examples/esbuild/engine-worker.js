// The engine's worker, as a script of its own: esbuild bundles what it is told to.

import "lorakeet/worker";
