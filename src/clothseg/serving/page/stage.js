/** The stage: the photo, over it the colours of its classes or the clothes cut out, the wipe that compares them, and the highlight. */

import { compose } from "./compose.js";
import { partOf } from "./cutouts.js";
import { boxesOf, layerOf, OUTLINE, outlined, outlineOpacity, resampleIds } from "./layers.js";
import { inWorker } from "./tasks.js";
import { View } from "./view.js";

/** Longer side of what is drawn on the screen, in pixels; downloads have the photo's own size. */
const LONGEST_SIDE = 1280;
/** Smaller photos are enlarged to this, so that outlines stay fine. */
const SHORTEST_SIDE = 900;
const FADE_MS = 160;
/** RGBA over everything but the highlighted garment. */
const DIMMED = [12, 12, 16, 0.62];
/** Added to the code of a pixel in a selected region, and its RGBA. */
const SELECTED = 2 * OUTLINE;
const SELECTION = [255, 255, 255, 0.72];

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
  /** What lies over the photo. @type {"colours" | "cutout"} */
  layer = "colours";
  /** Whether a wipe parts photo and layer. */
  comparing = false;
  /** How clothes are cut out, and the background; see `cutOut` and `compose`. */
  look = { edges: "soft", pixel: 1, tints: new Map(), background: { kind: "none" }, within: { x: 0, y: 0, width: 1, height: 1 } };
  /** Class ids at the photo's own size; null before they are known. @type {Uint8Array | null} */
  mask = null;
  /** Pixels of the mask that are selected, as [start, end] of runs. @type {number[][]} */
  selection = [];
  /** Class ids on the screen. */
  ids = new Uint8Array(0);
  size = { width: 1, height: 1 };
  /** The photo in the size of the screen; null where the browser cannot show it. @type {ImageBitmap | null} */
  small = null;
  #bitmap = null;
  /** The clothes cut out, and what they show of the photo. @type {{cutout: ImageBitmap, cutoutBox: import("./compose.js").Box} | null} */
  #clothes = null;
  #isCutting = false;
  #isOutdated = false;
  #codes = null;
  #boxes = new Map();
  #colors = [];
  #image = null;
  #shown = new Float32Array(0);
  #frame = 0;
  #isPlanned = false;

  /**
   * @param {HTMLElement} root contains the canvases
   * @param {{point: (id: number | null, event: PointerEvent | null) => void, zoom: (zoom: number) => void, tool: () => object | null}} on
   *   `point` is called with the class under the pointer; `tool`: see `View`
   */
  constructor(root, on) {
    this.root = root;
    for (const id of ["photo", "colours", "cutout", "wipe", "tip"]) this[id] = root.querySelector(`#${id}`);
    this.view = new View(root, {
      change: () => {
        this.redraw();
        on.zoom(this.view.zoom);
      },
      tool: on.tool,
    });
    this.wipe.addEventListener("input", () => this.#applyWipe());
    root.addEventListener("pointermove", (event) => on.point(this.#idAt(event), event));
    root.addEventListener("pointerdown", (event) => on.point(this.#idAt(event), event));
    root.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && on.point(null, null));
    this.#applyWipe();
  }

  /**
   * Show a photo, without classes so far.
   * @param {ImageBitmap | null} bitmap null where the browser cannot show it: then the background is plain
   * @param {{width: number, height: number}} size the photo's own
   */
  async showPhoto(bitmap, size) {
    this.reset();
    this.size = { width: size.width, height: size.height };
    this.#bitmap = bitmap;
    const { width, height } = screenSize(size.width, size.height);
    // The reduced photo serves while the whole is shown; it is made beside the main thread.
    this.small = bitmap && (await createImageBitmap(bitmap, { resizeWidth: width, resizeHeight: height, resizeQuality: "high" }));
    if (this.#bitmap !== bitmap) return;
    this.setFrame({ x: 0, y: 0, ...this.size }, true);
  }

  /** Show a frame, which may reach beyond the photo; the view of one that is shown already stays. @param {import("./compose.js").Box} frame */
  setFrame(frame, isNew = false) {
    const old = this.view.frame;
    if (!isNew && ["x", "y", "width", "height"].every((side) => old[side] === frame[side])) return;
    const { width, height } = screenSize(frame.width, frame.height);
    for (const canvas of [this.photo, this.colours, this.cutout]) Object.assign(canvas, { width, height });
    this.root.style.setProperty("--ratio", String(width / height));
    this.view.reset(frame, width);
    this.#draw();
  }

  /** Highlight nothing until the classes of another photo are shown. */
  reset() {
    this.mask = this.#codes = this.#clothes = null;
    this.selection = [];
    this.highlighted = null;
    this.root.classList.remove("segmented");
    cancelAnimationFrame(this.#frame);
  }

  /**
   * Show the classes over the photo.
   * @param {Uint8Array} mask class ids at the photo's own size
   * @param {[number, number, number][]} colors RGB by class id
   */
  showClasses(mask, colors) {
    this.mask = mask;
    this.#colors = colors;
    this.root.classList.add("segmented");
    this.#draw();
  }

  /** Draw again before the next frame: the view, the mask, the background or a colour has changed. */
  redraw() {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#isPlanned = false;
    const { width, height } = this.photo;
    const part = this.view.part;
    const whole = this.view.zoom === 1 && part.width === this.size.width && part.height === this.size.height;
    const context = this.photo.getContext("2d");
    context.imageSmoothingEnabled = (2 * width) / part.width < 8; // pixels are seen as such when they are large
    context.clearRect(0, 0, width, height);
    if (whole && this.small) context.drawImage(this.small, 0, 0, width, height);
    else if (this.#bitmap) context.drawImage(this.#bitmap, part.x, part.y, part.width, part.height, 0, 0, width, height);
    else {
      context.fillStyle = "#77736c";
      context.fillRect(0, 0, width, height);
    }
    if (!this.mask) return;
    this.ids = resampleIds(this.mask, this.size.width, part, width, height);
    this.#boxes = boxesOf(this.ids, width);
    this.#codes = outlined(this.ids, width, height);
    this.#markSelection(part);
    this.#image = new ImageData(width, height);
    this.#shown = this.#targetColors();
    this.#paint();
    if (this.layer === "cutout" && this.#bitmap) this.#cutOut();
  }

  /** Cut the clothes out of what is on the screen as downloads are, beside the main thread; what is outdated meanwhile is done again. */
  async #cutOut() {
    this.#isOutdated = true;
    if (this.#isCutting) return;
    this.#isCutting = true;
    await this.#cutOutTheNewest().finally(() => (this.#isCutting = false));
  }

  async #cutOutTheNewest() {
    while (this.#isOutdated && this.mask) {
      this.#isOutdated = false;
      const [part, mask] = [this.view.part, this.mask];
      const scale = this.photo.width / part.width;
      const [left, right] = [-part.x, this.size.width - part.x].map((x) => Math.min(this.photo.width, Math.max(0, Math.round(x * scale))));
      const [top, bottom] = [-part.y, this.size.height - part.y].map((y) => Math.min(this.photo.height, Math.max(0, Math.round(y * scale))));
      const box = { x: left, y: top, width: right - left, height: bottom - top };
      if (!box.width || !box.height) continue;
      const ids = partOf(this.ids, this.photo.width, box);
      const wanted = new Set([...this.#colors.keys()].filter((id) => id && !this.hidden.has(id)));
      const { edges, pixel, tints } = this.look;
      const picture = await createImageBitmap(this.photo, left, top, box.width, box.height);
      const cutout = await inWorker("clothes", { picture, ids, wanted, look: { edges, tints, pixel: scale * pixel } }, { transfer: [picture] });
      if (mask !== this.mask) continue;
      this.#clothes?.cutout.close();
      this.#clothes = { cutout, cutoutBox: { x: part.x + left / scale, y: part.y + top / scale, width: box.width / scale, height: box.height / scale } };
      this.#paint();
    }
  }

  /** Mark the pixels on the screen whose place in the photo is selected. */
  #markSelection(part) {
    const { width, height } = this.photo;
    const [across, down] = [width / part.width, height / part.height];
    for (const [start, end] of this.selection) {
      const y = Math.floor(start / this.size.width);
      const x = start - y * this.size.width;
      const places = (from, to, scale, limit) => [Math.max(0, Math.ceil(from * scale - 0.5)), Math.min(limit, Math.ceil(to * scale - 0.5))];
      const [left, right] = places(x - part.x, x + end - start - part.x, across, width);
      const [top, bottom] = places(y - part.y, y + 1 - part.y, down, height);
      for (let row = top; row < bottom; row++) {
        for (let at = row * width + left; at < row * width + right; at++) this.#codes[at] |= SELECTED;
      }
    }
  }

  /** Redraw with the values of `hidden`, `highlighted` and `opacity`, with a short fade. */
  update() {
    if (!this.#codes) return;
    const from = this.#shown;
    const target = this.#targetColors();
    const start = performance.now();
    const step = (now) => {
      const done = reducedMotion.matches ? 1 : Math.min(1, (now - start) / FADE_MS);
      this.#shown = from.map((value, index) => value + (target[index] - value) * done);
      this.#paint();
      if (done < 1) this.#frame = requestAnimationFrame(step);
    };
    cancelAnimationFrame(this.#frame);
    if (reducedMotion.matches) step(start);
    else this.#frame = requestAnimationFrame(step);
  }

  /** @returns {Float32Array} red, green, blue (0 to 255), alpha (0 to 1) of every code */
  #targetColors() {
    const table = new Float32Array(4 * 2 * SELECTED);
    for (let id = 0; id < this.#colors.length; id++) {
      const [inside, edge] = this.#colorsOf(id);
      table.set(inside, 4 * id);
      table.set(edge, 4 * (id + OUTLINE));
      for (const code of [id, id + OUTLINE]) table.set(SELECTION, 4 * (code + SELECTED));
    }
    return table;
  }

  /** @returns {[number[], number[]]} RGBA inside a class and on its outline */
  #colorsOf(id) {
    const color = this.#colors[id];
    if (this.highlighted === id) return [[...color, this.layer === "cutout" ? 0 : 0.25 * this.opacity], [255, 255, 255, 1]];
    if (this.highlighted !== null) return [DIMMED, this.hidden.has(id) || id === 0 ? DIMMED : [...color.map((value) => value / 2), 0.75]];
    if (id === 0 || this.hidden.has(id) || this.layer === "cutout") return [[...color, 0], [...color, 0]];
    return [[...color, this.opacity], [...color, outlineOpacity(this.opacity)]];
  }

  /** Where the clothes are cut out, the colours serve the highlight alone. */
  #paint() {
    const rgba = Uint8ClampedArray.from(this.#shown, (value, at) => (at % 4 === 3 ? 255 * value : value));
    this.colours.getContext("2d").putImageData(layerOf(this.#codes, rgba, this.#image), 0, 0);
    this.cutout.hidden = this.layer !== "cutout" || !this.#clothes;
    this.root.classList.toggle("cutting", !this.cutout.hidden && !this.comparing);
    if (this.cutout.hidden) return;
    const photo = this.view.zoom > 1 ? this.#bitmap : this.small;
    compose(this.cutout.getContext("2d"), { ...this.#clothes, within: this.look.within, shown: this.view.part, frame: this.view.frame, background: this.look.background, photo, size: this.size });
  }

  /** Compare photo and layer. @param {boolean} comparing */
  compare(comparing) {
    this.comparing = comparing;
    this.#applyWipe();
  }

  #applyWipe() {
    const value = this.comparing ? Number(this.wipe.value) : 0;
    this.wipe.hidden = !this.comparing;
    this.root.style.setProperty("--wipe", String(value / 100));
    this.root.classList.toggle("parted", value > 0 && value < 100);
    this.wipe.setAttribute("aria-valuetext", value === 0 ? "Result on the whole photo" : value === 100 ? "Photo alone" : `Photo alone on the left ${value}%`);
  }

  /** Say what is under the pointer, at a side of the garment where there is room, so that it covers none of it. */
  showTip(id, { clientX, clientY }, title, words) {
    const box = this.#boxes.get(id);
    if (!box) return;
    this.tip.firstElementChild.textContent = title;
    this.tip.lastElementChild.textContent = words;
    this.tip.hidden = false;
    const area = this.root.getBoundingClientRect();
    const [width, height, gap] = [this.tip.offsetWidth, this.tip.offsetHeight, 8];
    const scale = area.width / this.photo.width;
    const within = (value, limit) => Math.min(Math.max(value, 0), limit);
    const x = within(clientX - area.left - width / 2, area.width - width);
    const y = within(clientY - area.top - height / 2, area.height - height);
    const places = [
      [x, box.top * scale - height - gap],
      [x, (box.bottom + 1) * scale + gap],
      [(box.right + 1) * scale + gap, y],
      [box.left * scale - width - gap, y],
    ];
    const fits = ([left, top]) => left >= 0 && top >= 0 && left + width <= area.width && top + height <= area.height;
    // A garment that fills the stage leaves the end that is away from the pointer.
    const [left, top] = places.find(fits) ?? [0, clientY - area.top > area.height / 2 ? 0 : area.height - height];
    this.tip.style.setProperty("left", `${left}px`);
    this.tip.style.setProperty("top", `${top}px`);
  }

  /** @returns {{x: number, y: number}} the place of a pointer in the photo, in pixels */
  placeAt(event) {
    return this.view.inPhoto(this.view.placeOf(event));
  }

  /** @returns {number | null} the visible class under the pointer */
  #idAt(event) {
    if (!this.#codes || event.target === this.wipe) return null;
    const { x, y } = this.placeAt(event);
    const { width, height } = this.size;
    if (x < 0 || x >= width || y < 0 || y >= height) return null;
    const id = this.mask[Math.floor(y) * width + Math.floor(x)];
    return id && !this.hidden.has(id) ? id : null;
  }
}
