/** The panels beside the photo: the list of garments, the strip of photos, the sample photos, the model's description; and their texts. */

/** @param {number} part 0 to 1 @returns {string} such as "23%", "4.1%" or "under 0.1%" */
export function percent(part) {
  if (part > 0 && part < 0.001) return "under 0.1%";
  return `${(100 * part).toFixed(part < 0.0995 && part > 0 ? 1 : 0)}%`;
}

/** @param {string} name @returns {string} with a capital */
export const capital = (name) => name.charAt(0).toUpperCase() + name.slice(1);

/** @param {number} number @param {string} noun @returns {string} such as "1 garment", "3 garments" */
export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** @param {number} bytes @returns {string} */
export const fileSize = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** @param {string} file @returns {string} without its ending, fit for a file's name */
export const stemOf = (file) => file.replace(/\.[^.]*$/, "").replace(/[\\/:*?"<>|]/g, "_") || "photo";

/**
 * @typedef {object} Garment
 * @property {number} id class id
 * @property {string} name
 * @property {string} color of the class, as #rrggbb
 * @property {number} share of the photo, 0 to 1
 * @property {{words: string, title: string}} guess see `guessOf`
 * @property {{hex: string, part: number, name: string}[]} colours what it is made of; empty where the photo cannot be shown
 * @property {string} [tint] the colour that it is shown in instead, as #rrggbb
 */

/** Words for a mean probability, and the least that each needs: they say how sure the model is, not that it is right. */
const GUESSES = { "strong guess": 0.9, "fair guess": 0.7, "weak guess": 0.5, "wild guess": 0 };

/** @param {{score: number, corrected?: boolean}} segment @returns {{words: string, title: string}} */
export function guessOf({ score, corrected }) {
  if (corrected) return { words: "by hand", title: "Corrected by hand" };
  const [words] = Object.entries(GUESSES).find(([, least]) => score >= least);
  return { words, title: `The model's mean probability is ${score.toFixed(2)}. Strong guesses can be wrong, too` };
}

/**
 * @param {string} tag
 * @param {Record<string, string | Function>} attributes also listeners, by the name of the event, and custom properties of CSS
 * @param {(Node | string)[]} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (name.startsWith("--")) made.style.setProperty(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** @param {string} color of CSS */
export const swatch = (color) => element("span", { class: "swatch", "aria-hidden": "true", "--color": color });

/** The list of garments: a switch and a cut-out for each, for mouse, keyboard and screen reader. */
export class GarmentList {
  #rows = new Map();

  /**
   * @param {HTMLElement} root a list
   * @param {{highlight: Function, toggle: Function, download: Function, recolour: Function, copy: Function}} on
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
    this.#makeTabStop([...this.#rows.values()][0]?.toggle);
  }

  /** @param {Set<number>} hidden ids that are switched off */
  mark(hidden) {
    for (const [id, { toggle }] of this.#rows) toggle.setAttribute("aria-checked", String(!hidden.has(id)));
  }

  /** @param {number | null} highlighted */
  highlight(highlighted) {
    for (const [id, { row }] of this.#rows) row.classList.toggle("lit", id === highlighted);
  }

  #row({ id, name, color, share, guess, colours, tint }, largest) {
    const toggle = element(
      "button",
      { type: "button", role: "switch", class: "toggle", tabindex: "-1", click: () => this.on.toggle(id) },
      swatch(color),
      element("span", { class: "name" }, capital(name)),
      element("span", { class: "share" }, percent(share), element("span", { class: "unseen" }, " of the photo,")),
      element("span", { class: "guess", title: guess.title }, guess.words),
      element("span", { class: "bar", "aria-hidden": "true", "--color": color, "--share": String(share / largest) }),
    );
    const dots = element("span", { class: "palette" }, ...colours.map((one) => this.#dot(one)));
    const chosen = { type: "color", value: tint ?? colours[0]?.hex, "aria-label": `Recolour ${name}`, title: tint ? "Recolour; choose the first dot's colour to undo" : "Recolour" };
    const recolour = colours.length ? [element("input", { ...chosen, input: ({ target }) => this.on.recolour(id, target.value) })] : [];
    const download = element("button", { type: "button", class: "icon", "aria-label": `Download the cut-out of ${name}`, title: "Download the cut-out", click: () => this.on.download(id) });
    download.innerHTML = DOWNLOAD_ICON;
    const row = element("li", { class: tint ? "garment tinted" : "garment", "data-id": String(id) }, toggle, dots, ...recolour, download);
    row.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.on.highlight(id));
    row.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.on.highlight(null));
    row.addEventListener("focusin", () => {
      this.#makeTabStop(toggle);
      if (row.querySelector(":focus-visible")) this.on.highlight(id);
    });
    row.addEventListener("focusout", () => this.on.highlight(null));
    return { row, toggle };
  }

  #dot({ hex, part, name }) {
    const title = `${capital(name)} ${hex}, ${percent(part)} of the garment. Click to copy`;
    return element("button", { type: "button", tabindex: "-1", "--color": hex, "aria-label": `Copy ${hex}, ${name}`, title, click: () => this.on.copy(hex, name) });
  }

  /** Make one row the list's only stop of the Tab key; arrow keys move inside the list. */
  #makeTabStop(stop) {
    for (const { toggle } of this.#rows.values()) toggle.tabIndex = toggle === stop ? 0 : -1;
  }

  #move(event) {
    const toggles = [...this.#rows.values()].map(({ toggle }) => toggle);
    const inRow = [...event.target.closest("li").querySelectorAll("button")];
    const isSideways = ["ArrowLeft", "ArrowRight"].includes(event.key);
    (isSideways ? targetOf(event, inRow, "ArrowLeft", "ArrowRight") : targetOf(event, toggles, "ArrowUp", "ArrowDown"))?.focus();
  }
}

/** @returns {Element | undefined} the button of a list to which a key moves the focus */
function targetOf(event, buttons, previousKey, nextKey) {
  const place = buttons.indexOf(event.target);
  const last = buttons.length - 1;
  const target = { [nextKey]: Math.min(last, place + 1), [previousKey]: Math.max(0, place - 1), Home: 0, End: last }[event.key];
  if (place < 0 || target === undefined) return undefined;
  event.preventDefault();
  return buttons[target];
}

const DOWNLOAD_ICON = '<svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true"><path d="M12 4v11 M7 10.5l5 5 5-5 M5 20h14"/></svg>';

/** The states of a photo, as a screen reader says them. */
const STATES = { waiting: "waiting", working: "being segmented", done: "segmented", failed: "failed" };

/** The strip of photos: a button to show each, and one to remove it. */
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
    const label = { title: name, "aria-label": `${name}, ${STATES[state]}`, ...(isCurrent && { "aria-current": "true" }) };
    const tile = element("button", { type: "button", class: "tile", ...label, click: () => this.on.choose(id) }, picture);
    const remove = element("button", { type: "button", class: "remove", "aria-label": `Remove ${name}`, title: "Remove", click: () => this.on.remove(id) }, "×");
    return element("li", { "data-id": String(id), "data-state": state }, tile, remove);
  }

  #move(event) {
    const tiles = [...this.root.querySelectorAll(".tile")];
    const idOf = (tile) => Number(tile.closest("li").dataset.id);
    if (event.key === "Delete" && tiles.includes(event.target)) this.on.remove(idOf(event.target));
    const target = targetOf(event, tiles, "ArrowLeft", "ArrowRight");
    if (!target) return;
    const id = idOf(target);
    this.on.choose(id);
    this.focus(id);
  }
}

