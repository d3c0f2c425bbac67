/** Downloads: what the worker needs of a photo, the file that it makes, and the clipboard. */

import { parametersOf } from "./look.js";
import { stemOf } from "./panels.js";
import { inWorker } from "./tasks.js";

/** @param {Blob} blob @param {string} name of the file */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Makes one file at a time, and says what became of it. */
export class Downloads {
  #isBusy = false;
  #toast = 0;

  /**
   * @param {import("./engine.js").HttpEngine} engine draws what the browser cannot
   * @param {import("./photos.js").Photos} photos
   * @param {{options: () => import("./files.js").Options, say: (words: string) => void}} on
   */
  constructor(engine, photos, on) {
    Object.assign(this, { engine, photos, on });
  }

  /** @param {import("./photos.js").Photo} photo @param {import("./files.js").What | "everything"} what */
  download(photo, what) {
    return this.#work(async () => {
      const { blob, name } = what === "everything" ? await this.#archive() : await this.#file(photo, this.on.options(), what);
      save(blob, name);
      this.#show(`${name} is downloaded.`);
    });
  }

  /** Copy the cut-out of all clothes as a picture. @param {import("./photos.js").Photo} photo */
  copyClothes(photo) {
    return this.#work(async () => {
      if (!navigator.clipboard?.write) throw new Error("This browser copies pictures only from https addresses and from this machine. Download the file instead.");
      const blob = this.#file(photo, { ...this.on.options(), format: "png" }, "clothes").then((file) => file.blob);
      await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
      this.#show("The clothes are copied as a picture.");
    });
  }

  /** @param {string} text @param {string} name of it, for people */
  async copyText(text, name) {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyWithoutClipboard(text);
    this.#show(`${name} is copied.`);
  }

  async #file(photo, options, what) {
    return inWorker("file", { photo: await sourceOf(photo, options, this.engine, what), options, what });
  }

  async #archive() {
    const options = this.on.options();
    const sources = [];
    for (const photo of this.photos.all) if (photo.state === "done") sources.push(await sourceOf(photo, options, this.engine, "everything"));
    return inWorker("archive", { photos: sources, options }, { onProgress: ({ done, total }) => this.#show(`Photo ${done + 1} of ${total} …`) });
  }

  /** Let nothing else be downloaded meanwhile. @param {() => Promise<void>} work */
  async #work(work) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    const buttons = document.querySelectorAll("[data-download], #copy, .garment .icon");
    const failure = document.getElementById("download-error");
    failure.hidden = true;
    for (const button of buttons) button.setAttribute("aria-disabled", "true");
    try {
      await work();
    } catch (error) {
      const isOurs = error.title || error.message.endsWith(".");
      failure.textContent = isOurs ? [error.title, error.message].filter(Boolean).join(". ") : "This browser cannot draw a photo of this size. The mask and the results can still be downloaded.";
      failure.hidden = false;
    }
    this.#isBusy = false;
    for (const button of buttons) button.removeAttribute("aria-disabled");
  }

  /** Say something and show it for a moment. */
  #show(words) {
    const toast = document.getElementById("toast");
    this.on.say(words);
    toast.textContent = words;
    toast.hidden = false;
    clearTimeout(this.#toast);
    this.#toast = setTimeout(() => (toast.hidden = true), 2500);
  }
}

/** @returns {Promise<import("./files.js").Source>} once corrections are part of the results */
async function sourceOf(photo, options, engine, what) {
  await photo.settling;
  const { file, results, mask, hidden, tints } = photo;
  const size = await photo.size;
  const isShowable = size?.width === results.width && size.height === results.height;
  const served = isShowable ? undefined : await serve(photo, options, engine, what);
  return { file, stem: stemOf(file.name), results, mask, hidden, tints, served };
}

/** @returns {Promise<Record<string, Blob>>} the pictures of a download, drawn by the server from the photo */
async function serve({ file, results }, look, engine, what) {
  const served = {};
  const isAll = what === "everything";
  if (isAll || what === "overlay") served.overlay = await engine.draw(file, { output: "overlay" });
  if (isAll || what === "clothes") served.clothes = await engine.draw(file, { output: "cutout", ...parametersOf(look) });
  for (const { label } of what.cutout ? [what.cutout] : isAll || what === "cutouts" ? results.segments : []) {
    served[label] = await engine.draw(file, { output: "cutout", label, ...parametersOf(look) });
  }
  return served;
}

/** Without https there is no other way. @param {string} text */
function copyWithoutClipboard(text) {
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
