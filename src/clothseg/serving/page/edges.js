/**
 * Soft edges: how much of each pixel near a mask's border a garment covers, estimated from the photo's colours.
 *
 * As in prediction/cutouts.py: alpha is the local linear function of the colours that fits the mask best (a guided
 * filter), made steeper, and the colours of mixed pixels are those of the garment alone.
 * Source: He, Sun and Tang, "Guided Image Filtering", ECCV 2010; Forte, "Approximate Fast Foreground Colour Estimation", 2021.
 */

import { canvasOf } from "./compose.js";

/** Half the width of the band around a border, in pixels of the network; photos with a wider band are reduced to SMALL_RADIUS. */
const RADIUS = 3;
const SMALL_RADIUS = 6;
const SMOOTHNESS = 3e-4;
const GAIN = 2;

/**
 * @param {ImageBitmap} bitmap the photo
 * @param {Uint8Array} ids class ids of the photo
 * @param {Uint8Array} inside by class id: 255 for what is cut out, else 0
 * @param {import("./compose.js").Box} box around the garment
 * @param {number} pixel length in the photo of a pixel of the network
 * @returns {{canvas: OffscreenCanvas, frame: import("./compose.js").Box, box: import("./compose.js").Box}} the cut-out, what it
 *   shows of the photo, and the part of that where something is
 */
export function softCutout(bitmap, ids, inside, box, pixel) {
  const frame = enlarged(box, Math.round(4 * RADIUS * pixel) + 4, bitmap);
  const radius = Math.max(2, RADIUS * pixel);
  const shrink = Math.max(1, radius / SMALL_RADIUS);
  const [canvas, context] = canvasOf(frame.width, frame.height);
  const stencil = new ImageData(frame.width, frame.height);
  for (let y = 0, at = 3; y < frame.height; y++) {
    const row = (frame.y + y) * bitmap.width + frame.x;
    for (let x = 0; x < frame.width; x++, at += 4) stencil.data[at] = inside[ids[row + x]];
  }
  context.putImageData(stencil, 0, 0);
  const width = Math.max(1, Math.round(frame.width / shrink));
  const height = Math.max(1, Math.round(frame.height / shrink));
  const covered = planesOf(canvas, { x: 0, y: 0, width: frame.width, height: frame.height }, width, height)[3];
  const image = planesOf(bitmap, frame, width, height).slice(0, 3);
  const small = estimate(image, covered, width, height, Math.round(radius / shrink));
  context.clearRect(0, 0, frame.width, frame.height);
  context.drawImage(bitmap, -frame.x, -frame.y);
  const result = context.getImageData(0, 0, frame.width, frame.height);
  const shown = unmix(result, small, width, height);
  context.putImageData(result, 0, 0);
  return { canvas, frame, box: { x: frame.x + shown.left, y: frame.y + shown.top, width: shown.right - shown.left, height: shown.bottom - shown.top } };
}

function enlarged({ x, y, width, height }, border, photo) {
  const [left, top] = [Math.max(0, x - border), Math.max(0, y - border)];
  return { x: left, y: top, width: Math.min(photo.width, x + width + border) - left, height: Math.min(photo.height, y + height + border) - top };
}

/** @returns {Float32Array[]} red, green, blue and alpha, 0 to 1, of a part of a picture in another size */
function planesOf(picture, part, width, height) {
  const [, context] = canvasOf(width, height);
  context.drawImage(picture, part.x, part.y, part.width, part.height, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return [0, 1, 2, 3].map((channel) => new Float32Array(width * height).map((_, at) => data[4 * at + channel] / 255));
}

/** @returns {{alpha: Float32Array, isMixed: Uint8Array, slopes: Float32Array[], garment: Float32Array[], behind: Float32Array[]}} */
function estimate(image, covered, width, height, radius) {
  const mean = (plane, reach = radius) => boxMean(plane, width, height, reach);
  const slopes = guided(image, covered, mean);
  const isNear = mean(covered.map((value) => (value > 0 ? 1 : 0)));
  const isDeep = mean(covered.map((value) => (value === 1 ? 1 : 0)));
  const isBand = isNear.map((value, at) => (value > 1e-6 && isDeep[at] < 1 - 1e-6 ? 1 : 0));
  const alpha = covered.map((value, at) => (isBand[at] ? alphaOf(slopes, at, image.map((plane) => plane[at])) : value));
  const rest = alpha.map((value) => 1 - value);
  const colours = (share) => {
    const total = mean(share, 2 * radius);
    return image.map((plane) => mean(plane.map((value, at) => value * share[at]), 2 * radius).map((value, at) => (value + 1e-5 * plane[at]) / (total[at] + 1e-5)));
  };
  const isMixed = Uint8Array.from(isBand, (near, at) => near && isEdge(alpha, at, width, height));
  return { alpha, isMixed, slopes, garment: colours(alpha), behind: colours(rest) };
}

/** Whether not all of the pixels around one are equal. */
function isEdge(plane, at, width, height) {
  const [x, y] = [at % width, Math.floor(at / width)];
  for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
    for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) if (plane[row * width + column] !== plane[at]) return 1;
  }
  return 0;
}

