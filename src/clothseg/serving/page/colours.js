/** The main colours of garments, and their names: as prediction/colors.py finds them, which a test compares. */

import { brightnessOf } from "./compose.js";

/** @param {number[]} rgb @returns {string} such as #1f2a44 */
export const hexOf = (rgb) => `#${rgb.map((value) => Math.round(value).toString(16).padStart(2, "0")).join("")}`;

/** Smallest part of a garment that a colour must fill, unless it is the main one. */
const SMALLEST_PART = 0.08;
/** Distance in CIELAB below which two colours are one. */
const SAME = 18;
const MOST = 3;

/**
 * @param {ImageData} image RGBA
 * @param {Uint8Array} ids class of each pixel
 * @param {Record<string, number[]>} names of colours, each with an example in RGB
 * @returns {Map<number, {colours: {hex: string, part: number, name: string}[], brightness: number}>} by class id: its main
 *   colours, the largest part first, and its mean brightness
 */
export function garmentColours({ data }, ids, names) {
  const labByName = Object.entries(names).map(([name, rgb]) => [name, labOf(rgb)]);
  const boxesById = new Map();
  for (let at = 0; at < ids.length; at++) {
    if (!ids[at]) continue;
    const [red, green, blue] = [data[4 * at], data[4 * at + 1], data[4 * at + 2]];
    if (!boxesById.has(ids[at])) boxesById.set(ids[at], Array.from({ length: 512 }, () => ({ count: 0, sum: [0, 0, 0] })));
    const box = boxesById.get(ids[at])[((red >> 5) << 6) | ((green >> 5) << 3) | (blue >> 5)];
    box.count++;
    box.sum[0] += red;
    box.sum[1] += green;
    box.sum[2] += blue;
  }
  return new Map([...boxesById].map(([id, boxes]) => [id, { colours: mainColours(boxes, labByName), brightness: meanBrightness(boxes) }]));
}

const meanBrightness = (boxes) => boxes.reduce((sum, box) => sum + brightnessOf(...box.sum), 0) / boxes.reduce((sum, box) => sum + box.count, 0);

/** Join each box with the nearest group of a similar colour, and keep the largest groups. */
function mainColours(boxes, labByName) {
  const total = boxes.reduce((sum, box) => sum + box.count, 0);
  const groups = [];
  for (const { count, sum } of boxes.filter((box) => box.count).sort((one, other) => other.count - one.count)) {
    const lab = labOf(sum.map((value) => value / count));
    const near = nearest(groups, lab, (group) => group.lab);
    if (!near || distance(near.lab, lab) >= SAME) groups.push({ lab, count, sum });
    else {
      near.count += count;
      near.sum = near.sum.map((value, channel) => value + sum[channel]);
    }
  }
  return groups
    .sort((one, other) => other.count - one.count)
    .filter(({ count }, place) => place === 0 || count / total >= SMALLEST_PART)
    .slice(0, MOST)
    .map(({ count, sum }) => {
      const rgb = sum.map((value) => Math.round(value / count));
      return { hex: hexOf(rgb), part: count / total, name: nearest(labByName, labOf(rgb), ([, lab]) => lab)[0] };
    });
}

const distance = (one, other) => Math.hypot(...one.map((value, axis) => value - other[axis]));

function nearest(all, lab, labOfOne) {
  return all.reduce((best, one) => (best && distance(labOfOne(best), lab) <= distance(labOfOne(one), lab) ? best : one), null);
}

/** @param {number[]} rgb 0 to 255 @returns {number[]} in CIELAB for the white D65. Source: IEC 61966-2-1; CIE 15. */
function labOf(rgb) {
  const [red, green, blue] = rgb.map((value) => (value > 10.3 ? ((value / 255 + 0.055) / 1.055) ** 2.4 : value / 3294.6));
  const [x, y, z] = [
    (0.412453 * red + 0.35758 * green + 0.180423 * blue) / 0.950456,
    0.212671 * red + 0.71516 * green + 0.072169 * blue,
    (0.019334 * red + 0.119193 * green + 0.950227 * blue) / 1.088754,
  ].map((value) => (value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}
