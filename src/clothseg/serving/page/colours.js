/** The main colours of garments, and their names. */

import { brightnessOf } from "./compose.js";

/** @param {number[]} rgb @returns {string} such as #1f2a44 */
export const hexOf = (rgb) => `#${rgb.map((value) => Math.round(value).toString(16).padStart(2, "0")).join("")}`;

/** Smallest part of a garment that a colour must fill to be named. */
const SMALLEST_PART = 0.08;
/** Colours nearer than this, as distance in RGB, count as one. */
const NEAR = 56;
const MOST = 4;

/**
 * @param {ImageData} image RGBA
 * @param {Uint8Array} ids class of each pixel
 * @returns {Map<number, {colours: {hex: string, part: number, name: string}[], brightness: number}>} by class id: its main
 *   colours, the largest part first, and its mean brightness
 */
export function garmentColours({ data }, ids) {
  const boxesById = new Map();
  for (let at = 0; at < ids.length; at++) {
    if (!ids[at]) continue;
    const [red, green, blue] = [data[4 * at], data[4 * at + 1], data[4 * at + 2]];
    if (!boxesById.has(ids[at])) boxesById.set(ids[at], new Map());
    const boxes = boxesById.get(ids[at]);
    const key = ((red >> 5) << 6) | ((green >> 5) << 3) | (blue >> 5);
    let box = boxes.get(key);
    if (!box) boxes.set(key, (box = { count: 0, sum: [0, 0, 0] }));
    box.count++;
    box.sum[0] += red;
    box.sum[1] += green;
    box.sum[2] += blue;
  }
  return new Map([...boxesById].map(([id, boxes]) => [id, { colours: mainColours([...boxes.values()]), brightness: meanBrightness([...boxes.values()]) }]));
}

const meanBrightness = (boxes) => boxes.reduce((sum, box) => sum + brightnessOf(...box.sum), 0) / boxes.reduce((sum, box) => sum + box.count, 0);

/** Join boxes that lie near a larger one, and keep the largest. */
function mainColours(boxes) {
  const total = boxes.reduce((sum, box) => sum + box.count, 0);
  const kept = [];
  for (const box of boxes.sort((one, other) => other.count - one.count)) {
    const near = kept.find((one) => distance(mean(one), mean(box)) < NEAR);
    if (!near) kept.push({ count: box.count, sum: [...box.sum] });
    else {
      near.count += box.count;
      near.sum = near.sum.map((value, channel) => value + box.sum[channel]);
    }
  }
  return kept
    .map((box) => ({ hex: hexOf(mean(box)), part: box.count / total, name: colourName(mean(box)) }))
    .sort((one, other) => other.part - one.part)
    .filter(({ part }, place) => place === 0 || part >= SMALLEST_PART)
    .slice(0, MOST);
}

const mean = ({ count, sum }) => sum.map((value) => value / count);
const distance = (one, other) => Math.hypot(...one.map((value, channel) => value - other[channel]));

/** Names of colours, each with an example in RGB. */
const NAMES = {
  black: [20, 20, 22], "dark grey": [70, 70, 72], grey: [128, 128, 130], "light grey": [190, 190, 192], white: [245, 245, 245], cream: [240, 230, 205],
  beige: [208, 186, 150], tan: [176, 136, 96], brown: [108, 70, 42], "dark brown": [58, 40, 30], maroon: [104, 26, 38], red: [200, 32, 38],
  coral: [238, 112, 90], orange: [240, 136, 40], mustard: [200, 160, 50], yellow: [248, 220, 70], olive: [112, 112, 52], "light green": [150, 205, 130],
  green: [54, 140, 70], "dark green": [28, 66, 44], teal: [28, 122, 126], turquoise: [84, 196, 198], "light blue": [158, 198, 230], blue: [44, 100, 190],
  denim: [72, 96, 132], navy: [28, 38, 78], purple: [108, 54, 140], lilac: [188, 164, 214], pink: [240, 164, 186], magenta: [206, 44, 126],
};

/** @param {number[]} rgb @returns {string} the name of the nearest colour that has one; green differences count most, as for the eye */
function colourName(rgb) {
  const difference = ([red, green, blue]) => 2 * (red - rgb[0]) ** 2 + 4 * (green - rgb[1]) ** 2 + 3 * (blue - rgb[2]) ** 2;
  return Object.entries(NAMES).reduce((best, one) => (difference(one[1]) < difference(best[1]) ? one : best))[0];
}
