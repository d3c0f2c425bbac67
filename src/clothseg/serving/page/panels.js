/** The list of garments: a switch and a cut-out for each, for mouse, keyboard and screen reader alike. */

import { capital, percent } from "./words.js";

/**
 * @typedef {object} Garment
 * @property {number} id class id
 * @property {string} name
 * @property {string} color of the class, as #rrggbb
 * @property {number} share of the photo, 0 to 1
 * @property {number} score mean probability, 0 to 1
 * @property {{hex: string, part: number}[]} colours what it is made of; empty where the photo cannot be shown
 */

/** @param {string} tag @param {Record<string, string>} attributes @param {(Node | string)[]} children */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export class GarmentList {
  #rows = new Map();

  /**
   * @param {HTMLElement} root a list
   * @param {{light: (id: number | null) => void, toggle: (id: number) => void, keep: (id: number) => void}} on
   */
  constructor(root, on) {
    this.root = root;
    this.on = on;
    root.addEventListener("keydown", (event) => this.#move(event));
  }

  /** @param {Garment[]} garments @param {Set<number>} hidden ids that are switched off */
  show(garments, hidden) {
    const largest = Math.max(...garments.map(({ share }) => share));
    this.#rows = new Map(garments.map((garment) => [garment.id, this.#row(garment, largest)]));
    this.root.replaceChildren(...[...this.#rows.values()].map(({ row }) => row));
    this.mark(hidden);
    this.#makeStop([...this.#rows.values()][0]?.toggle);
  }

  /** @param {Set<number>} hidden ids that are switched off */
  mark(hidden) {
    for (const [id, { toggle }] of this.#rows) toggle.setAttribute("aria-checked", String(!hidden.has(id)));
  }

  /** @param {number | null} lit */
  light(lit) {
    for (const [id, { row }] of this.#rows) row.classList.toggle("lit", id === lit);
  }

  #row({ id, name, color, share, score, colours }, largest) {
    const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.setProperty("--color", color);
    const bar = element("span", { class: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--color", color);
    bar.style.setProperty("--share", String(share / largest));
    const facts = element("span", { class: "sure" }, `${percent(score)} sure`);
    if (colours.length) facts.append(element("span", { class: "unseen" }, ` colours ${colours.map((one) => one.hex).join(", ")}`), paletteOf(colours));
    const toggle = element(
      "button",
      { type: "button", role: "switch", class: "toggle", tabindex: "-1" },
      swatch,
      element("span", { class: "name" }, capital(name)),
      element("span", { class: "share" }, percent(share), element("span", { class: "unseen" }, " of the photo,")),
      facts,
      bar,
    );
    const keep = element("button", { type: "button", class: "icon", "aria-label": `Download the cut-out of ${name}`, title: "Download the cut-out" }, arrow());
    const row = element("li", { class: "garment", "data-id": String(id) }, toggle, keep);
    toggle.addEventListener("click", () => this.on.toggle(id));
    keep.addEventListener("click", () => this.on.keep(id));
    row.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.on.light(id));
    row.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.on.light(null));
    row.addEventListener("focusin", () => {
      this.#makeStop(toggle);
      if (row.querySelector(":focus-visible")) this.on.light(id);
    });
    row.addEventListener("focusout", () => this.on.light(null));
    return { row, toggle };
  }

  /** Let the list be one stop of the Tab key; arrows move inside. */
  #makeStop(stop) {
    for (const { toggle } of this.#rows.values()) toggle.tabIndex = toggle === stop ? 0 : -1;
  }

  #move(event) {
    const toggles = [...this.#rows.values()].map(({ toggle }) => toggle);
    const place = toggles.indexOf(event.target);
    const last = toggles.length - 1;
    const next = { ArrowDown: Math.min(last, place + 1), ArrowUp: Math.max(0, place - 1), Home: 0, End: last }[event.key];
    if (place < 0 || next === undefined) return;
    event.preventDefault();
    toggles[next].focus();
  }
}

function paletteOf(colours) {
  const palette = element("span", { class: "palette", "aria-hidden": "true" });
  for (const { hex, part } of colours) {
    const dot = element("span", { title: `${hex}, ${percent(part)} of the garment` });
    dot.style.setProperty("--color", hex);
    palette.append(dot);
  }
  return palette;
}

function arrow() {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", width: "18", height: "18", "aria-hidden": "true" })) drawing.setAttribute(name, value);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M12 4v11 M7 10.5l5 5 5-5 M5 20h14");
  drawing.append(path);
  return drawing;
}
