// Makes a PNG of flat areas and text smaller: coarser colours, without the filters that suit photographs.
// Not an encoder: it reads what Chromium writes, eight bits for each of three or four channels.

import { crc32, deflateSync, inflateSync } from "node:zlib";

const SIGNATURE_BYTES = 8;
/** Of 255: what no eye sees costs half of the bytes. */
const COLOUR_STEP = 4;

/** The same picture, to half a step in each channel. Errors for a file of another kind. */
export function smaller(png) {
  const chunks = read(png);
  const header = chunks.find(({ type }) => type === "IHDR").data;
  const [width, height, depth, colour, interlaced] = [header.readUInt32BE(0), header.readUInt32BE(4), header[8], header[9], header[12]];
  const channels = { 2: 3, 6: 4 }[colour];
  if (depth !== 8 || channels === undefined || interlaced !== 0) throw new Error(`PNG of depth ${depth}, colour type ${colour}, expected 8 and 2 or 6`);
  const rows = inflateSync(Buffer.concat(chunks.filter(({ type }) => type === "IDAT").map(({ data }) => data)));
  undo(rows, height, width * channels, channels);
  coarsen(rows, width * channels + 1);
  return Buffer.concat([png.subarray(0, SIGNATURE_BYTES), chunk("IHDR", header), chunk("IDAT", deflateSync(rows, { level: 9 })), chunk("IEND", Buffer.alloc(0))]);
}

function read(png) {
  const chunks = [];
  for (let at = SIGNATURE_BYTES; at < png.length; ) {
    const length = png.readUInt32BE(at);
    chunks.push({ type: png.toString("latin1", at + 4, at + 8), data: png.subarray(at + 8, at + 8 + length) });
    at += length + 12;
  }
  return chunks;
}

function chunk(type, data) {
  const bytes = Buffer.alloc(data.length + 12);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, "latin1");
  data.copy(bytes, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4);
  return bytes;
}

/** In place. Each row of `stride` bytes has its filter in front, which becomes 0: none. */
function undo(rows, height, stride, channels) {
  for (let y = 0; y < height; y++) {
    const start = y * (stride + 1) + 1;
    const filter = rows[start - 1];
    rows[start - 1] = 0;
    for (let i = 0; i < stride; i++) {
      const left = i < channels ? 0 : rows[start + i - channels];
      const up = y === 0 ? 0 : rows[start + i - stride - 1];
      const corner = i < channels || y === 0 ? 0 : rows[start + i - stride - 1 - channels];
      rows[start + i] += [0, left, up, (left + up) >> 1, nearest(left, up, corner)][filter];
    }
  }
}

/** All bytes but the one in front of each row of `stride`. */
function coarsen(rows, stride) {
  for (let i = 0; i < rows.length; i++) {
    if (i % stride > 0) rows[i] = Math.min(255, Math.round(rows[i] / COLOUR_STEP) * COLOUR_STEP);
  }
}

/** Paeth's predictor. */
function nearest(left, up, corner) {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
