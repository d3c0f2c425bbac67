/** Downloads: what the worker needs of a photo, the file that it makes, and the clipboard. */

import { parametersOf } from "./look.js";
import { stemOf } from "./panels.js";
import { inWorker } from "./tasks.js";

/** @param {Blob} blob @param {string} name of the file */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * @param {import("./photos.js").Photo} photo
 * @param {import("./files.js").Options} options
 * @param {import("./files.js").What} what
 * @param {import("./api.js").Api} api draws what the browser cannot
 * @returns {Promise<{blob: Blob, name: string}>}
 */
export async function makeFile(photo, options, what, api) {
  return inWorker("file", { photo: await sourceOf(photo, options, api, what), options, what });
}

/**
 * @param {import("./photos.js").Photo[]} photos
 * @param {(words: string) => void} tell how far it is
 * @returns {Promise<{blob: Blob, name: string}>} everything of all photos in one ZIP
 */
export async function makeArchive(photos, options, api, tell) {
  const sources = [];
  for (const photo of photos) sources.push(await sourceOf(photo, options, api, "everything"));
  const onProgress = ({ done, total }) => tell(`Photo ${done + 1} of ${total} …`);
  return inWorker("archive", { photos: sources, options }, { onProgress });
}

/** @returns {Promise<import("./files.js").Source>} once corrections are part of the results */
async function sourceOf(photo, options, api, what) {
  await photo.settling;
  const { file, results, mask, hidden, tints } = photo;
  const size = await photo.size;
  const isShowable = size?.width === results.width && size.height === results.height;
  const served = isShowable ? undefined : await serve(photo, options, api, what);
  return { file, stem: stemOf(file.name), results, mask, hidden, tints, served };
}

/** @returns {Promise<Record<string, Blob>>} the pictures of a download, drawn by the server from the photo */
async function serve({ file, results }, look, api, what) {
  const served = {};
  const isAll = what === "everything";
  if (isAll || what === "overlay") served.overlay = await api.draw(file, { output: "overlay" });
  if (isAll || what === "clothes") served.clothes = await api.draw(file, { output: "cutout", ...parametersOf(look) });
  for (const { label } of what.cutout ? [what.cutout] : isAll || what === "cutouts" ? results.segments : []) {
    served[label] = await api.draw(file, { output: "cutout", label, ...parametersOf(look) });
  }
  return served;
}

/** @param {Promise<Blob>} blob a PNG @returns {Promise<void>} */
export function copyPicture(blob) {
  if (!navigator.clipboard?.write) throw new Error("This browser copies pictures only from https addresses and from this machine. Download the file instead.");
  return navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
}

/** @param {string} text */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without https there is no other way.
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
