/** Files byte by byte: ZIP archives, index PNGs of masks, and notes in the head of PNG and JPEG files. */

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** @param {Uint8Array} bytes @returns {number} */
function crc32(bytes) {
  let value = ~0;
  for (let at = 0; at < bytes.length; at++) value = CRC_TABLE[(value ^ bytes[at]) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

/** @param {[width: 2 | 4, value: number][]} fields @returns {Uint8Array} little-endian */
function packed(fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [width]) => sum + width, 0)));
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += width;
  }
  return new Uint8Array(view.buffer);
}

/**
 * @param {AsyncIterable<{name: string, blob: Blob}> | Iterable<{name: string, blob: Blob}>} files
 * @returns {Promise<Blob>} a ZIP that stores the files uncompressed
 * Source: PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.
 */
export async function zipOf(files) {
  const parts = [];
  const directory = [];
  let at = 0;
  for await (const { name, blob } of files) {
    const content = new Uint8Array(await blob.arrayBuffer());
    const label = new TextEncoder().encode(name);
    // Version 2.0, names in UTF-8, stored; 1 January 1980 for every file, so that the same photo gives the same ZIP.
    const shared = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 0x21], [4, crc32(content)], [4, content.length], [4, content.length], [2, label.length], [2, 0]];
    const head = packed([[4, 0x04034b50], ...shared]);
    directory.push(packed([[4, 0x02014b50], [2, 20], ...shared, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]]), label);
    parts.push(head, label, blob);
    at += head.length + label.length + content.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const count = directory.length / 2;
  const end = packed([[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, length], [4, at], [2, 0]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

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
