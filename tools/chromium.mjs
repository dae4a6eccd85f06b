// Starts the Chromium in which tests and benchmarks run.

import { chromium } from "playwright-core";

const FLAGS = [
  "--headless=new", "--no-sandbox", "--enable-unsafe-webgpu", "--disable-quic",
  "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

/** A headless browser whose WebGPU computes in software, or on the machine's GPU where `hardware` is asked for. */
export function launch({ hardware = false } = {}) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: hardware ? FLAGS : [...FLAGS, "--use-webgpu-adapter=swiftshader"],
    ignoreDefaultArgs: ["--headless=old"],
  });
}
