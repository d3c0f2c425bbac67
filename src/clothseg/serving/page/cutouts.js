/**
 * Cut-outs: classes of a photo, with soft edges; how much of each pixel near a mask's border they cover is estimated.
 *
 * As in prediction/cutouts.py: alpha is the local linear function of the colours that fits the mask best (a guided
 * filter), made steeper, and the colours of mixed pixels are those of the garment alone. Loops over all pixels allocate nothing.
 * Source: He, Sun and Tang, "Guided Image Filtering", ECCV 2010; Forte, "Approximate Fast Foreground Colour Estimation", 2021.
 */

import { canvasOf, grown, recolour } from "./compose.js";

/** Half the width of the band around a border, in pixels of the network; photos with a wider band are reduced to SMALL_RADIUS. */
const RADIUS = 3;
const SMALL_RADIUS = 6;
const SMOOTHNESS = 3e-4;
const GAIN = 2;
/** Shares that differ from 0 or 1 by less are equal to them. */
const TINY = 1e-6;

/**
 * Cut classes out of a photo; pixels outside them are removed, not only transparent.
 * @param {ImageBitmap} photo
 * @param {Uint8Array} ids of its pixels
 * @param {Set<number>} wanted class ids
 * @param {import("./compose.js").Box} whole box around them
 * @param {{edges: "soft" | "hard", pixel: number, tints: Map<number, import("./compose.js").Tint>}} options pixel is the length in the photo of a pixel of the network
 * @returns {{clothes: OffscreenCanvas, shown: import("./compose.js").Box, box: import("./compose.js").Box}} the cut-out, what it shows of the photo, and the part of that where something near `whole` is
 */
export function cutOut(photo, ids, wanted, whole, { edges, pixel, tints }) {
  const isSoft = edges === "soft" && wanted.size > 0;
  const shown = isSoft ? softFrame(whole, pixel, photo) : whole;
  const [clothes, context] = canvasOf(shown.width, shown.height);
  const part = partOf(ids, photo.width, shown);
  const stencil = new ImageData(shown.width, shown.height);
  const values = Uint32Array.from({ length: 256 }, (_, id) => (id && wanted.has(id) ? 0xff000000 : 0));
  const pixels = new Uint32Array(stencil.data.buffer);
  for (let at = 0; at < part.length; at++) pixels[at] = values[part[at]];
  context.putImageData(stencil, 0, 0);
  const draw = () => context.drawImage(photo, -shown.x, -shown.y);
  context.globalCompositeOperation = "source-in";
  const near = grown({ ...whole, x: whole.x - shown.x, y: whole.y - shown.y }, reachOf({ edges, pixel }));
  const { x, y, ...size } = isSoft ? soften(context, draw, pixel, near) : (draw(), { ...shown, x: 0, y: 0 });
  if (tints.size) recolour(context, isSoft ? spread(part, shown.width, wanted) : part, tints);
  return { clothes, shown, box: { x: shown.x + x, y: shown.y + y, ...size } };
}

/** @returns {number} how far a cut-out may reach beyond the mask, in pixels of the photo */
export const reachOf = ({ edges, pixel }) => (edges === "soft" ? Math.round(2 * Math.max(2, RADIUS * pixel)) + 3 : 0);

/** @param {Uint8Array} ids of a picture @param {number} width of it @param {import("./compose.js").Box} box @returns {Uint8Array} the ids in the box */
export function partOf(ids, width, box) {
  const part = new Uint8Array(box.width * box.height);
  for (let y = 0; y < box.height; y++) {
    const start = (box.y + y) * width + box.x;
    part.set(ids.subarray(start, start + box.width), y * box.width);
  }
  return part;
}

/** Let garments reach over their borders, so that their soft edges get their new colour, too; the rest is transparent anyway. */
function spread(ids, width, wanted) {
  const result = ids.map((id) => (wanted.has(id) ? id : 0));
  for (let at = width; at < result.length; at++) result[at] ||= result[at - 1] || result[at - width];
  for (let at = result.length - width - 1; at >= 0; at--) result[at] ||= result[at + 1] || result[at + width];
  return result;
}

/** @returns {import("./compose.js").Box} what a soft cut-out needs of the photo; `pixel` is the length in it of a pixel of the network */
function softFrame({ x, y, width, height }, pixel, photo) {
  const border = Math.round(4 * RADIUS * pixel) + 4;
  const [left, top] = [Math.max(0, x - border), Math.max(0, y - border)];
  return { x: left, y: top, width: Math.min(photo.width, x + width + border) - left, height: Math.min(photo.height, y + height + border) - top };
}