const alphaOf = (slopes, at, [red, green, blue]) =>
  Math.min(1, Math.max(0, (slopes[0][at] * red + slopes[1][at] * green + slopes[2][at] * blue + slopes[3][at] - 0.5) * GAIN + 0.5));

/** @returns {Float32Array[]} a factor for each colour, and a constant: what makes the target of the colours around each pixel */
function guided(image, target, mean) {
  const product = (one, other) => mean(one.map((value, at) => value * other[at]));
  const means = image.map((plane) => mean(plane));
  const targetMean = mean(target);
  const shared = image.map((plane, channel) => product(plane, target).map((value, at) => value - means[channel][at] * targetMean[at]));
  const spread = (one, other) => product(image[one], image[other]).map((value, at) => value - means[one][at] * means[other][at] + (one === other ? SMOOTHNESS : 0));
  const [rr, rg, rb, gg, gb, bb] = [spread(0, 0), spread(0, 1), spread(0, 2), spread(1, 1), spread(1, 2), spread(2, 2)];
  const slopes = [0, 1, 2, 3].map(() => new Float32Array(target.length));
  for (let at = 0; at < target.length; at++) {
    // Cramer's rule for a symmetric matrix.
    const [a, b, c, d, e, f] = [rr[at], rg[at], rb[at], gg[at], gb[at], bb[at]];
    const cofactors = [d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b];
    const determinant = a * cofactors[0] + b * cofactors[1] + c * cofactors[2];
    const [x, y, z] = shared.map((plane) => plane[at] / determinant);
    slopes[0][at] = cofactors[0] * x + cofactors[1] * y + cofactors[2] * z;
    slopes[1][at] = cofactors[1] * x + cofactors[3] * y + cofactors[4] * z;
    slopes[2][at] = cofactors[2] * x + cofactors[4] * y + cofactors[5] * z;
    slopes[3][at] = targetMean[at] - means.reduce((sum, plane, channel) => sum + slopes[channel][at] * plane[at], 0);
  }
  return slopes.map((plane) => mean(plane));
}

/** The mean over a square around each pixel; the plane is mirrored at its ends. */
function boxMean(plane, width, height, radius) {
  const pass = (source, length, step, lines, lineStep) => {
    const result = new Float32Array(source.length);
    const mirrored = (place) => Math.min(length - 1, Math.max(0, place < 0 ? -place - 1 : place >= length ? 2 * length - 1 - place : place));
    for (let line = 0; line < lines; line++) {
      const start = line * lineStep;
      let sum = 0;
      for (let place = -radius; place <= radius; place++) sum += source[start + mirrored(place) * step];
      for (let place = 0; place < length; place++) {
        result[start + place * step] = sum / (2 * radius + 1);
        sum += source[start + mirrored(place + radius + 1) * step] - source[start + mirrored(place - radius) * step];
      }
    }
    return result;
  };
  return pass(pass(plane, width, 1, height, width), height, width, width, 1);
}

/**
 * Give the pixels of a photo their alpha, and mixed ones the garment's own colours.
 * @returns {{left: number, top: number, right: number, bottom: number}} the box of what is not transparent
 */
function unmix({ data, width, height }, { alpha, isMixed, slopes, garment, behind }, smallWidth, smallHeight) {
  const shown = { left: width, top: height, right: 0, bottom: 0 };
  const within = (value, limit) => Math.min(limit - 1, Math.max(0, value));
  for (let y = 0, at = 0; y < height; y++) {
    const down = ((y + 0.5) * smallHeight) / height;
    for (let x = 0; x < width; x++, at += 4) {
      const across = ((x + 0.5) * smallWidth) / width;
      const near = Math.floor(down) * smallWidth + Math.floor(across);
      let share = alpha[near] > 0.5 ? 1 : 0;
      if (isMixed[near]) {
        const [left, top] = [Math.floor(across - 0.5), Math.floor(down - 0.5)];
        const [fx, fy] = [across - 0.5 - left, down - 0.5 - top];
        const places = [0, 1].flatMap((row) => [0, 1].map((column) => within(top + row, smallHeight) * smallWidth + within(left + column, smallWidth)));
        const weights = [(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy];
        const sample = (plane) => plane[places[0]] * weights[0] + plane[places[1]] * weights[1] + plane[places[2]] * weights[2] + plane[places[3]] * weights[3];
        const color = [data[at] / 255, data[at + 1] / 255, data[at + 2] / 255];
        share = alphaOf(slopes.map((plane) => [sample(plane)]), 0, color);
        for (let channel = 0; channel < 3; channel++) {
          const [own, other] = [sample(garment[channel]), sample(behind[channel])];
          data[at + channel] = 255 * (own + share * (color[channel] - share * own - (1 - share) * other));
        }
      }
      data[at + 3] = Math.round(255 * share);
      if (!data[at + 3]) {
        data[at] = data[at + 1] = data[at + 2] = 0;
        continue;
      }
      if (x < shown.left) shown.left = x;
      if (x >= shown.right) shown.right = x + 1;
      if (y < shown.top) shown.top = y;
      shown.bottom = y + 1;
    }
  }
  return shown;
}
