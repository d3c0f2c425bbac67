/** What can be kept: cut-outs, overlay, mask, results; each at the photo's own size. */

import { classIds, OUTLINE, outlined, outlineOpacity } from "./decode.js";
import { stemOf } from "./words.js";

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
 * @param {{api: Api, bitmap: ImageBitmap | null, tight: boolean, opacity: number, colors: number[][]}} how
 *   `bitmap` is null where the browser cannot show the photo: then the server draws
 * @param {"overlay" | "mask" | "json" | {cutout: object}} what a cut-out is of one segment of the results
 * @returns {Promise<{blob: Blob, name: string}>}
 */
export async function make(photo, how, what) {
  const stem = stemOf(photo.file.name);
  if (what === "mask") return { blob: photo.mask, name: `${stem}_mask.png` };
  if (what === "json") {
    return { blob: new Blob([`${JSON.stringify(photo.results)}\n`], { type: "application/json" }), name: `${stem}_results.json` };
  }
  if (what === "overlay") return { blob: await overlay(photo, how), name: `${stem}_overlay.jpg` };
  const segment = what.cutout;
  return { blob: await cutout(photo, how, segment), name: `${stem}_${segment.label.replaceAll(" ", "-")}.png` };
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
  const [canvas, pen] = easel(boxWidth, boxHeight);
  pen.putImageData(stencil, 0, 0);
  pen.globalCompositeOperation = "source-in"; // the photo, where the stencil is; nothing hides under the rest
  pen.drawImage(bitmap, -left, -top);
  return blobOf(canvas, "image/png");
}

/** The photo with colours as they are on the screen: as strong, and without the classes that are switched off. */
async function overlay(photo, { api, bitmap, opacity, colors }) {
  if (!bitmap) return api.draw(photo.file, { output: "overlay" });
  const { width, height } = photo.results;
  const codes = outlined(classIds(photo.results), width, height);
  const inks = new Uint32Array(2 * OUTLINE);
  const bytes = new Uint8ClampedArray(inks.buffer);
  for (const { class_id: id } of photo.results.segments) {
    if (photo.hidden.has(id)) continue;
    bytes.set([...colors[id], Math.round(255 * opacity)], 4 * id);
    bytes.set([...colors[id], Math.round(255 * outlineOpacity(opacity))], 4 * (id + OUTLINE));
  }
  const layer = new ImageData(width, height);
  const pixels = new Uint32Array(layer.data.buffer);
  for (let at = 0; at < codes.length; at++) pixels[at] = inks[codes[at]];
  const [canvas, pen] = easel(width, height);
  pen.putImageData(layer, 0, 0);
  pen.globalCompositeOperation = "destination-over";
  pen.drawImage(bitmap, 0, 0);
  return blobOf(canvas, "image/jpeg");
}

function easel(width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  if (!pen) throw new Error("too large");
  return [canvas, pen];
}

/** @returns {Promise<Blob>} */
const blobOf = (canvas, type) =>
  new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("too large"))), type, 0.92);
  });