/**
 * Replace a stencil by what it covers, with soft edges.
 * @param {OffscreenCanvasRenderingContext2D} context of the stencil
 * @param {(context: OffscreenCanvasRenderingContext2D) => void} draw draws the photo
 * @param {number} pixel see `softFrame`
 * @param {import("./compose.js").Box} near a part of the canvas
 * @returns {import("./compose.js").Box} the part of it where something is
 */
function soften(context, draw, pixel, near) {
  const { canvas } = context;
  const radius = Math.max(2, RADIUS * pixel);
  const shrink = Math.max(1, radius / SMALL_RADIUS);
  const [width, height] = [canvas.width, canvas.height].map((side) => Math.max(1, Math.round(side / shrink)));
  const [covered] = planesOf(canvas, width, height, [3]);
  context.globalCompositeOperation = "copy";
  draw(context);
  const small = estimate(planesOf(canvas, width, height, [0, 1, 2]), covered, width, height, Math.round(radius / shrink));
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  const box = unmix(image, small, width, height, near);
  context.putImageData(image, 0, 0);
  return box;
}

/** @returns {Float32Array[]} some channels, 0 to 1, of a picture in another size */
function planesOf(picture, width, height, channels) {
  const [, context] = canvasOf(width, height);
  context.drawImage(picture, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return channels.map((channel) => planeOf(width * height, (at) => data[4 * at + channel] / 255));
}

/** Several times as fast as `map` of a typed array. */
function planeOf(length, valueAt) {
  const plane = new Float32Array(length);
  for (let at = 0; at < length; at++) plane[at] = valueAt(at);
  return plane;
}

/** @returns {{alpha: Float32Array, isMixed: Float32Array, planes: Float32Array[]}} planes: four of `guided`, the garment's colours, those behind */
function estimate(image, covered, width, height, radius) {
  const ones = new Float32Array(covered.length).fill(1);
  const mean = (plane, weights = ones, reach = radius) => boxMean(plane, weights, width, height, reach);
  const share = mean(covered);
  const isBand = (at) => share[at] > TINY && share[at] < 1 - TINY;
  const slopes = guided(image, covered, share, mean);
  const valuesAt = (planes, at) => planes.map((plane) => plane[at]);
  const alpha = planeOf(covered.length, (at) => (isBand(at) ? alphaOf(valuesAt(slopes, at), ...valuesAt(image, at)) : covered[at]));
  const around = mean(alpha, ones, 1);
  const isMixed = planeOf(alpha.length, (at) => isBand(at) && ((alpha[at] > 0 && alpha[at] < 1) || Math.abs(around[at] - alpha[at]) > TINY));
  const colours = (weights) => {
    const total = mean(weights, ones, 2 * radius);
    const sums = image.map((plane) => mean(plane, weights, 2 * radius));
    return sums.map((sum, channel) => planeOf(sum.length, (at) => (sum[at] + 1e-5 * image[channel][at]) / (total[at] + 1e-5)));
  };
  return { alpha, isMixed, planes: [...slopes, ...colours(alpha), ...colours(planeOf(alpha.length, (at) => 1 - alpha[at]))] };
}

const alphaOf = ([byRed, byGreen, byBlue, constant], red, green, blue) =>
  Math.min(1, Math.max(0, (byRed * red + byGreen * green + byBlue * blue + constant - 0.5) * GAIN + 0.5));

/** @returns {Float32Array[]} a factor for each colour, and a constant: what makes the target of the colours around each pixel */
function guided([red, green, blue], target, share, mean) {
  const [r, g, b] = [mean(red), mean(green), mean(blue)];
  const [rt, gt, bt] = [mean(red, target), mean(green, target), mean(blue, target)];
  const [rr, rg, rb, gg, gb, bb] = [mean(red, red), mean(red, green), mean(red, blue), mean(green, green), mean(green, blue), mean(blue, blue)];
  const slopes = [0, 1, 2, 3].map(() => new Float32Array(target.length));
  for (let at = 0; at < target.length; at++) {
    slopes[3][at] = share[at];
    if (share[at] < TINY || share[at] > 1 - TINY) continue;
    // Cramer's rule for a symmetric matrix: variances and covariances of the colours, and theirs with the target.
    const [mr, mg, mb, mt] = [r[at], g[at], b[at], share[at]];
    const [a, c, f] = [rr[at] - mr * mr + SMOOTHNESS, gg[at] - mg * mg + SMOOTHNESS, bb[at] - mb * mb + SMOOTHNESS];
    const [d, e, h] = [rg[at] - mr * mg, rb[at] - mr * mb, gb[at] - mg * mb];
    const [x, y, z] = [rt[at] - mr * mt, gt[at] - mg * mt, bt[at] - mb * mt];
    const [aa, dd, ee, cc, hh, ff] = [c * f - h * h, e * h - d * f, d * h - c * e, a * f - e * e, d * e - a * h, a * c - d * d];
    const determinant = a * aa + d * dd + e * ee;
    slopes[0][at] = (aa * x + dd * y + ee * z) / determinant;
    slopes[1][at] = (dd * x + cc * y + hh * z) / determinant;
    slopes[2][at] = (ee * x + hh * y + ff * z) / determinant;
    slopes[3][at] -= slopes[0][at] * mr + slopes[1][at] * mg + slopes[2][at] * mb;
  }
  return slopes.map((plane) => mean(plane));
}

/** The mean of a plane times its weights over a square around each pixel; both are mirrored at their ends. */
function boxMean(plane, weights, width, height, radius) {
  const size = 2 * radius + 1;
  const folded = (place, length) => Math.max(0, Math.min(place, 2 * length - 1 - place));
  const mirrored = (length) => Int32Array.from({ length: length + size }, (_, at) => folded(Math.abs(at - radius + 0.5) - 0.5, length));
  const [columns, rows] = [mirrored(width), mirrored(height)];
  const result = new Float32Array(plane.length);
  const sums = new Float64Array(width); // of each column, over the rows around the present one
  for (let row = 0; row < size; row++) for (let x = 0, at = rows[row] * width; x < width; x++, at++) sums[x] += plane[at] * weights[at];
  for (let y = 0, at = 0; y < height; y++) {
    let sum = 0;
    for (let column = 0; column < size; column++) sum += sums[columns[column]];
    for (let x = 0; x < width; x++, at++) {
      result[at] = sum / (size * size);
      sum += sums[columns[x + size]] - sums[columns[x]];
    }
    const [first, next] = [rows[y] * width, rows[y + size] * width];
    for (let x = 0; x < width; x++) sums[x] += plane[next + x] * weights[next + x] - plane[first + x] * weights[first + x];
  }
  return result;
}

/**
 * Give the pixels of a photo their alpha, and mixed ones the garment's own colours.
 * @returns {import("./compose.js").Box} of what is not transparent and within `near`
 */
function unmix({ data, width, height }, { alpha, isMixed, planes }, smallWidth, smallHeight, near) {
  const pixels = new Uint32Array(data.buffer);
  const values = planes.map(() => 0);
  const within = (place, length) => Math.min(length - 1, Math.max(0, place));
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0, at = 0; y < height; y++) {
    const down = ((y + 0.5) * smallHeight) / height;
    const [row, above] = [Math.floor(down) * smallWidth, Math.floor(down - 0.5)];
    const [upper, lower, fy] = [within(above, smallHeight) * smallWidth, within(above + 1, smallHeight) * smallWidth, down - 0.5 - above];
    for (let x = 0; x < width; x++, at++) {
      const across = ((x + 0.5) * smallWidth) / width;
      const near = row + Math.floor(across);
      let share = alpha[near] > 0.5 ? 1 : 0;
      if (isMixed[near]) {
        const before = Math.floor(across - 0.5);
        const fx = across - 0.5 - before;
        const [one, other] = [within(before, smallWidth), within(before + 1, smallWidth)];
        for (let place = 0; place < planes.length; place++) {
          const plane = planes[place];
          values[place] = (1 - fy) * ((1 - fx) * plane[upper + one] + fx * plane[upper + other]) + fy * ((1 - fx) * plane[lower + one] + fx * plane[lower + other]);
        }
        share = alphaOf(values, data[4 * at] / 255, data[4 * at + 1] / 255, data[4 * at + 2] / 255);
        for (let channel = 0; channel < 3; channel++) {
          const [own, behind] = [values[4 + channel], values[7 + channel]];
          data[4 * at + channel] = 255 * (own + share * (data[4 * at + channel] / 255 - share * own - (1 - share) * behind));
        }
      }
      data[4 * at + 3] = Math.round(255 * share);
      if (!data[4 * at + 3]) {
        pixels[at] = 0;
        continue;
      }
      if (x < near.x || y < near.y || x >= near.x + near.width || y >= near.y + near.height) continue;
      if (x < left) left = x;
      if (x >= right) right = x + 1;
      if (y < top) top = y;
      bottom = y + 1;
    }
  }
  return bottom ? { x: left, y: top, width: right - left, height: bottom - top } : { x: 0, y: 0, width, height };
}
