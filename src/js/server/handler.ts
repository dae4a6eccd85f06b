// OpenAI's HTTP interface over an engine, as a function from requests to responses: for Node, Deno, Bun, service workers.
// Not a socket: http.ts listens in Node. Not OpenAI's shapes: the engine has those.

import { checkNames } from "../options.js";
import type { Engine } from "../api/engine.js";
import { bodyOf } from "./body.js";
import { Refusal, jsonOf, refusalOf } from "./refusal.js";
import { events } from "./events.js";

/** Who may ask, and what the model is called. */
export interface HandlerOptions {
  /** What every request must bring, as `authorization: Bearer …`. Default: nothing. */
  apiKey?: string;
  /** Origins whose pages may ask, or `"*"` for all. Default: none but the server's own. */
  origins?: readonly string[];
  /** Names of hosts by which the server may be called: others are pages' tricks to reach a local server. Default: any. */
  hosts?: readonly string[];
}

/** A JSON body, its names as clients wrote them. */
type Body = Record<string, unknown>;

type Answer = (engine: Engine, body: Body, signal: AbortSignal) => Promise<Response>;

/** Options of OpenAI's service that do not concern the text: clients send them by themselves. */
const SERVICE = ["store", "metadata", "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"];

const POSTS: Record<string, Answer> = {
  "/v1/chat/completions": (engine, body, signal) => texts((request) => engine.chat.completions.create(request as never), body, signal),
  "/v1/completions": (engine, body, signal) => texts((request) => engine.completions.create(request as never), body, signal),
  "/v1/embeddings": embeddings,
};

/**
 * Answers OpenAI's requests: `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/models`, and `/health`.
 * A request chooses adapters by its `model`, the engine's name, a colon and the adapter's or that alone, or by `adapter`
 * and `adapter_names` as in the engine's own requests; all of those have their names and defaults here too.
 *
 * ```ts
 * import { createHandler } from "lorakeet/server";
 *
 * Deno.serve(createHandler(engine));
 * Bun.serve({ fetch: createHandler(engine) });
 * ```
 *
 * In Node, `npx lorakeet serve MODEL` is such a server. What goes wrong is an answer with OpenAI's `error` in it, whose
 * `code` is the {@link ErrorKind | kind}.
 */
export function createHandler(engine: Engine, options: HandlerOptions = {}): (request: Request) => Promise<Response> {
  checkNames(options, ["apiKey", "origins", "hosts"]);
  return async (request) => {
    const shared = sharing(request, options);
    let response: Response;
    try {
      response = request.method === "OPTIONS" ? new Response(null, { status: 204 }) : await answer(engine, request, options);
    } catch (error) {
      response = refusalOf(error);
    }
    for (const [name, value] of Object.entries(shared)) response.headers.set(name, value);
    return response;
  };
}

async function answer(engine: Engine, request: Request, { apiKey, hosts }: HandlerOptions): Promise<Response> {
  const { pathname, hostname } = new URL(request.url);
  if (hosts && !hosts.includes(hostname)) throw new Refusal(403, `host ${hostname}: not a name of this server`);
  if (apiKey !== undefined && request.headers.get("authorization") !== `Bearer ${apiKey}`) {
    throw new Refusal(401, "authorization: expected this server's key as a bearer token", "invalid_api_key");
  }
  const path = pathname.replace(/(.)\/$/, "$1");
  if (request.method === "GET") {
    if (path === "/health") return jsonOf({ status: "ok" });
    if (path === "/v1/models") return jsonOf({ object: "list", data: await models(engine) });
    if (path.startsWith("/v1/models/")) return jsonOf(await model(engine, decodeURIComponent(path.slice("/v1/models/".length))));
  }
  const post = Object.hasOwn(POSTS, path) ? POSTS[path] : undefined;
  if (!post) throw new Refusal(404, `${request.method} ${path}: not found, expected POST ${Object.keys(POSTS).join(", ")}, or GET /v1/models`);
  if (request.method !== "POST") throw new Refusal(405, `${request.method} ${path}: expected POST`);
  const body = await bodyOf(request);
  for (const name of SERVICE) delete body[name];
  return post(engine, { ...body, ...(await chosen(engine, body)) }, request.signal);
}

/** A whole text, or events as it comes. */
async function texts(create: (request: Body) => unknown, body: Body, signal: AbortSignal): Promise<Response> {
  const request = { ...body, signal };
  if (!body.stream) return jsonOf(await create(request));
  return events(create(request) as AsyncGenerator<object, void, undefined>);
}

/** OpenAI's own client asks for base64, which is shorter than digits. */
async function embeddings(engine: Engine, { encoding_format: format, ...body }: Body, signal: AbortSignal): Promise<Response> {
  if (format !== undefined && format !== null && format !== "float" && format !== "base64") {
    throw new Refusal(400, `encoding_format ${JSON.stringify(format)}, expected "float" or "base64"`);
  }
  const list = await engine.embeddings.create({ ...body, signal } as never);
  if (format !== "base64") return jsonOf(list);
  return jsonOf({ ...list, data: list.data.map((each) => ({ ...each, embedding: base64(each.embedding) })) });
}

/** Numbers of 32 bits, the lowest byte first. */
function base64(numbers: readonly number[]): string {
  const view = new DataView(new ArrayBuffer(4 * numbers.length));
  numbers.forEach((number, i) => view.setFloat32(4 * i, number, true));
  return btoa(Array.from(new Uint8Array(view.buffer), (byte) => String.fromCharCode(byte)).join(""));
}

/** OpenAI's `model`. */
interface ModelCard {
  id: string;
  object: "model";
  created: number;
  owned_by: string;
  /** Of an adapter: the base's id. The name is vLLM's. */
  parent?: string;
}

/** The base model, and each adapter as a model of its own, as vLLM lists them. */
async function models(engine: Engine): Promise<ModelCard[]> {
  const { model } = engine.info;
  const card = (id: string, parent?: string): ModelCard => ({ id, object: "model", created: 0, owned_by: "lorakeet", ...(parent === undefined ? {} : { parent }) });
  return [card(model), ...(await engine.listAdapters()).map(({ name }) => card(`${model}:${name}`, model))];
}

/** By its id, by the adapter's name alone, or by the id on the hub that the name is from. */
async function model(engine: Engine, id: string): Promise<ModelCard> {
  const all = await models(engine);
  const name = id.slice(id.lastIndexOf("/") + 1);
  const found = all.find((each) => each.id === name || each.id === `${engine.info.model}:${name}`);
  if (found) return found;
  throw new Refusal(404, `model \`${id}\`: not here, expected one of ${all.map((each) => each.id).join(", ")}`, "model_not_found");
}

/** The request's `model` as the engine takes it. Errors where there is no such model. */
async function chosen(engine: Engine, { model: name }: Body): Promise<Body> {
  if (typeof name !== "string") return {};
  return { model: (await model(engine, name)).id };
}

/** What lets pages of other origins read the answer. */
function sharing(request: Request, { origins = [] }: HandlerOptions): Record<string, string> {
  const origin = request.headers.get("origin");
  if (origin === null || !(origins.includes(origin) || origins.includes("*"))) return {};
  const asked = request.headers.get("access-control-request-headers");
  return {
    "access-control-allow-origin": origin,
    "access-control-allow-methods": "GET, POST",
    vary: "origin",
    ...(asked === null ? {} : { "access-control-allow-headers": asked }),
  };
}
