/** ZIP archives of files that are compressed already, and the checksum that ZIP and PNG share. */

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** @param {Uint8Array} bytes @returns {number} */
export function crc32(bytes) {
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
