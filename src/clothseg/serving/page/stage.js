/** The stage: the photo, its classes in colour over it, the wipe between the two, and the garment that is lit up. */

import { classIds, OUTLINE, outlined, outlineOpacity, resizeIds } from "./decode.js";

/** Longer side of what is drawn on the screen, in pixels; downloads have the photo's own size. */
const LONGEST_SIDE = 1280;
/** Smaller photos are enlarged to this, so that outlines stay fine. */
const SHORTEST_SIDE = 900;
const FADE_MS = 160;
const REVEAL_MS = 900;
/** What lies over everything but the garment that is lit up. */
const VEIL = [12, 12, 16, 0.62];
const CLEAR = [0, 0, 0, 0];

export const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** @returns {{width: number, height: number}} of the picture on the screen */
function screenSize(width, height) {
  const longest = Math.max(width, height);
  const scale = Math.min(LONGEST_SIDE, Math.max(SHORTEST_SIDE, longest)) / longest;
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

export class Stage {
  /** Classes that are switched off. @type {Set<number>} */
  hidden = new Set();
  /** The class under the pointer or the focus. @type {number | null} */
  lit = null;
  opacity = 0.55;
  #codes = null;
  #colors = [];
  #image = null;
  #shown = new Float32Array(0);
  #from = new Float32Array(0);
  #frame = 0;
  #reveal = 0;

  /**
   * @param {HTMLElement} root holds the canvases
   * @param {(id: number | null, event: PointerEvent | null) => void} onPoint told of the class under the pointer
   */
  constructor(root, onPoint) {
    const find = (id) => root.querySelector(`#${id}`);
    this.root = root;
    this.photo = find("photo");
    this.colours = find("colours");
    this.wipe = find("wipe");
    this.wipe.addEventListener("input", () => {
      cancelAnimationFrame(this.#reveal);
      this.#placeWipe();
    });
    root.addEventListener("pointermove", (event) => onPoint(this.#idAt(event), event));
    root.addEventListener("pointerdown", (event) => onPoint(this.#idAt(event), event));
    root.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && onPoint(null, null));
  }

  /**
   * Show a photo, without classes so far.
   * @param {ImageBitmap | null} bitmap null where the browser cannot show it: a plain ground takes its place
   * @param {{width: number, height: number}} size the photo's own
   */
  showPhoto(bitmap, size) {
    const { width, height } = screenSize(size.width, size.height);
    for (const canvas of [this.photo, this.colours]) Object.assign(canvas, { width, height });
    this.root.style.setProperty("--ratio", String(width / height));
    const pen = this.photo.getContext("2d");
    pen.imageSmoothingQuality = "high";
    if (bitmap) pen.drawImage(bitmap, 0, 0, width, height);
    else {
      pen.fillStyle = "#77736c";
      pen.fillRect(0, 0, width, height);
    }
    this.forget();
  }

  /** Light nothing up until other classes are laid over the photo. */
  forget() {
    this.#codes = null;
    this.lit = null;
    this.root.classList.remove("segmented");
    cancelAnimationFrame(this.#frame);
    cancelAnimationFrame(this.#reveal);
  }

  /**
   * Lay the classes over the photo.
   * @param {object} results version 1
   * @param {[number, number, number][]} colors RGB by class id
   * @param {{hidden: Set<number>, reveal: boolean}} how what is switched off; whether the wipe opens by itself
   */
  showClasses(results, colors, { hidden, reveal }) {
    const { width, height } = this.colours;
    this.hidden = hidden;
    this.#colors = colors;
    this.ids = resizeIds(classIds(results), results.width, results.height, width, height);
    this.#codes = outlined(this.ids, width, height);
    this.#image = new ImageData(width, height);
    this.#shown = this.#wanted();
    this.#paint();
    this.root.classList.add("segmented");
    this.wipe.value = "0";
    if (reveal && !calm.matches) this.#open();
    this.#placeWipe();
  }

  /** Bring the picture to what `hidden`, `lit` and `opacity` say, within a moment. */
  update() {
    if (!this.#codes) return;
    this.#from = this.#shown;
    const wanted = this.#wanted();
    const start = performance.now();
    const step = (now) => {
      const done = calm.matches ? 1 : Math.min(1, (now - start) / FADE_MS);
      this.#shown = this.#from.map((value, place) => value + (wanted[place] - value) * done);
      this.#paint();
      if (done < 1) this.#frame = requestAnimationFrame(step);
    };
    cancelAnimationFrame(this.#frame);
    if (calm.matches) step(start);
    else this.#frame = requestAnimationFrame(step);
  }

  /** @returns {Float32Array} red, green, blue (0 to 255), alpha (0 to 1) of every code */
  #wanted() {
    const table = new Float32Array(4 * 2 * OUTLINE);
    for (let id = 0; id < this.#colors.length; id++) {
      const [inside, edge] = this.#inks(id);
      table.set(inside, 4 * id);
      table.set(edge, 4 * (id + OUTLINE));
    }
    return table;
  }

  /** @returns {[number[], number[]]} RGBA inside a class and on its outline */
  #inks(id) {
    const color = this.#colors[id];
    if (this.lit === id) return [[...color, 0.25 * this.opacity], [255, 255, 255, 1]];
    if (this.lit !== null) return [VEIL, this.hidden.has(id) || id === 0 ? VEIL : [...color.map((value) => value / 2), 0.75]];
    if (id === 0 || this.hidden.has(id)) return [[...color, 0], [...color, 0]];
    return [[...color, this.opacity], [...color, outlineOpacity(this.opacity)]];
  }

  #paint() {
    const inks = new Uint32Array(2 * OUTLINE);
    const bytes = new Uint8ClampedArray(inks.buffer);
    for (let at = 0; at < this.#shown.length; at++) bytes[at] = at % 4 === 3 ? 255 * this.#shown[at] : this.#shown[at];
    const pixels = new Uint32Array(this.#image.data.buffer);
    const codes = this.#codes;
    for (let at = 0; at < codes.length; at++) pixels[at] = inks[codes[at]];
    this.colours.getContext("2d").putImageData(this.#image, 0, 0);
  }

  /** Let the colours sweep over the photo once, from the right to the left. */
  #open() {
    const start = performance.now();
    const step = (now) => {
      const done = Math.min(1, (now - start) / REVEAL_MS);
      this.wipe.value = String(100 * (1 - done) ** 3);
      this.#placeWipe();
      if (done < 1) this.#reveal = requestAnimationFrame(step);
    };
    this.wipe.value = "100";
    this.#reveal = requestAnimationFrame(step);
  }

  #placeWipe() {
    const value = Number(this.wipe.value);
    this.root.style.setProperty("--wipe", String(value / 100));
    this.root.classList.toggle("parted", value > 0 && value < 100);
    this.wipe.setAttribute("aria-valuetext", value === 0 ? "Colours on the whole photo" : value === 100 ? "Photo alone" : `Photo alone on the left ${value}%`);
  }

  /** @returns {number | null} the class that is seen where the pointer is */
  #idAt(event) {
    if (!this.#codes || event.target === this.wipe) return null;
    const box = this.colours.getBoundingClientRect();
    const [across, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (across < 0 || across >= 1 || down < 0 || down >= 1) return null;
    const { width, height } = this.colours;
    const id = this.ids[Math.floor(down * height) * width + Math.floor(across * width)];
    return id && !this.hidden.has(id) ? id : null;
  }
}
