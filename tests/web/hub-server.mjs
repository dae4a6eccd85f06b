// A hub in small: org/name/resolve/revision/file answers with a redirect to another origin, its CDN.
// Not the real hub; what matters of it is here: the redirect, the token, the list of files, and how it refuses.

import { readFile, readdir, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";

export const TOKEN = "hf_test-Token.1";

/**
 * `repositories` maps ids to {folder, gated?, revisions?}, or with `files`, the paths of files by name, for `folder`. Returns the hub's `url`, the origin of its CDN,
 * and `seen`: {server, method, path, authorization} of every request but CORS's own.
 */
export async function startHub(repositories) {
  const seen = [];
  const note = (server, { method, url, headers }) => method !== "OPTIONS" && seen.push({ server, method, path: url, authorization: headers.authorization });

  const cdn = await listen(async (request, response) => {
    note("cdn", request);
    // A CDN that does not expect the header refuses to be asked with it.
    if (preflight(request, response, "range")) return;
    const [, id, name] = /^\/([^/]+%2F[^/]+)\/(.+)$/.exec(request.url) ?? [];
    const bytes = id && (await readFile(pathOf(repositories[decodeURIComponent(id)], name)).catch(() => null));
    if (!bytes) return response.writeHead(404).end();
    response.writeHead(200, { "content-length": bytes.length, "access-control-allow-origin": "*" }).end(request.method === "HEAD" ? undefined : bytes);
  });

  const hub = await listen(async (request, response) => {
    note("hub", request);
    if (preflight(request, response, "authorization")) return;
    const refuse = (status, code, headers = {}) => response
      .writeHead(status, { "access-control-allow-origin": "*", "access-control-expose-headers": "X-Error-Code, Retry-After", ...(code && { "x-error-code": code }), ...headers })
      .end("refused");
    const [, listed, at] = /^\/mirror\/api\/models\/([^/]+\/[^/]+)\/tree\/([^/?]+)\?recursive=true$/.exec(request.url) ?? [];
    const [, id = listed, revision = at, name] = /^\/mirror\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(request.url) ?? [];
    const { authorization } = request.headers;
    if (id === "busy/model") return refuse(429, undefined, { "retry-after": "60" });
    const repository = repositories[id];
    if (authorization && authorization !== `Bearer ${TOKEN}`) return refuse(401);
    // Nobody is told what is private.
    if (!repository) return authorization ? refuse(404, "RepoNotFound") : refuse(401, "RepoNotFound");
    if (repository.gated === "terms") return refuse(403, "GatedRepo");
    if (repository.gated && !authorization) return refuse(401, "GatedRepo");
    if (!(repository.revisions ?? ["main"]).includes(decodeURIComponent(revision))) return refuse(404, "RevisionNotFound");
    if (listed) {
      const list = JSON.stringify(await listOf(repository));
      return response.writeHead(200, { "access-control-allow-origin": "*", "content-type": "application/json", etag: `"${list.length}"` }).end(request.method === "HEAD" ? undefined : list);
    }
    if (!(await readFile(pathOf(repository, name)).catch(() => null))) return refuse(404, "EntryNotFound");
    response.writeHead(302, { location: `${cdn.url}${encodeURIComponent(id)}/${name}`, "access-control-allow-origin": "*" }).end();
  });

  return { url: `${hub.url}mirror`, cdn: cdn.url, seen, close: () => Promise.all([hub.close(), cdn.close()]) };
}

function pathOf({ folder, files }, name) {
  return files ? files[name] ?? "" : join(folder, name);
}

/** What of a repository's files the hub lists. */
async function listOf({ folder, files }) {
  const names = files ? Object.keys(files) : await readdir(folder, { recursive: true });
  const entries = names.map(async (path) => {
    const at = await stat(pathOf({ folder, files }, path));
    return { type: at.isFile() ? "file" : "directory", path, size: at.size };
  });
  return Promise.all(entries);
}

/** Answers CORS's question whether `header` may be sent. */
function preflight(request, response, header) {
  if (request.method !== "OPTIONS") return false;
  response.writeHead(204, { "access-control-allow-origin": "*", "access-control-allow-methods": "GET, HEAD", "access-control-allow-headers": header }).end();
  return true;
}

async function listen(answer) {
  const server = createServer(answer);
  await new Promise((done) => server.listen(0, "localhost", done));
  const close = () => new Promise((done) => {
    server.close(done);
    server.closeAllConnections();
  });
  return { url: `http://localhost:${server.address().port}/`, close };
}