/** @param {object} card ModelCard of openapi.json @returns {{known: object[], unknown: object[]}} classes but the background */
export function classesOf(card) {
  const garments = card.classes.slice(1);
  const isKnown = ({ name }) => !card.known_classes || card.known_classes.includes(name);
  return { known: garments.filter(isKnown), unknown: garments.filter((one) => !isKnown(one)) };
}

/** @param {HTMLDialogElement} dialog @param {object} card */
export function fillAbout(dialog, card) {
  const { known, unknown } = classesOf(card);
  const data = card.training_data ?? {};
  const facts = {
    Model: card.name,
    Network: `${card.architecture} with ${card.encoder_name}, ${card.image_size} pixels`,
    "Runs on": card.runtime,
    "Trained on": data.name,
    "Mean IoU": Number.isFinite(card.scores?.val_iou) ? `${card.scores.val_iou.toFixed(3)} on ${card.scores.scored_on ?? "its validation photos"}` : "",
    Licence: card.licence,
    Source: card.source,
    "SHA-256": card.sha256.slice(0, 12),
  };
  const rows = Object.entries(facts).filter(([, value]) => value);
  dialog.querySelector("#about-facts").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]));
  const entry = ({ display_name: name, color }) => element("li", {}, swatch(`rgb(${color})`), capital(name));
  dialog.querySelector("#known").replaceChildren(...known.map(entry));
  dialog.querySelector("#unknown").replaceChildren(...unknown.map(entry));
  dialog.querySelector("#unknown-part").hidden = !unknown.length;
}

/** Photos to try the page with, each with its credit. */
const SAMPLES = [
  { path: "page/gallery/canyon.jpg", title: "Shirt, jeans and boots", credit: "Photo: David Hiser / EPA DOCUMERICA, National Archives (NAID 545607), public domain" },
  { path: "page/gallery/studio.jpg", title: "Studio photo, 19th century", credit: "Photo: Library of Congress, item 2006688036, public domain" },
  { path: "page/gallery/garden.jpg", title: "Dress in a garden", credit: "Photo: History Trust of South Australia (GN03697), CC0 1.0" },
  { path: "page/gallery/astronaut.jpg", title: "Astronaut's suit", credit: "Photo: NASA / scikit-image, public domain" },
  { path: "page/gallery/crew.jpg", title: "Three spacesuits", credit: "Photo: NASA, public domain" },
  { path: "v1/sample", title: "Drawn by clothseg", credit: "Drawn by clothseg's own code" },
];

/** @param {HTMLElement} root a list @param {(sample: {path: string, title: string, credit: string}) => void} choose */
export function showGallery(root, choose) {
  const tiles = SAMPLES.map((sample) => {
    const isDrawn = sample.path === "v1/sample"; // it may need a key, which an address in the page cannot send
    const picture = element("img", { src: isDrawn ? "page/icon.svg" : sample.path, alt: "", width: "72", height: "90", loading: "lazy" });
    const label = { "aria-label": `Try the sample: ${sample.title}`, title: `${sample.title}. ${sample.credit}` };
    return element("li", {}, element("button", { type: "button", class: "tile", ...label, click: () => choose(sample) }, picture));
  });
  root.replaceChildren(...tiles);
}
