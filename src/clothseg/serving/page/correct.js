/** Correcting the mask by hand: regions are selected, brush and eraser are moved, with mouse, finger and keys. */

import { capital, counted, element, percent, swatch } from "./panels.js";

/** Movement of a pointer, in pixels of the screen, from which a click is a drag. */
const DRAG = 6;

export class Correction {
  /** @type {import("./mask.js").EditableMask | null} null while nothing is corrected */
  mask = null;
  /** @type {import("./mask.js").Region[]} */
  #regions = [];
  #tool = "select";
  #brushClass = 0;
  #last = null;
  #pressed = null;
  /** Where the keys have moved the cursor, as parts of the stage. */
  #cursor = { x: 0.5, y: 0.5 };

  /**
   * @param {HTMLElement} panel with the tools
   * @param {import("./stage.js").Stage} stage
   * @param {{change: (mask: import("./mask.js").EditableMask) => void, say: (words: string) => void}} on `change` is called after each step
   */
  constructor(panel, stage, on) {
    const find = (id) => panel.querySelector(`#${id}`);
    Object.assign(this, { panel, stage, on });
    this.ring = document.getElementById("cursor");
    this.size = find("brush-size");
    this.chips = find("correct-classes");
    this.words = find("correct-words");
    this.buttons = Object.fromEntries(["undo", "redo", "merge", "clear"].map((id) => [id, find(id)]));
    this.buttons.undo.addEventListener("click", () => this.#step("undo"));
    this.buttons.redo.addEventListener("click", () => this.#step("redo"));
    this.buttons.merge.addEventListener("click", () => this.#assign(this.#regions[0].id));
    this.buttons.clear.addEventListener("click", () => this.#assign(0));
    panel.addEventListener("change", ({ target }) => target.name === "tool" && this.choose(target.value));
    this.size.addEventListener("input", () => this.#showRing());
    const root = stage.root;
    root.addEventListener("pointerdown", (event) => (this.#pressed = event));
    root.addEventListener("click", (event) => this.#click(event));
    root.addEventListener("pointerleave", () => (this.ring.hidden = true));
    root.addEventListener("keydown", (event) => this.#key(event), true);
    addEventListener("keydown", (event) => this.#shortcut(event));
  }

  /** @param {{id: number, name: string, color: string}[]} classes that the model knows */
  setClasses(classes) {
    this.#brushClass ||= classes[0].id;
    this.classes = classes;
    const chipOf = ({ id, name, color }) =>
      element("button", { type: "button", "data-id": String(id), "aria-pressed": "false", click: () => this.#chooseClass(id) }, swatch(color), capital(name));
    this.chips.replaceChildren(...classes.map(chipOf));
  }

  /** Correct a mask, or nothing any more. @param {import("./mask.js").EditableMask | null} mask */
  start(mask) {
    this.#end();
    this.mask = mask;
    if (mask) {
      const longest = Math.max(mask.width, mask.height);
      Object.assign(this.size, { min: 1, max: Math.ceil(longest / 12) });
      this.size.value = String(Math.ceil(longest / 60));
    }
    this.ring.hidden = true;
    this.#select([]);
  }

  /** @param {"select" | "brush" | "eraser"} tool */
  choose(tool) {
    this.#end();
    this.#tool = tool;
    this.panel.querySelector(`[name=tool][value=${tool}]`).checked = true;
    this.#select([]);
    this.#showRing();
  }

  /** What a pressed pointer works with; see `View`. */
  get tool() {
    if (!this.mask || this.#tool === "select") return null;
    return {
      down: (event) => this.#begin(this.stage.placeAt(event)),
      move: (event) => {
        this.#cursor = this.stage.view.placeOf(event);
        this.#showRing(this.#cursor);
        if (this.#last) this.#paintTo(this.stage.placeAt(event));
      },
      up: () => this.#end(),
      cancel: () => this.#end(),
    };
  }

  #begin(place) {
    this.mask.begin(this.#tool === "eraser" ? 0 : this.#brushClass);
    this.#last = place;
    this.#paintTo(place);
  }

  #paintTo(place) {
    this.mask.stroke(this.#last, place, Number(this.size.value));
    this.#last = place;
    this.stage.redraw();
  }

  #end() {
    if (!this.#last) return;
    this.#last = null;
    if (this.mask.end()) this.#changed(this.#tool === "eraser" ? "Erased." : `Painted ${this.#nameOf(this.#brushClass)}.`);
  }

  #click(event) {
    if (!this.mask || this.#tool !== "select" || !this.#pressed) return;
    if (Math.hypot(event.clientX - this.#pressed.clientX, event.clientY - this.#pressed.clientY) > DRAG) return;
    this.#toggleRegion(this.stage.placeAt(event));
  }

  /** Select the region at a place, or unselect it; the background unselects all. */
  #toggleRegion({ x, y }) {
    const region = this.mask.regionAt(x, y);
    const start = region?.runs[0][0];
    const others = this.#regions.filter((one) => !one.runs.some(([first]) => first === start));
    this.#select(!region ? [] : others.length < this.#regions.length ? others : [...others, region]);
  }

  #select(regions) {
    this.#regions = regions;
    this.stage.selection = regions.flatMap(({ runs }) => runs);
    if (this.mask) this.stage.redraw();
    const area = regions.reduce((sum, one) => sum + one.area, 0);
    const names = [...new Set(regions.map(({ id }) => this.#nameOf(id)))].join(", ");
    if (regions.length) this.words.textContent = `${counted(regions.length, "region")} selected: ${names}, ${percent(area / this.mask.ids.length)} of the photo. Choose its class below.`;
    else if (this.#tool === "select") this.words.textContent = "Click the regions that have the wrong class, then choose their class.";
    else this.words.textContent = this.#tool === "brush" ? "Choose a class, then paint over the photo." : "Paint over what is no garment.";
    if (regions.length) this.on.say(this.words.textContent);
    this.#showState();
  }

  #showState() {
    this.stage.root.classList.toggle("painting", Boolean(this.tool));
    this.buttons.undo.disabled = !this.mask?.canUndo;
    this.buttons.redo.disabled = !this.mask?.canRedo;
    this.buttons.merge.disabled = this.#regions.length < 2;
    this.buttons.clear.disabled = !this.#regions.length;
    for (const chip of this.chips.children) chip.setAttribute("aria-pressed", String(this.#tool === "brush" && Number(chip.dataset.id) === this.#brushClass));
  }

  #chooseClass(id) {
    if (this.#regions.length) return this.#assign(id);
    this.#brushClass = id;
    this.choose("brush");
  }

  #assign(id) {
    const count = counted(this.#regions.length, "region");
    if (this.mask.assign(this.#regions, id)) this.#changed(id ? `${count} now ${this.#nameOf(id)}.` : `${count} removed.`);
    this.#select([]);
  }

  #step(name) {
    this.#end();
    if (!(name === "undo" ? this.mask.canUndo : this.mask.canRedo)) return;
    this.mask[name]();
    this.#select([]);
    this.#changed(name === "undo" ? "Undone." : "Done again.");
  }

  #changed(words) {
    this.on.say(words);
    this.stage.redraw();
    this.#showState();
    this.on.change(this.mask);
  }

  #nameOf(id) {
    return this.classes.find((one) => one.id === id)?.name ?? `class ${id}`;
  }

  #shortcut(event) {
    if (!this.mask || !(event.ctrlKey || event.metaKey) || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    this.#step(key === "y" || event.shiftKey ? "redo" : "undo");
  }

  /** Keys on the stage: arrows move the cursor, Space selects, or lowers and lifts the brush. */
  #key(event) {
    if (!this.mask || event.target !== this.stage.root || event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? 0.005 : 0.03;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    const tool = { v: "select", b: "brush", e: "eraser" }[event.key];
    if (move) this.#moveCursor(...move);
    else if (event.key === " " || event.key === "Enter") this.#press();
    else if (tool) this.choose(tool);
    else if (event.key === "Escape") this.#select([]);
    else if (event.key === "[" || event.key === "]") {
      this.size.value = String(event.key === "]" ? Math.ceil(Number(this.size.value) * 1.25) : Math.floor(Number(this.size.value) / 1.25));
      this.#showRing();
    } else return;
    event.preventDefault();
  }

  #moveCursor(across, down) {
    const within = (value) => Math.min(1, Math.max(0, value));
    const { x, y } = this.#cursor;
    this.#cursor = { x: within(x + across), y: within(y + down) };
    if (this.#cursor.x !== x + across || this.#cursor.y !== y + down) this.stage.view.moveBy(across, down);
    this.#showRing(this.#cursor);
    if (this.#last) this.#paintTo(this.stage.view.inPhoto(this.#cursor));
  }

  #press() {
    this.#showRing(this.#cursor);
    const place = this.stage.view.inPhoto(this.#cursor);
    if (this.#tool === "select") this.#toggleRegion(place);
    else if (this.#last) this.#end();
    else this.#begin(place);
  }

  /** Show the brush, or the cross of the keys, where it is. @param {{x: number, y: number}} [place] */
  #showRing(place) {
    const radius = this.#tool === "select" ? 0 : (Number(this.size.value) / this.stage.view.part.width) * this.stage.root.clientWidth;
    this.ring.style.setProperty("--radius", `${radius}px`);
    this.ring.classList.toggle("cross", radius < 4);
    if (!place) return;
    this.ring.style.setProperty("left", `${100 * place.x}%`);
    this.ring.style.setProperty("top", `${100 * place.y}%`);
    this.ring.hidden = false;
  }
}
