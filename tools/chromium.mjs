// Starts the Chromium in which tests and benchmarks run.

import { chromium } from "playwright-core";

const FLAGS = [
  "--headless=new", "--no-sandbox", "--enable-unsafe-webgpu", "--disable-quic",
  "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

/** A headless browser whose WebGPU computes in software, or on the machine's GPU where `hardware` is asked for. */
export function launch({ hardware = false } = {}) {
  return chromium.launch(options(hardware ? FLAGS : [...FLAGS, "--use-webgpu-adapter=swiftshader"]));
}

/** The same with an extension, the unpacked one in `folder`; its one context is returned. */
export function launchWithExtension(folder) {
  const flags = [`--load-extension=${folder}`, `--disable-extensions-except=${folder}`, "--disable-features=DisableLoadExtensionCommandLineSwitch"];
  const { ignoreDefaultArgs, ...others } = options([...FLAGS, ...flags]);
  return chromium.launchPersistentContext("", { ...others, ignoreDefaultArgs: [...ignoreDefaultArgs, "--disable-extensions"] });
}

function options(args) {
  return { executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args, ignoreDefaultArgs: ["--headless=old"] };
}
