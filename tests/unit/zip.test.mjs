// A zip archive, read as its specification (APPNOTE 6.3) lays it out: from the end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import { zipped } from "../../dist/files/zip.js";

/** Name, and bytes, of each file. */
function unzipped(bytes) {
  const view = new DataView(bytes.buffer);
  const end = bytes.length - 22;
  assert.equal(view.getUint32(end, true), 0x06054b50);
  const [count, length, start] = [view.getUint16(end + 10, true), view.getUint32(end + 12, true), view.getUint32(end + 16, true)];
  assert.equal(start + length, end);
  const files = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    assert.equal(view.getUint32(at, true), 0x02014b50);
    const [crc, packed, size, nameLength, local] = [view.getUint32(at + 16, true), view.getUint32(at + 20, true), view.getUint32(at + 24, true), view.getUint16(at + 28, true), view.getUint32(at + 42, true)];
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
    assert.equal(view.getUint32(local, true), 0x04034b50);
    assert.deepEqual(bytes.slice(local + 4, local + 28), bytes.slice(at + 6, at + 30), "both headers say the same");
    const data = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const file = bytes.slice(data, data + size);
    assert.deepEqual([packed, crc], [size, crc32(file)]);
    files.push([name, [...file]]);
    at += 46 + nameLength;
  }
  assert.equal(at, end);
  return files;
}

test("what goes in comes out", async () => {
  const random = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 2654435761) >>> 13);
  const files = [new File(["{}"], "adapter_config.json"), new File([random], "adapter_model.safetensors"), new File([], "leer-ä")];
  const archive = new Uint8Array(await (await zipped("my voice", files)).arrayBuffer());
  assert.deepEqual(unzipped(archive), [
    ["my voice/adapter_config.json", [123, 125]],
    ["my voice/adapter_model.safetensors", [...random]],
    ["my voice/leer-ä", []],
  ]);
});
