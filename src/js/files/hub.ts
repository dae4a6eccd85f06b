// Hub ids, org/name or org/name@revision, org/name/file.gguf or org/name:TYPE: where their files are, who hears the token, what
// a refusal means. Of the hub's API it knows the list of files; those are read as from any folder's URL.

import { LorakeetError } from "../error.js";
import { wrong } from "../options.js";
import { page } from "../page.js";

/** How to read from the Hugging Face Hub. */
export interface HubOptions {
  /** Branch, tag or commit, if the hub id does not name one. Default `main`. */
  revision?: string;
  /** A folder in the repository, such as `checkpoint-500` or `adapters/sql`, if the files are not at its top. */
  subfolder?: string;
  /** Access token for private and gated repositories. It is sent to the hub only, not to servers that the hub redirects to. */
  token?: string;
  /** The hub or a mirror of it. Default `https://huggingface.co`. */
  hubUrl?: string | URL;
}

export const HUB_NAMES = ["revision", "subfolder", "token", "hubUrl"] as const;

const HUB = "https://huggingface.co";
const ID = /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:\/([^\s@?#]+\.gguf)|:(\w+))?(?:@([^\s@]+))?$/;

/** A revision that is always the same. */
export const COMMIT = /^[0-9a-f]{40}$/;

/** One repository at one revision. */
export interface HubRepository {
  readonly id: string;
  readonly revision: string;
  /** The path of the GGUF file meant, if it is one. */
  readonly file: string | undefined;
  /** The type of the GGUF file meant, if one is: `Q4_K_M`. */
  readonly type?: string | undefined;
  /** The end of an error, where there is no such repository: a path without `./` looks like an id. */
  readonly hint?: string;
}

/** The hub as one call's options describe it. */
export class Hub {
  readonly #url: URL;
  readonly #token: string | undefined;
  readonly #revision: string | undefined;
  readonly #subfolder: string | undefined;

  /** Errors with `argument`. No message shows the token. */
  constructor({ revision, subfolder, token, hubUrl = HUB }: HubOptions) {
    if (token !== undefined && (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token))) {
      throw new LorakeetError("argument", "token: expected a string of visible ASCII characters");
    }
    if (revision !== undefined && (typeof revision !== "string" || revision === "")) throw wrong("revision", revision, "a branch, tag or commit");
    if (subfolder !== undefined && (typeof subfolder !== "string" || subfolder.split("/").some((part) => ["", ".", ".."].includes(part)))) {
      throw wrong("subfolder", subfolder, "a folder's path without `/` at its ends");
    }
    try {
      this.#url = new URL(hubUrl, page().base);
    } catch {
      throw wrong("hubUrl", String(hubUrl), "a URL");
    }
    if (!this.#url.pathname.endsWith("/")) this.#url.pathname += "/";
    this.#token = token;
    this.#revision = revision;
    this.#subfolder = subfolder;
  }

  /** The repository a source names. Errors with `argument` if it is no id, or has a revision twice. */
  repository(of: string, source: string): HubRepository {
    const [, id, file, type, revision] = ID.exec(source) ?? [];
    if (id === undefined || (type !== undefined && of !== "model")) {
      const hint = "a hub id (`org/name`, `org/name@revision`, `org/name/file.gguf` or, of a model, `org/name:Q4_K_M`; the option `subfolder` names a folder in it), or a URL that begins with `./`, `/` or `https:`";
      throw new LorakeetError("argument", `${of} ${JSON.stringify(source)}, expected ${hint}`);
    }
    if (revision !== undefined && this.#revision !== undefined && revision !== this.#revision) {
      throw new LorakeetError("argument", `${of} ${JSON.stringify(source)}: revision ${JSON.stringify(this.#revision)} is another`);
    }
    return { id, revision: revision ?? this.#revision ?? "main", file, type, hint: this.#token === undefined ? `; if a path is meant, write \`./${source}\`` : "" };
  }

  /** The folder of a repository's files, or the file meant. */
  url({ id, revision, file = "" }: HubRepository): URL {
    const folder = this.#subfolder?.split("/").map((part) => `${encodeURIComponent(part)}/`).join("") ?? "";
    return new URL(`${id}/resolve/${encodeURIComponent(revision)}/${folder}${encodeURI(file)}`, this.#url);
  }

  /** The list of a repository's files. */
  list({ id, revision }: HubRepository): URL {
    return new URL(`api/models/${id}/tree/${encodeURIComponent(revision)}?recursive=true`, this.#url);
  }

  /** The folder meant in a repository: empty, or with `/` at its end. */
  get folder(): string {
    return this.#subfolder === undefined ? "" : `${this.#subfolder}/`;
  }

  /** Errors with `argument` for options that only a hub id can have. */
  refuseOptions(of: string): void {
    for (const [name, value] of Object.entries({ revision: this.#revision, subfolder: this.#subfolder })) {
      if (value !== undefined) throw new LorakeetError("argument", `${name} ${JSON.stringify(value)}: the ${of} is no hub id`);
    }
  }

  /** The token, for the hub's own origin. A browser drops it where a redirect leaves that. */
  headers(url: URL): Record<string, string> {
    return this.#token !== undefined && url.origin === this.#url.origin ? { authorization: `Bearer ${this.#token}` } : {};
  }

  /** What the hub's refusal of a file means; undefined where only that file is missing. */
  refusal(repository: HubRepository, name: string, response: Response): LorakeetError | undefined {
    const { id, revision, hint = "" } = repository;
    const code = response.headers.get("x-error-code");
    const said = `${name} of "${id}": HTTP ${response.status}`;
    const error = (words: string, end = "") => new LorakeetError("network", `${said}: ${words}, ${new URL(id, this.#url)}${end}`);
    const pass = this.#token === undefined ? "pass the option `token`" : "the token may not read it";
    if (code === "RevisionNotFound") return error(`there is no revision "${revision}"`);
    if (code === "RepoNotFound" || response.status === 401) return error(`no such repository, or a private one: check the id; ${pass}`, hint);
    if (response.status === 403) return error(`access is restricted: accept its terms on its page; ${pass}`);
    if (response.status === 429) {
      const after = response.headers.get("retry-after");
      const wait = after === null ? "wait" : `wait ${after} s`;
      return error(`too many requests: ${wait}${this.#token === undefined ? ", or pass the option `token`" : ""}`);
    }
    return undefined;
  }

  /** The error for want of a file. */
  missing({ id, revision }: HubRepository, name: string): LorakeetError {
    return new LorakeetError("network", `${this.#subfolder === undefined ? "" : `${this.#subfolder}/`}${name} of "${id}": not there at revision "${revision}": check the id and the revision, ${new URL(id, this.#url)}`);
  }
}
