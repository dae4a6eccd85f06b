// What the GPU calls itself, asked of the browser: wgpu does not pass that on from there.
// Not the choice of an adapter: Rust makes it, with the same preference.

/** For example `apple metal-3` or `google swiftshader`; empty where the browser does not tell. */
export async function gpuName(): Promise<string> {
  const info = await gpuInfo();
  return info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(" ");
}

/** All that the browser tells of the GPU and its driver, in one text. */
export async function gpuIdentity(): Promise<string> {
  const { vendor, architecture, device, description } = (await gpuInfo()) ?? {};
  return [vendor, architecture, device, description].join("\n");
}

/** Whether there is an adapter. One that cannot be asked for is: Rust then says what is wrong. */
export async function hasGpu(): Promise<boolean> {
  try {
    return Boolean(await adapter());
  } catch {
    return true;
  }
}

async function gpuInfo(): Promise<GpuInfo | undefined> {
  try {
    return (await adapter())?.info;
  } catch {
    return undefined; // it only tells names
  }
}

async function adapter(): Promise<{ info?: GpuInfo } | null | undefined> {
  const { gpu } = globalThis.navigator as { gpu?: Gpu };
  return gpu?.requestAdapter({ powerPreference: "high-performance" });
}

/** Whether an adapter of that name computes on the CPU: kernels are then shaped for that. */
export function isSoftware(name: string): boolean {
  return /swiftshader|llvmpipe|basic render/i.test(name);
}

/** The little of WebGPU's types that is used here. */
interface Gpu {
  requestAdapter(options: { powerPreference: "high-performance" }): Promise<{ info?: GpuInfo } | null>;
}

interface GpuInfo {
  vendor: string;
  architecture: string;
  device: string;
  description: string;
}
