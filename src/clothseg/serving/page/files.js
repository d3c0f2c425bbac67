/** The files of a download: cut-outs, overlay, mask, results and files for labelling tools, each at the photo's own size. */

import { boxAround, boxOfPieces, canvasOf, compose, frameOf } from "./compose.js";
import { cutOut } from "./cutouts.js";
import { maskPng, withNote, zipOf } from "./encoding.js";
import { labellingFiles } from "./formats.js";
import { layerOf, outlined, OUTLINE, outlineOpacity } from "./layers.js";
import { classIds } from "./rle.js";

/**
 * @typedef {object} Source a photo as the worker gets it
 * @property {Blob} file
 * @property {string} stem of the names of its files
 * @property {object} results version 1; `corrected` where its mask was corrected by hand
 * @property {Blob} mask the server's index PNG
 * @property {Set<number>} hidden classes that are switched off
 * @property {Map<number, import("./compose.js").Tint>} tints
 * @property {Record<string, Blob>} [served] cut-outs and overlay that the server drew, where the browser cannot show the photo
 *
 * @typedef {object} Options
 * @property {{name: string, color: number[]}[]} classes in the order of their ids
 * @property {import("./compose.js").Background} background
 * @property {string} canvas see `frameOf`
 * @property {number} margin see `frameOf`
 * @property {"png" | "webp" | "jpeg"} format of cut-outs
 * @property {"soft" | "hard"} edges of cut-outs
 * @property {number} networkSize longer side of the network's input in pixels: how fine a mask can be
 * @property {number} opacity of the colours
 *
 * @typedef {"clothes" | "cutouts" | "overlay" | "mask" | "json" | "formats" | {cutout: object}} What a cut-out is of one segment
 */

const QUALITY = 0.92;
const NOTE = "The mask was corrected by hand.";

/**
 * @param {Source} photo
 * @param {Options} options
 * @param {What} what
 * @returns {Promise<{blob: Blob, name: string}>}
 */
export async function fileOf(photo, options, what) {
  const file = await plainFileOf(photo, options, what);
  return photo.results.corrected ? { name: file.name, blob: await withNote(file.blob, NOTE) } : file;
}

async function plainFileOf(photo, options, what) {
  const { stem, results } = photo;
  const ending = options.format === "jpeg" ? "jpg" : options.format;
  if (what === "mask") return { blob: await mask(photo, options), name: `${stem}_mask.png` };
  if (what === "json") return { blob: new Blob([`${JSON.stringify(results)}\n`], { type: "application/json" }), name: `${stem}_results.json` };
  if (what === "formats") return { blob: await zipOf(labellingFiles([results], options.classes)), name: `${stem}_labelling.zip` };
  if (what === "overlay") return { blob: photo.served?.overlay ?? (await overlay(photo, options)), name: `${stem}_overlay.jpg` };
  if (what === "cutouts") return { blob: await zipOf(cutouts(photo, options)), name: `${stem}_cutouts.zip` };
  if (what === "clothes") {
    const isShown = (id) => !photo.hidden.has(id);
    return { blob: photo.served?.clothes ?? (await cutout(photo, options, results.segments.filter((one) => isShown(one.class_id)))), name: `${stem}_clothes.${ending}` };
  }
  const segment = what.cutout;
  const name = `${stem}_${segment.label.replaceAll(" ", "-")}.${ending}`;
  return { blob: photo.served?.[segment.label] ?? (await cutout(photo, options, [segment])), name };
}

async function* cutouts(photo, options) {
  for (const segment of photo.results.segments) yield fileOf(photo, options, { cutout: segment });
}

/**
 * @param {Source[]} photos
 * @param {Options} options
 * @param {(progress: {done: number, total: number}) => void} tell
 * @returns {Promise<{blob: Blob, name: string}>} everything of all photos in one ZIP, in a folder for each photo
 */
export async function archiveOf(photos, options, tell) {
  const folders = uniqueNames(photos.map(({ stem }) => stem));
  async function* everything() {
    for (const [place, photo] of photos.entries()) {
      tell({ done: place, total: photos.length });
      for (const what of ["mask", "overlay", "json", "clothes", ...photo.results.segments.map((cutout) => ({ cutout }))]) {
        const { name, blob } = await fileOf(photo, options, what);
        yield { name: `${folders[place]}/${name}`, blob };
      }
    }
    yield* labellingFiles(photos.map(({ results }) => results), options.classes);
  }
  return { blob: await zipOf(everything()), name: "clothseg.zip" };
}

/** @param {string[]} names @returns {string[]} with numbers where a name, in whatever case, is there already */
function uniqueNames(names) {
  const taken = new Set();
  return names.map((name) => {
    let unique = name;
    for (let number = 2; taken.has(unique.toLowerCase()); number++) unique = `${name} ${number}`;
    taken.add(unique.toLowerCase());
    return unique;
  });
}

async function mask({ results, mask: served }, { classes }) {
  if (!results.corrected) return served;
  return maskPng(classIds(results), results.width, results.height, classes.map((one) => one.color));
}

/** The decoded photo and its mask, of the photo that was used last: the next file is often of the same. */
let last = { results: null };

async function pixelsOf({ file, results }) {
  if (last.file !== file || last.results !== results) {
    last.bitmap?.close();
    last = { file, results, bitmap: await createImageBitmap(file, { imageOrientation: "from-image" }), ids: classIds(results) };
  }
  return last;
}

/** Clothes on the chosen background and canvas. */
async function cutout(photo, { background, canvas, margin, format, edges, networkSize }, segments) {
  const { bitmap, ids } = await pixelsOf(photo);
  const size = { width: bitmap.width, height: bitmap.height };
  const all = { x: 0, y: 0, ...size };
  const whole = segments.length ? (canvas === "photo" ? boxAround : boxOfPieces)(segments) : all;
  const pixel = Math.max(size.width, size.height) / networkSize;
  const { clothes, shown, box } = cutOut(bitmap, ids, new Set(segments.map((one) => one.class_id)), whole, { edges, pixel, tints: photo.tints });
  const { frame, width, height } = frameOf(box, { canvas, margin }, size);
  const [result, context] = canvasOf(width, height);
  // A JPEG has no transparency.
  const behind = format === "jpeg" && background.kind === "none" ? { kind: "color", color: "#ffffff" } : background;
  compose(context, { cutout: clothes, cutoutBox: shown, within: canvas === "photo" ? all : box, shown: frame, frame, background: behind, photo: bitmap, size });
  return result.convertToBlob({ type: `image/${format}`, quality: QUALITY });
}

/** The photo with the colours of the screen: their opacity, and without the classes that are switched off. */
async function overlay(photo, { opacity, classes }) {
  const { bitmap, ids } = await pixelsOf(photo);
  const { width, height } = bitmap;
  const rgba = new Uint8ClampedArray(4 * 2 * OUTLINE);
  for (const { class_id: id } of photo.results.segments) {
    if (photo.hidden.has(id)) continue;
    rgba.set([...classes[id].color, Math.round(255 * opacity)], 4 * id);
    rgba.set([...classes[id].color, Math.round(255 * outlineOpacity(opacity))], 4 * (id + OUTLINE));
  }
  const [canvas, context] = canvasOf(width, height);
  context.putImageData(layerOf(outlined(ids, width, height), rgba, new ImageData(width, height)), 0, 0);
  context.globalCompositeOperation = "destination-over";
  context.drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
}
