/** Photos to try the page with, each with its credit. */

import { element } from "./panels.js";

/** @typedef {{path: string, title: string, credit: string}} Sample */

/** @type {Sample[]} */
const SAMPLES = [
  { path: "page/gallery/canyon.jpg", title: "Shirt, jeans and boots", credit: "Photo: David Hiser / EPA DOCUMERICA, National Archives (NAID 545607), public domain" },
  { path: "page/gallery/studio.jpg", title: "Studio photo, 19th century", credit: "Photo: Library of Congress, item 2006688036, public domain" },
  { path: "page/gallery/garden.jpg", title: "Dress in a garden", credit: "Photo: History Trust of South Australia (GN03697), CC0 1.0" },
  { path: "page/gallery/astronaut.jpg", title: "Astronaut's suit", credit: "Photo: NASA / scikit-image, public domain" },
  { path: "page/gallery/crew.jpg", title: "Three spacesuits", credit: "Photo: NASA, public domain" },
  { path: "v1/sample", title: "Drawn by clothseg", credit: "Drawn by clothseg's own code" },
];

/** @param {HTMLElement} root a list @param {(sample: Sample) => void} choose */
export function showGallery(root, choose) {
  const tiles = SAMPLES.map((sample) => {
    const isDrawn = sample.path === "v1/sample"; // it may need a key, which an address in the page cannot send
    const picture = element("img", { src: isDrawn ? "page/icon.svg" : sample.path, alt: "", width: "72", height: "90", loading: "lazy" });
    const tile = element("button", { type: "button", class: "tile", "aria-label": `Try the sample: ${sample.title}`, title: `${sample.title}. ${sample.credit}` }, picture);
    tile.addEventListener("click", () => choose(sample));
    return element("li", {}, tile);
  });
  root.replaceChildren(...tiles);
}
