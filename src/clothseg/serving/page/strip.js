/** The strip of photos: one button to look at each, one to remove it. */

import { element } from "./panels.js";

const STATES = { waiting: "waiting", working: "being segmented", done: "segmented", failed: "failed" };

export class Strip {
  /**
   * @param {HTMLElement} root a list
   * @param {{choose: (id: number) => void, remove: (id: number) => void}} on
   */
  constructor(root, on) {
    this.root = root;
    this.on = on;
    root.addEventListener("keydown", (event) => this.#move(event));
  }

  /** @param {{id: number, name: string, state: string, thumbnail: string}[]} photos @param {number} current id */
  show(photos, current) {
    const focused = this.root.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
    this.root.replaceChildren(...photos.map((photo) => this.#tile(photo, photo.id === current)));
    if (focused) this.focus(focused);
  }

  /** @param {string | number} id */
  focus(id) {
    this.root.querySelector(`li[data-id="${id}"] .tile`)?.focus();
  }

  #tile({ id, name, state, thumbnail }, isCurrent) {
    const picture = thumbnail ? element("img", { src: thumbnail, alt: "" }) : element("span", { class: "blank", "aria-hidden": "true" });
    const tile = element("button", { type: "button", class: "tile", title: name, "aria-label": `${name}, ${STATES[state]}` }, picture);
    if (isCurrent) tile.setAttribute("aria-current", "true");
    const remove = element("button", { type: "button", class: "remove", "aria-label": `Remove ${name}`, title: "Remove" }, "×");
    tile.addEventListener("click", () => this.on.choose(id));
    remove.addEventListener("click", () => this.on.remove(id));
    return element("li", { "data-id": String(id), "data-state": state }, tile, remove);
  }

  #move(event) {
    const tiles = [...this.root.querySelectorAll(".tile")];
    const place = tiles.indexOf(event.target);
    const last = tiles.length - 1;
    const next = { ArrowRight: Math.min(last, place + 1), ArrowLeft: Math.max(0, place - 1), Home: 0, End: last }[event.key];
    if (place < 0) return;
    const id = Number(tiles[place].closest("li").dataset.id);
    if (event.key === "Delete") this.on.remove(id);
    if (next === undefined) return;
    event.preventDefault();
    const chosen = Number(tiles[next].closest("li").dataset.id);
    this.on.choose(chosen);
    this.focus(chosen);
  }
}
