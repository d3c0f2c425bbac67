/** The photos of this tab: sent to the server one after the other, and kept nowhere but in memory. */

import { Problem } from "./api.js";

const THUMBNAIL_SIDE = 160;
/** How often a busy server is asked again by itself. */
const MOST_TRIES = 6;
const SHORTEST_WAIT = 2;
const PATIENT_KINDS = ["busy", "starting", "not-done"];

/**
 * @typedef {object} Photo
 * @property {number} id
 * @property {File} file
 * @property {string} name
 * @property {"waiting" | "working" | "done" | "failed"} state
 * @property {string} thumbnail address of a small picture; empty where the browser cannot show the photo
 * @property {Set<number>} hidden classes that are switched off
 * @property {object} [results] version 1
 * @property {Blob} [mask] index PNG
 * @property {number} [seconds] that the server worked
 * @property {Problem} [problem] why it failed, or why it waits
 * @property {number} [wait] seconds until the server is asked again
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
  #api;
  #on;
  #nextId = 1;
  #working = null;
  #locked = true; // until the model is known, and the key where one is needed

  /**
   * @param {Api} api
   * @param {{change: (photo: Photo) => void, locked: (problem: Problem) => void}} on `locked`: a key is needed
   */
  constructor(api, on) {
    this.#api = api;
    this.#on = on;
  }

  /** @param {Iterable<File>} files @returns {Photo[]} */
  add(files) {
    const added = Array.from(files, (file) => {
      const name = file.name || "pasted photo";
      return { id: this.#nextId++, file, name, state: "waiting", thumbnail: "", hidden: new Set() };
    });
    this.all.push(...added);
    for (const photo of added) this.#draw(photo);
    this.#work();
    return added;
  }

  /** @param {number} id */
  remove(id) {
    const photo = this.all.find((one) => one.id === id);
    this.all = this.all.filter((one) => one.id !== id);
    URL.revokeObjectURL(photo?.thumbnail);
    if (this.#working?.photo === photo) this.#working.stop.abort();
  }

  /** Send a photo that failed once more. @param {Photo} photo */
  again(photo) {
    Object.assign(photo, { state: "waiting", problem: undefined });
    this.#on.change(photo);
    this.#work();
  }

  /** Go on with a new key. */
  unlock() {
    this.#locked = false;
    this.#work();
  }

  async #draw(photo) {
    const bitmap = await bitmapOf(photo.file);
    if (!bitmap) return;
    const scale = Math.min(1, THUMBNAIL_SIDE / Math.min(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
    if (!blob || !this.all.includes(photo)) return;
    photo.thumbnail = URL.createObjectURL(blob);
    this.#on.change(photo);
  }

  async #work() {
    const photo = this.all.find((one) => one.state === "waiting");
    if (!photo || this.#working || this.#locked) return;
    this.#working = { photo, stop: new AbortController() };
    photo.state = "working";
    this.#on.change(photo);
    try {
      Object.assign(photo, await this.#segment(photo, this.#working.stop.signal), { state: "done", problem: undefined });
    } catch (error) {
      this.#fail(photo, error);
    }
    photo.wait = undefined;
    this.#working = null;
    if (this.all.includes(photo)) this.#on.change(photo);
    this.#work();
  }

  #fail(photo, error) {
    photo.problem = error instanceof Problem ? error : new Problem("page", "This page has a fault", String(error));
    photo.state = "failed";
    if (!["key-missing", "key-wrong"].includes(error.kind)) return;
    photo.state = "waiting";
    this.#locked = true;
    this.#on.locked(error);
  }

  async #segment(photo, signal) {
    if (photo.file.type && !photo.file.type.startsWith("image/")) {
      throw new Problem("no-photo", "This is not a photo", `${photo.name} is of the type ${photo.file.type}. Choose a JPEG, PNG, WebP or another picture.`);
    }
    for (let tries = 1; ; tries++) {
      try {
        return await this.#api.segment(photo.file, signal);
      } catch (error) {
        if (!PATIENT_KINDS.includes(error.kind) || tries >= MOST_TRIES) throw error;
        photo.problem = error;
        await this.#waitFor(photo, Math.max(SHORTEST_WAIT, error.retryAfter ?? 0), signal);
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
