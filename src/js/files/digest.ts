// A text's SHA-256 in hexadecimal, to name or compare what it stands for.
// Not that of a file: its bytes come in pieces, and are digested in WebAssembly.

/** Undefined on pages without digests: those not served over https. */
export async function digest(text: string): Promise<string | undefined> {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  const bytes = await subtle?.digest("SHA-256", new TextEncoder().encode(text));
  return bytes && Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
