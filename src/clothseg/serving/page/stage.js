/** The stage: the photo, the colours of its classes over it, the slider that compares the two, and the highlighted garment. */

import { classIds, layerOf, OUTLINE, outlined, outlineOpacity, resizeIds } from "./decode.js";

/** Longer side of what is drawn on the screen, in pixels; downloads have the photo's own size. */
const LONGEST_SIDE = 1280;
/** Smaller photos are enlarged to this, so that outlines stay fine. */
const SHORTEST_SIDE = 900;
const FADE_MS = 160;
const REVEAL_MS = 900;
/** RGBA over everything but the highlighted garment. */
const DIMMED = [12, 12, 16, 0.62];

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

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
  highlighted = null;
  opacity = 0.55;
  #codes = null;
  #colors = [];
  #image = null;
  #shown = new Float32Array(0);
  #from = new Float32Array(0);
  #frame = 0;
  #reveal = 0;

  /**
   * @param {HTMLElement} root contains the canvases
   * @param {(id: number | null, event: PointerEvent | null) => void} onPoint called with the class under the pointer
   */
  constructor(root, onPoint) {
    const find = (id) => root.querySelector(`#${id}`);
    this.root = root;
    this.photo = find("photo");
    this.colours = find("colours");
    this.wipe = find("wipe");
    this.wipe.addEventListener("input", () => {
      cancelAnimationFrame(this.#reveal);
      this.#applyWipe();
    });
    root.addEventListener("pointermove", (event) => onPoint(this.#idAt(event), event));
    root.addEventListener("pointerdown", (event) => onPoint(this.#idAt(event), event));
    root.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && onPoint(null, null));
  }

  /**
   * Show a photo, without classes so far.
   * @param {ImageBitmap | null} bitmap null where the browser cannot show it: then the background is plain
   * @param {{width: number, height: number}} size the photo's own
   */
  showPhoto(bitmap, size) {
    const { width, height } = screenSize(size.width, size.height);
    for (const canvas of [this.photo, this.colours]) Object.assign(canvas, { width, height });
    this.root.style.setProperty("--ratio", String(width / height));
    const context = this.photo.getContext("2d");
    context.imageSmoothingQuality = "high";
    if (bitmap) context.drawImage(bitmap, 0, 0, width, height);
    else {
      context.fillStyle = "#77736c";
      context.fillRect(0, 0, width, height);
    }
    this.reset();
  }

  /** Highlight nothing until the classes of another photo are shown. */
  reset() {
    this.#codes = null;
    this.highlighted = null;
    this.root.classList.remove("segmented");
    cancelAnimationFrame(this.#frame);
    cancelAnimationFrame(this.#reveal);
  }

  /**
   * Show the classes over the photo.
   * @param {object} results version 1
   * @param {[number, number, number][]} colors RGB by class id
   * @param {{hidden: Set<number>, reveal: boolean}} how classes that are switched off; whether the colours appear with an animation
   */
  showClasses(results, colors, { hidden, reveal }) {
    const { width, height } = this.colours;
    this.hidden = hidden;
    this.#colors = colors;
    this.ids = resizeIds(classIds(results), results.width, results.height, width, height);
    this.#codes = outlined(this.ids, width, height);
    this.#image = new ImageData(width, height);
    this.#shown = this.#targetColors();
    this.#paint();
    this.root.classList.add("segmented");
    this.wipe.value = "0";
    if (reveal && !reducedMotion.matches) this.#animateReveal();
    this.#applyWipe();
  }

  /** Redraw with the values of `hidden`, `highlighted` and `opacity`, with a short fade. */
  update() {
    if (!this.#codes) return;
    this.#from = this.#shown;
    const target = this.#targetColors();
    const start = performance.now();
    const step = (now) => {
      const done = reducedMotion.matches ? 1 : Math.min(1, (now - start) / FADE_MS);
      this.#shown = this.#from.map((value, index) => value + (target[index] - value) * done);
      this.#paint();
      if (done < 1) this.#frame = requestAnimationFrame(step);
    };
    cancelAnimationFrame(this.#frame);
    if (reducedMotion.matches) step(start);
    else this.#frame = requestAnimationFrame(step);
  }

  /** @returns {Float32Array} red, green, blue (0 to 255), alpha (0 to 1) of every code */
  #targetColors() {
    const table = new Float32Array(4 * 2 * OUTLINE);
    for (let id = 0; id < this.#colors.length; id++) {
      const [inside, edge] = this.#colorsOf(id);
      table.set(inside, 4 * id);
      table.set(edge, 4 * (id + OUTLINE));
    }
    return table;
  }

  /** @returns {[number[], number[]]} RGBA inside a class and on its outline */
  #colorsOf(id) {
    const color = this.#colors[id];
    if (this.highlighted === id) return [[...color, 0.25 * this.opacity], [255, 255, 255, 1]];
    if (this.highlighted !== null) return [DIMMED, this.hidden.has(id) || id === 0 ? DIMMED : [...color.map((value) => value / 2), 0.75]];
    if (id === 0 || this.hidden.has(id)) return [[...color, 0], [...color, 0]];
    return [[...color, this.opacity], [...color, outlineOpacity(this.opacity)]];
  }

  #paint() {
    const rgba = Uint8ClampedArray.from(this.#shown, (value, at) => (at % 4 === 3 ? 255 * value : value));
    this.colours.getContext("2d").putImageData(layerOf(this.#codes, rgba, this.#image), 0, 0);
  }

  /** Reveal the colours once, from the right to the left. */
  #animateReveal() {
    const start = performance.now();
    const step = (now) => {
      const done = Math.min(1, (now - start) / REVEAL_MS);
      this.wipe.value = String(100 * (1 - done) ** 3);
      this.#applyWipe();
      if (done < 1) this.#reveal = requestAnimationFrame(step);
    };
    this.wipe.value = "100";
    this.#reveal = requestAnimationFrame(step);
  }

  #applyWipe() {
    const value = Number(this.wipe.value);
    this.root.style.setProperty("--wipe", String(value / 100));
    this.root.classList.toggle("parted", value > 0 && value < 100);
    this.wipe.setAttribute("aria-valuetext", value === 0 ? "Colours on the whole photo" : value === 100 ? "Photo alone" : `Photo alone on the left ${value}%`);
  }

  /** @returns {number | null} the visible class under the pointer */
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
