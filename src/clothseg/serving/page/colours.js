/** The colours a garment is made of: the few that fill most of it. */

/** Smallest part of a garment that a colour must fill to be named. */
const SMALLEST_PART = 0.08;
/** Colours nearer than this, as distance in RGB, count as one. */
const NEAR = 56;

/**
 * @param {Uint8ClampedArray} pixels RGBA
 * @param {Uint8Array} ids class of each pixel
 * @param {number} [most] colours per garment
 * @returns {Map<number, {hex: string, part: number}[]>} by class id, the largest part first
 */
export function garmentColours(pixels, ids, most = 4) {
  const boxesById = new Map();
  for (let at = 0; at < ids.length; at++) {
    if (!ids[at]) continue;
    const [red, green, blue] = [pixels[4 * at], pixels[4 * at + 1], pixels[4 * at + 2]];
    if (!boxesById.has(ids[at])) boxesById.set(ids[at], new Map());
    const boxes = boxesById.get(ids[at]);
    const name = ((red >> 5) << 6) | ((green >> 5) << 3) | (blue >> 5);
    const box = boxes.get(name) ?? { count: 0, sum: [0, 0, 0] };
    boxes.set(name, box);
    box.count++;
    box.sum[0] += red;
    box.sum[1] += green;
    box.sum[2] += blue;
  }
  return new Map([...boxesById].map(([id, boxes]) => [id, mainColours([...boxes.values()], most)]));
}

/** Join boxes that lie near a larger one, and keep the largest. */
function mainColours(boxes, most) {
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
    .map((box) => ({ hex: hexOf(mean(box)), part: box.count / total }))
    .sort((one, other) => other.part - one.part)
    .filter(({ part }, place) => place === 0 || part >= SMALLEST_PART)
    .slice(0, most);
}

const mean = ({ count, sum }) => sum.map((value) => value / count);
const distance = (one, other) => Math.hypot(...one.map((value, channel) => value - other[channel]));
/** @param {number[]} rgb @returns {string} such as #1f2a44 */
export const hexOf = (rgb) => `#${rgb.map((value) => Math.round(value).toString(16).padStart(2, "0")).join("")}`;
