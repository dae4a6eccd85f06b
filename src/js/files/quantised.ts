// Which GGUF file of a repository is meant, where its id names none: by the types in their names, and their sizes.
// Not the reading of it.

import { LorakeetError } from "../error.js";
import { GGUF, partNames } from "./bytes.js";

/** A file of a repository, as the hub lists it. */
export interface ListedFile {
  path: string;
  size: number;
}

/** A model in one GGUF file, or in parts of one. */
interface Quantised {
  /** The file, or its first part. */
  name: string;
  /** Of all parts. */
  bytes: number;
  /** As the name tells: `Q4_K_M`; empty where it tells none. */
  type: string;
}

/**
 * The types that are chosen unasked, those preferred first: llama.cpp's own default, then what is near it in size, and
 * of what takes more or rounds more the smaller loss first. Others, such as `IQ2_M`, have to be asked for.
 */
const PREFERRED = [
  "Q4_K_M", "Q4_K_S", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1", "Q5_K_M", "Q5_K_S", "Q5_0", "Q5_1", "Q6_K", "Q8_0",
  "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "F16", "BF16", "F32",
];

/** The type that a GGUF file's name ends with. */
function typeOf(name: string): string {
  const stem = name.slice(0, -GGUF.length).replace(/-\d{5}-of-\d{5}$/, "");
  const last = stem.split(/[-.]/).at(-1)!.toUpperCase();
  return /^(I?Q\d|TQ\d|MXFP\d|BF16$|F16$|F32$)/.test(last) ? last : "";
}

/** The models among files of a folder. Projectors of images and matrices of importance are none. */
function models(files: readonly ListedFile[], folder: string): Quantised[] {
  const sizes = new Map<string, number>();
  for (const { path, size } of files) {
    const name = path.startsWith(folder) ? path.slice(folder.length) : "/";
    if (name.endsWith(GGUF) && !name.includes("/") && !/^(mmproj|imatrix)/i.test(name)) sizes.set(name, size);
  }
  const found = [];
  for (const name of sizes.keys()) {
    const parts = partNames(name);
    if (parts[0] !== name || parts.some((part) => !sizes.has(part))) continue;
    found.push({ name, bytes: parts.reduce((sum, part) => sum + sizes.get(part)!, 0), type: typeOf(name) });
  }
  return found;
}

/**
 * The GGUF file to load of a repository's: of the type asked for; else of the preferred one among those of at most `room`
 * bytes, or the smallest if none is. Undefined where there is no GGUF file. Errors with `argument`, naming what there is, for
 * a type that is not there, or if only the caller can choose. `folder` is where to look, empty or with `/` at its end.
 */
export function chooseGguf(id: string, files: readonly ListedFile[], folder: string, type: string | undefined, room: number): string | undefined {
  const all = models(files, folder);
  const there = all.map((each) => each.type || each.name).join(", ") || "none";
  if (type !== undefined) {
    const asked = all.find((each) => each.type === type.toUpperCase());
    if (asked) return asked.name;
    throw new LorakeetError("argument", `"${id}": no GGUF file of type ${type}, expected one of ${there}`);
  }
  if (all.length <= 1) return all[0]?.name;
  const known = PREFERRED.flatMap((type) => all.filter((each) => each.type === type));
  const best = known.find(({ bytes }) => bytes <= room) ?? known.sort((a, b) => a.bytes - b.bytes)[0];
  if (best) return best.name;
  throw new LorakeetError("argument", `"${id}": ${all.length} GGUF files, expected one named, as "${id}:TYPE" or "${id}/FILE": ${there}`);
}

/** Bytes of a model that are likely to fit: half of the memory that the browser tells of, 4 GB where it tells none. WebAssembly has 4 GB. */
export function roomFor(device: "auto" | "webgpu" | "cpu"): number {
  const { navigator } = globalThis as { navigator?: { gpu?: unknown; deviceMemory?: number } };
  const onGpu = device === "webgpu" || (device === "auto" && navigator?.gpu !== undefined);
  const gigabytes = Math.min(navigator?.deviceMemory ?? 4, onGpu ? Infinity : 4);
  return gigabytes * 2 ** 29;
}
