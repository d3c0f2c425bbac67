/** Downloads: cut-outs, overlay, mask and results, each at the photo's own size; several cut-outs as one ZIP. */

import { classIds, layerOf, outlined, OUTLINE, outlineOpacity } from "./decode.js";
import { stemOf } from "./panels.js";

/** @param {Blob} blob @param {string} name of the file */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * @param {object} photo with `file`, `results`, `mask`, `hidden`
 * @param {{api: Api, bitmap: ImageBitmap | null, tight: boolean, opacity: number, colors: number[][]}} options
 *   `bitmap` is null where the browser cannot show the photo: then the server draws
 * @param {"cutouts" | "overlay" | "mask" | "json" | {cutout: object}} what a cut-out is of one segment of the results
 * @returns {Promise<{blob: Blob, name: string}>}
 */
export async function fileOf(photo, options, what) {
  const stem = stemOf(photo.file.name);
  if (what === "mask") return { blob: photo.mask, name: `${stem}_mask.png` };
  if (what === "json") {
    return { blob: new Blob([`${JSON.stringify(photo.results)}\n`], { type: "application/json" }), name: `${stem}_results.json` };
  }
  if (what === "overlay") return { blob: await overlay(photo, options), name: `${stem}_overlay.jpg` };
  if (what === "cutouts") {
    const files = [];
    for (const cutout of photo.results.segments) files.push(await fileOf(photo, options, { cutout }));
    return { blob: await zipOf(files), name: `${stem}_cutouts.zip` };
  }
  const segment = what.cutout;
  return { blob: await cutout(photo, options, segment), name: `${stem}_${segment.label.replaceAll(" ", "-")}.png` };
}

async function cutout(photo, { api, bitmap, tight }, { class_id: id, label, bbox }) {
  if (!bitmap) return api.draw(photo.file, { output: "cutout", label, tight: String(tight) });
  const { width, height } = photo.results;
  const [left, top, boxWidth, boxHeight] = tight ? bbox : [0, 0, width, height];
  const ids = classIds(photo.results);
  const stencil = new ImageData(boxWidth, boxHeight);
  for (let y = 0; y < boxHeight; y++) {
    for (let x = 0; x < boxWidth; x++) {
      if (ids[(top + y) * width + left + x] === id) stencil.data[4 * (y * boxWidth + x) + 3] = 255;
    }
  }
  // The photo where the stencil is; pixels outside it are removed, not only transparent.
  return encoded(stencil, "source-in", { bitmap, left, top }, "image/png");
}

/** The photo with the colours of the screen: their opacity, and without the classes that are switched off. */
async function overlay(photo, { api, bitmap, opacity, colors }) {
  if (!bitmap) return api.draw(photo.file, { output: "overlay" });
  const { width, height } = photo.results;
  const rgba = new Uint8ClampedArray(4 * 2 * OUTLINE);
  for (const { class_id: id } of photo.results.segments) {
    if (photo.hidden.has(id)) continue;
    rgba.set([...colors[id], Math.round(255 * opacity)], 4 * id);
    rgba.set([...colors[id], Math.round(255 * outlineOpacity(opacity))], 4 * (id + OUTLINE));
  }
  const layer = layerOf(outlined(classIds(photo.results), width, height), rgba, new ImageData(width, height));
  return encoded(layer, "destination-over", { bitmap, left: 0, top: 0 }, "image/jpeg");
}

/** Draw a layer and the photo, and encode them. @returns {Promise<Blob>} */
function encoded(layer, composition, { bitmap, left, top }, type) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: layer.width, height: layer.height });
  const context = canvas.getContext("2d");
  if (!context) throw new Error("too large");
  context.putImageData(layer, 0, 0);
  context.globalCompositeOperation = composition;
  context.drawImage(bitmap, -left, -top);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("too large"))), type, 0.92);
  });
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** @param {Uint8Array} bytes @returns {number} */
function crc32(bytes) {
  let value = ~0;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8);
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
 * @param {{name: string, blob: Blob}[]} files
 * @returns {Promise<Blob>} a ZIP that stores the files uncompressed: pictures are compressed already
 * Source: PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.
 */
async function zipOf(files) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const { name, blob } of files) {
    const content = new Uint8Array(await blob.arrayBuffer());
    const label = new TextEncoder().encode(name);
    // Version 2.0, names in UTF-8, stored; 1 January 1980 for every file, so that the same photo gives the same ZIP.
    const shared = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 0x21], [4, crc32(content)], [4, content.length], [4, content.length], [2, label.length], [2, 0]];
    const head = packed([[4, 0x04034b50], ...shared]);
    directory.push(packed([[4, 0x02014b50], [2, 20], ...shared, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]]), label);
    parts.push(head, label, content);
    at += head.length + label.length + content.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = packed([[4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, length], [4, at], [2, 0]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
