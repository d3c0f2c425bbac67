/** Index PNGs of masks, and notes in the head of PNG and JPEG files. */

import { crc32 } from "./zip.js";

const SIGNATURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);

function chunk(type, content) {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}

/**
 * @param {Uint8Array} ids width x height
 * @param {number[][]} colors RGB by class id
 * @returns {Promise<Blob>} pixel value = class id. Source: PNG specification, 3rd edition, sections 5 and 11.
 */
export async function maskPng(ids, width, height, colors) {
  const head = new Uint8Array(13);
  new DataView(head.buffer).setUint32(0, width);
  new DataView(head.buffer).setUint32(4, height);
  head.set([8, 3], 8); // 8 bits, palette
  const rows = new Uint8Array((width + 1) * height); // each row begins with its filter: none
  for (let y = 0; y < height; y++) rows.set(ids.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const packed = await new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer();
  const chunks = [chunk("IHDR", head), chunk("PLTE", Uint8Array.from(colors.flat())), chunk("IDAT", new Uint8Array(packed)), chunk("IEND", new Uint8Array(0))];
  return new Blob([SIGNATURE, ...chunks], { type: "image/png" });
}

/** @param {Blob} blob PNG or JPEG @param {string} note plain ASCII @returns {Promise<Blob>} with the note as a comment in its head */
export async function withNote(blob, note) {
  const text = new TextEncoder().encode(note);
  const head = new Uint8Array(await blob.slice(0, 6).arrayBuffer());
  if (blob.type === "image/png") {
    const [start, comment] = [SIGNATURE.length + 25, chunk("tEXt", new TextEncoder().encode(`Comment\0${note}`))];
    return new Blob([blob.slice(0, start), comment, blob.slice(start)], { type: blob.type });
  }
  if (blob.type !== "image/jpeg") return blob;
  const start = 4 + head[4] * 256 + head[5]; // after the first segment. Source: ITU-T T.81, section B.2.4.5.
  return new Blob([blob.slice(0, start), Uint8Array.of(0xff, 0xfe, 0, 2 + text.length), text, blob.slice(start)], { type: blob.type });
}
