/**
 * From the results' run lengths to class ids, and from class ids to colours.
 *
 * Ids are never read back from a drawn PNG: two classes may share a colour, and some browsers add noise to the pixels of
 * a canvas.
 */

/**
 * @param {string} counts COCO's compressed run-length code
 * @returns {number[]} lengths of the runs, alternately outside and inside, down the columns
 * Source: rleFrString of pycocotools' maskApi.c.
 */
export function decodeCounts(counts) {
  const runs = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16 && shift < 32) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

/**
 * @param {{width: number, height: number, segments: object[]}} results version 1
 * @returns {Uint8Array} class ids at the photo's size, row after row
 */
export function classIds({ width, height, segments }) {
  const ids = new Uint8Array(width * height);
  const paintRun = (start, end, id) => {
    let x = Math.floor(start / height);
    let y = start % height;
    for (let place = start; place < end; place++) {
      ids[y * width + x] = id;
      if (++y === height) {
        y = 0;
        x++;
      }
    }
  };
  for (const { class_id: id, rle } of segments) {
    let at = 0;
    decodeCounts(rle.counts).forEach((length, number) => {
      const end = at + length;
      if (number % 2) paintRun(at, end, id);
      at = end;
    });
  }
  return ids;
}

/**
 * @param {Uint8Array} ids width x height
 * @returns {Uint8Array} newWidth x newHeight: the id at the centre of each pixel
 */
export function resizeIds(ids, width, height, newWidth, newHeight) {
  const columns = Uint32Array.from({ length: newWidth }, (_, x) => Math.floor(((x + 0.5) * width) / newWidth));
  const resized = new Uint8Array(newWidth * newHeight);
  for (let y = 0; y < newHeight; y++) {
    const start = Math.floor(((y + 0.5) * height) / newHeight) * width;
    for (let x = 0; x < newWidth; x++) resized[y * newWidth + x] = ids[start + columns[x]];
  }
  return resized;
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
