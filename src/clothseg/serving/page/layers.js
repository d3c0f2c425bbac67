/** From class ids to colours: the part of a mask that is on the screen, the outlines of its classes, and their colours. */

/**
 * @param {Uint8Array} ids width x height
 * @param {{x: number, y: number, width: number, height: number}} part of the photo, in its pixels; it may reach beyond it
 * @returns {Uint8Array} newWidth x newHeight: the id at the centre of each pixel of the part, 0 beyond the photo
 */
export function resampleIds(ids, width, part, newWidth, newHeight) {
  const height = ids.length / width;
  const columns = Int32Array.from({ length: newWidth }, (_, x) => Math.floor(part.x + ((x + 0.5) * part.width) / newWidth));
  const resampled = new Uint8Array(newWidth * newHeight);
  const first = columns.findIndex((column) => column >= 0);
  const after = columns.findLastIndex((column) => column < width) + 1;
  for (let y = 0; y < newHeight; y++) {
    const row = Math.floor(part.y + ((y + 0.5) * part.height) / newHeight);
    if (row < 0 || row >= height || first < 0) continue;
    for (let x = first, start = row * width; x < after; x++) resampled[y * newWidth + x] = ids[start + columns[x]];
  }
  return resampled;
}

/**
 * @param {Uint8Array} ids width x height
 * @returns {Map<number, {left: number, top: number, right: number, bottom: number}>} the box of each class
 */
export function boxesOf(ids, width) {
  const boxes = new Map();
  for (let at = 0, x = 0, y = 0; at < ids.length; at++) {
    if (ids[at]) {
      let box = boxes.get(ids[at]);
      if (!box) boxes.set(ids[at], (box = { left: x, top: y, right: x, bottom: y }));
      if (x < box.left) box.left = x;
      else if (x > box.right) box.right = x;
      box.bottom = y;
    }
    if (++x === width) [x, y] = [0, y + 1];
  }
  return boxes;
}

/** Added to the code of a pixel on its garment's outline. */
export const OUTLINE = 256;

/** @param {number} opacity of a class @returns {number} of its outline */
export const outlineOpacity = (opacity) => (opacity ? Math.min(1, opacity + 0.4) : 0);

/**
 * @param {Uint8Array} ids width x height
 * @returns {Uint16Array} id of each pixel, plus OUTLINE where another class is near
 */
export function outlined(ids, width, height) {
  const reach = Math.max(1, Math.round(Math.max(width, height) / 640));
  const codes = Uint16Array.from(ids);
  for (let y = 0; y < height; y++) {
    const up = Math.max(0, y - reach) * width;
    const down = Math.min(height - 1, y + reach) * width;
    for (let x = 0, at = y * width; x < width; x++, at++) {
      const id = ids[at];
      if (!id) continue;
      const left = ids[at - Math.min(reach, x)];
      const right = ids[at + Math.min(reach, width - 1 - x)];
      if (left !== id || right !== id || ids[up + x] !== id || ids[down + x] !== id) codes[at] += OUTLINE;
    }
  }
  return codes;
}

/**
 * @param {Uint16Array} codes as from `outlined`
 * @param {Uint8ClampedArray} rgba four values for each code
 * @param {ImageData} image of the same size; it is drawn into and returned
 */
export function layerOf(codes, rgba, image) {
  const colors = new Uint32Array(rgba.buffer);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < codes.length; at++) pixels[at] = colors[codes[at]];
  return image;
}
