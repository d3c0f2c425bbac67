/** The photos of this tab: how they are added, and the queue that sends them to the server; in memory only. */

import { Problem } from "./engine.js";

const THUMBNAIL_SIDE = 160;
/** Requests per photo while the server is busy. */
const MAX_TRIES = 6;
const MIN_WAIT = 2;
const RETRIED_KINDS = ["busy", "starting", "not-done"];

/**
 * @typedef {object} Photo
 * @property {number} id
 * @property {File} file
 * @property {string} name
 * @property {"waiting" | "working" | "done" | "failed"} state
 * @property {string} thumbnail address of a small picture; empty where the browser cannot show the photo
 * @property {Set<number>} hidden classes that are switched off
 * @property {Map<number, import("./compose.js").Tint>} tints new colours of garments
 * @property {Promise<{width: number, height: number} | null>} size as the browser decodes it; null where it cannot
 * @property {object} [results] version 1; those of the corrected mask where it was corrected
 * @property {object} [original] results of the server
 * @property {import("./mask.js").EditableMask} [edit] the mask while it is corrected
 * @property {Promise<void>} [settling] ends when corrections are part of the results
 * @property {Blob} [mask] index PNG
 * @property {number} [seconds] of computing time
 * @property {string} [place] what computed it, where that was this browser: "graphics card" or "processor"
 * @property {Problem} [problem] why it failed or waits
 * @property {number} [sent] part of the upload that is done, 0 to 1
 * @property {string} [credit] of a sample photo
 * @property {number} [wait] seconds until the next request
 */

/** @param {Blob} file @returns {Promise<ImageBitmap | null>} upright; null where the browser cannot show it */
export async function bitmapOf(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

export class Photos {
  /** @type {Photo[]} */
  all = [];
  /** Ids of classes that are parts of the body: switched off at first, as they are not worn. @type {number[]} */
  bodyParts = [];
  #engine;
  #on;
  #nextId = 1;
  #sending = null;
  #locked = true; // until the model is known, and the key where one is needed

  /**
   * @param {import("./engine.js").HttpEngine} engine
   * @param {{change: (photo: Photo) => void, keyNeeded: (problem: Problem) => void}} on
   */
  constructor(engine, on) {
    this.#engine = engine;
    this.#on = on;
  }

  /** @param {Iterable<File>} files @returns {Photo[]} */
  add(files) {
    const added = Array.from(files, (file) => {
      const name = file.name || "pasted photo";
      return { id: this.#nextId++, file, name, state: "waiting", thumbnail: "", hidden: new Set(), tints: new Map(), credit: file.credit };
    });
    this.all.push(...added);
    for (const photo of added) photo.size = this.#addThumbnail(photo);
    this.#sendNext();
    return added;
  }

  /** @param {number} id */
  remove(id) {
    const photo = this.all.find((one) => one.id === id);
    this.all = this.all.filter((one) => one.id !== id);
    URL.revokeObjectURL(photo?.thumbnail);
    if (this.#sending?.photo === photo) this.#sending.stop.abort();
  }

  /** Send a failed photo again. @param {Photo} photo */
  retry(photo) {
    Object.assign(photo, { state: "waiting", problem: undefined });
    this.#on.change(photo);
    this.#sendNext();
  }

  /** Start to send photos, or resume with a new key. */
  unlock() {
    this.#locked = false;
    this.#sendNext();
  }

  /** @returns {Promise<{width: number, height: number} | null>} the photo's size */
  async #addThumbnail(photo) {
    const bitmap = await bitmapOf(photo.file);
    if (!bitmap) return null;
    const { width, height } = bitmap;
    const scale = Math.min(1, THUMBNAIL_SIDE / Math.min(width, height));
    const options = { resizeWidth: Math.max(1, Math.round(width * scale)), resizeHeight: Math.max(1, Math.round(height * scale)), resizeQuality: "medium" };
    const small = await createImageBitmap(bitmap, options);
    bitmap.close();
    const canvas = new OffscreenCanvas(small.width, small.height);
    canvas.getContext("2d").drawImage(small, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
    if (!this.all.includes(photo)) return null;
    photo.thumbnail = URL.createObjectURL(blob);
    this.#on.change(photo);
    return { width, height };
  }

  async #sendNext() {
    const photo = this.all.find((one) => one.state === "waiting");
    if (!photo || this.#sending || this.#locked) return;
    this.#sending = { photo, stop: new AbortController() };
    photo.state = "working";
    this.#on.change(photo);
    try {
      Object.assign(photo, await this.#segment(photo, this.#sending.stop.signal), { state: "done", problem: undefined });
      photo.original = photo.results;
      for (const id of this.bodyParts) photo.hidden.add(id);
    } catch (error) {
      this.#fail(photo, error);
    }
    photo.wait = undefined;
    this.#sending = null;
    if (this.all.includes(photo)) this.#on.change(photo);
    this.#sendNext();
  }

  #fail(photo, error) {
    photo.problem = error instanceof Problem ? error : new Problem("page", "This page has a fault", String(error));
    photo.state = "failed";
    if (!error.needsKey) return;
    photo.state = "waiting";
    this.#locked = true;
    this.#on.keyNeeded(error);
  }

  async #segment(photo, signal) {
    if (photo.file.type && !photo.file.type.startsWith("image/")) {
      throw new Problem("no-photo", "This is not a photo", `${photo.name} is of the type ${photo.file.type}. Choose a JPEG, PNG, WebP or another picture.`);
    }
    for (let tries = 1; ; tries++) {
      try {
        return await this.#engine.segment(photo.file, signal, (sent) => {
          photo.sent = sent;
          this.#on.change(photo);
        });
      } catch (error) {
        if (!RETRIED_KINDS.includes(error.kind) || tries >= MAX_TRIES) throw error;
        photo.problem = error;
        await this.#waitFor(photo, Math.max(MIN_WAIT, error.retryAfter ?? 0), signal);
      }
    }
  }

  async #waitFor(photo, seconds, signal) {
    for (photo.wait = seconds; photo.wait > 0 && !signal.aborted; photo.wait--) {
      this.#on.change(photo);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    photo.wait = undefined;
    this.#on.change(photo);
  }
}

/**
 * Listen for photos that are chosen, taken with a camera, dropped or pasted.
 * @param {(files: File[]) => void} take
 * @param {(words: string) => void} refuse called with what to do where no file came
 */
export function listenForPhotos(take, refuse) {
  const receive = (files, words) => {
    if (files?.length) take([...files]);
    else if (words) refuse(words);
  };
  for (const [selector, id] of [["[data-choose]", "chooser"], ["[data-photograph]", "camera"]]) {
    const input = document.getElementById(id);
    for (const button of document.querySelectorAll(selector)) button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      receive(input.files);
      input.value = ""; // so that the same photo can be chosen again
    });
  }
  listenForDrops((files) => receive(files, "That was no file. Drop a photo from a folder, or choose one."));
  document.addEventListener("paste", ({ clipboardData, target }) => {
    receive(clipboardData?.files, !target.closest?.("input") && "There is no picture on the clipboard. Copy the picture itself, then paste again.");
  });
}

function listenForDrops(receive) {
  const curtain = document.getElementById("curtain");
  let depth = 0; // every element under the pointer sends dragenter and dragleave
  const changeDepth = (change) => {
    depth = Math.max(0, depth + change);
    curtain.hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => {
    event.preventDefault();
    changeDepth(1);
  });
  addEventListener("dragleave", () => changeDepth(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    changeDepth(-depth);
    receive(event.dataTransfer.files);
  });
}
