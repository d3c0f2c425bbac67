/** What the page says of the model: its name, what it was trained on, which classes it finds and which it never will. */

import { element } from "./panels.js";
import { capital } from "./words.js";

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
    "SHA-256": card.sha256.slice(0, 12),
  };
  const rows = Object.entries(facts).filter(([, value]) => value);
  dialog.querySelector("#about-facts").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]));
  dialog.querySelector("#known").replaceChildren(...known.map(entry));
  dialog.querySelector("#unknown").replaceChildren(...unknown.map(entry));
  dialog.querySelector("#unknown-part").hidden = !unknown.length;
}

function entry({ name, color }) {
  const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.setProperty("--color", `rgb(${color})`);
  return element("li", {}, swatch, capital(name));
}
