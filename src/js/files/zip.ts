// Files in a zip archive, stored as they are: numbers of adapters hardly shrink.
// Not the reading of one.

/** A table of CRC-32 by byte: the polynomial of gzip and zip, its bits reversed. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** The archive, in which the files lie in `folder`. Sizes are below 4 GB. */
export async function zipped(folder: string, files: readonly File[]): Promise<Blob> {
  const parts: BlobPart[] = [];
  const directory: BlobPart[] = [];
  let at = 0;
  for (const file of files) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const name = new TextEncoder().encode(`${folder}/${file.name}`);
    const about = { crc: crc32(bytes), size: bytes.length, name };
    parts.push(header(0x04034b50, [], about, []), name, bytes);
    directory.push(header(0x02014b50, [20], about, [0, 0, 0, 0, 0, at & 0xffff, at >>> 16]), name);
    at += 30 + name.length + bytes.length;
  }
  const length = directory.reduce((sum, part) => sum + (part as Uint8Array).length, 0);
  return new Blob([...parts, ...directory, shorts(0x4b50, 0x0605, 0, 0, files.length, files.length, length & 0xffff, length >>> 16, at & 0xffff, at >>> 16, 0)]);
}

/** A file's header, before its bytes or in the directory: needs version 2.0, names in UTF-8, stored, 1 January 1980. */
function header(mark: number, made: number[], { crc, size, name }: { crc: number; size: number; name: Uint8Array }, rest: number[]): Uint8Array<ArrayBuffer> {
  const [low, high] = [size & 0xffff, size >>> 16];
  return shorts(mark & 0xffff, mark >>> 16, ...made, 20, 0x0800, 0, 0, 0x0021, crc & 0xffff, crc >>> 16, low, high, low, high, name.length, 0, ...rest);
}

/** Numbers of 16 bits, the lower byte first. */
function shorts(...numbers: number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(numbers.flatMap((number) => [number & 0xff, (number >>> 8) & 0xff]));
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
