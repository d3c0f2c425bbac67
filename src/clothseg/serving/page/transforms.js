/**
 * Photo to network input, and logits to class ids, as clothseg/transforms.py does it: the same numbers, so that a photo
 * gets the same mask in the browser and from the server.
 */

/** Arithmetic in float32, as NumPy and OpenCV do it. */
const f32 = Math.fround;
/** In place of a class where four neighbours differ. */
const UNCLEAR = 255;
const STRIDE = 32;

/** @param {number} value @returns {number} rounded to the nearest whole number, halves to the even one, as in Python */
function roundEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

/**
 * @param {number} width @param {number} height of the photo @param {number} size longer side of the network's input
 * @returns {{width: number, height: number, inputWidth: number, inputHeight: number}} size of the photo in the input, and
 *   that of the input, padded at the right and below
 */
export function letterbox(width, height, size) {
  const scale = size / Math.max(width, height);
  const scaled = { width: Math.max(1, roundEven(width * scale)), height: Math.max(1, roundEven(height * scale)) };
  const padded = (side) => Math.ceil(side / STRIDE) * STRIDE;
  return { ...scaled, inputWidth: padded(scaled.width), inputHeight: padded(scaled.height) };
}

/**
 * @param {ImageData} photo @param {object} box see `letterbox` @param {number[]} fill RGB of the padding
 * @returns {Uint8Array} inputHeight x inputWidth x 3, RGB
 */
export function networkInput(photo, box, fill) {
  const input = new Uint8ClampedArray(3 * box.inputWidth * box.inputHeight);
  for (let at = 0; at < input.length; at += 3) input.set(fill, at);
  const shrinks = photo.width * photo.height > box.width * box.height;
  (shrinks ? shrink : enlarge)(photo, box, input);
  return new Uint8Array(input.buffer);
}

/** The pixels along one side that each new pixel is the mean of, with their shares. Source: computeResizeAreaTab of OpenCV. */
function areas(length, target) {
  const scale = length / target;
  return Array.from({ length: target }, (_, place) => {
    const [start, end] = [place * scale, place * scale + scale];
    const cell = Math.min(scale, length - start);
    const last = Math.min(Math.floor(end), length - 1);
    const first = Math.min(Math.ceil(start), last);
    const parts = [];
    if (first - start > 1e-3) parts.push([first - 1, f32((first - start) / cell)]);
    for (let at = first; at < last; at++) parts.push([at, f32(1 / cell)]);
    if (end - last > 1e-3) parts.push([last, f32(Math.min(end - last, 1, cell) / cell)]);
    return parts;
  });
}

/** INTER_AREA of OpenCV, which rounds halves to the even number, but up where it takes means of 2 x 2. */
function shrink({ data, width, height }, box, input) {
  const start = width === 2 * box.width && height === 2 * box.height ? 0.01 : 0;
  const columns = areas(width, box.width);
  const starts = Int32Array.from(columns, (parts) => 4 * parts[0][0]);
  const counts = Int32Array.from(columns, (parts) => parts.length);
  const shares = Float32Array.from(columns.flatMap((parts) => parts.map(([, share]) => share)));
  const row = new Float32Array(3 * box.width);
  const addRow = (y, share, sums) => {
    for (let x = 0, to = 0, part = 0; x < box.width; x++, to += 3) {
      let [red, green, blue] = [0, 0, 0];
      for (let from = 4 * width * y + starts[x], end = part + counts[x]; part < end; part++, from += 4) {
        red = f32(red + f32(data[from] * shares[part]));
        green = f32(green + f32(data[from + 1] * shares[part]));
        blue = f32(blue + f32(data[from + 2] * shares[part]));
      }
      sums[to] += f32(red * share);
      sums[to + 1] += f32(green * share);
      sums[to + 2] += f32(blue * share);
    }
  };
  areas(height, box.height).forEach((parts, y) => {
    row.fill(start);
    for (const [at, share] of parts) addRow(at, share, row);
    input.set(row, 3 * box.inputWidth * y);
  });
}

/** The two pixels around each new pixel along one side, and how much of the second there is. */
function neighbours(length, target) {
  const [first, second, share] = [new Int32Array(target), new Int32Array(target), new Float32Array(target)];
  for (let place = 0; place < target; place++) {
    const position = f32((place + 0.5) * (length / target) - 0.5);
    const before = Math.floor(position);
    first[place] = Math.min(Math.max(before, 0), length - 1);
    second[place] = Math.min(Math.max(before + 1, 0), length - 1);
    share[place] = position - before;
  }
  return { first, second, share };
}

/** As `neighbours`, but at the ends there is nothing of the second. */
function innerNeighbours(length, target) {
  const found = neighbours(length, target);
  for (let place = 0; place < target; place++) if (found.first[place] === found.second[place] || found.first[place] === length - 1) found.share[place] = 0;
  return found;
}

/** INTER_LINEAR of OpenCV: in whole numbers, shares as parts of 2048. Source: VResizeLinear of OpenCV. */
function enlarge({ data, width, height }, box, input) {
  const [rows, columns] = [neighbours(height, box.height), innerNeighbours(width, box.width)];
  const parts = (share) => [roundEven((1 - share) * 2048), roundEven(share * 2048)];
  for (let y = 0; y < box.height; y++) {
    const [upper, lower] = parts(rows.share[y]);
    for (let x = 0; x < box.width; x++) {
      const [left, right] = parts(columns.share[x]);
      const to = 3 * (box.inputWidth * y + x);
      for (let c = 0; c < 3; c++) {
        const across = (line) => data[4 * (width * line + columns.first[x]) + c] * left + data[4 * (width * line + columns.second[x]) + c] * right;
        const sum = ((upper * (across(rows.first[y]) >> 4)) >> 16) + ((lower * (across(rows.second[y]) >> 4)) >> 16);
        input[to + c] = (sum + 2) >> 2;
      }
    }
  }
}

/** @typedef {{data: Float32Array, width: number, height: number, line: number, size: number, ids: number[]}} Planes logits
 *   of classes: plane after plane of `size` values, in lines of `line`, of which the photo covers width x height; and their class ids */

/**
 * @param {{data: Float32Array, dims: number[]}} output of the network, 1 x planes x height x width
 * @param {object} box see `letterbox` @param {number[]} ids class of each plane
 * @returns {Planes} at the size of the input: an output of a part of it is enlarged
 */
export function planesOf({ data, dims: [, , height, width] }, box, ids) {
  const [line, lines] = [box.inputWidth, box.inputHeight];
  const large = { data, width: box.width, height: box.height, line, size: line * lines, ids };
  if (width === line && height === lines) return large;
  const [rows, columns] = [innerNeighbours(height, lines), innerNeighbours(width, line)];
  const small = { data, line: width, size: width * height };
  large.data = new Float32Array(large.size * ids.length);
  for (let at = 0, plane = 0; plane < ids.length; plane++) {
    for (let y = 0; y < lines; y++) for (let x = 0; x < line; x++) large.data[at++] = interpolated(small, plane, rows, y, columns, x);
  }
  return large;
}

function interpolated({ data, line, size }, plane, rows, y, columns, x) {
  const [across, down] = [columns.share[x], rows.share[y]];
  const [above, below] = [plane * size + rows.first[y] * line, plane * size + rows.second[y] * line];
  const [left, right] = [columns.first[x], columns.second[x]];
  const upper = f32(f32(data[above + left] * f32(1 - across)) + f32(data[above + right] * across));
  const lower = f32(f32(data[below + left] * f32(1 - across)) + f32(data[below + right] * across));
  return f32(f32(upper * f32(1 - down)) + f32(lower * down));
}

/** @param {Planes} planes @returns {Uint8Array} width x height, number of the highest plane */
function highest({ data, width, height, line, size, ids }) {
  const best = new Uint8Array(width * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      let from = y * line + x;
      let most = data[from];
      for (let plane = 1; plane < ids.length; plane++) {
        from += size;
        if (data[from] > most) [most, best[at]] = [data[from], plane];
      }
    }
  }
  return best;
}

/**
 * @param {Planes} planes
 * @returns {Uint8Array} photoWidth x photoHeight, the class that is highest where the planes are enlarged linearly; only
 *   the pixels along borders are computed: see `logits_to_mask` of transforms.py
 */
export function classMask(planes, photoWidth, photoHeight) {
  const { width, height, ids } = planes;
  const [rows, columns] = [innerNeighbours(height, photoHeight), innerNeighbours(width, photoWidth)];
  const between = highest(planes);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const [right, below] = [x + 1 < width ? 1 : 0, y + 1 < height ? width : 0];
      const one = between[at];
      if (one !== between[at + right] || one !== between[at + below] || one !== between[at + right + below]) between[at] = UNCLEAR;
    }
  }
  const mask = new Uint8Array(photoWidth * photoHeight);
  for (let y = 0, at = 0; y < photoHeight; y++) {
    const line = rows.first[y] * width;
    for (let x = 0; x < photoWidth; x++, at++) {
      let plane = between[line + columns.first[x]];
      if (plane === UNCLEAR) {
        let most = -Infinity;
        for (let other = 0; other < ids.length; other++) {
          const value = interpolated(planes, other, rows, y, columns, x);
          if (value > most) [most, plane] = [value, other];
        }
      }
      mask[at] = ids[plane];
    }
  }
  return mask;
}

/** @returns {number} softmax of a plane in one place of all */
function probability({ data, size, ids }, plane, at) {
  let most = -Infinity;
  for (let other = 0; other < ids.length; other++) most = Math.max(most, data[other * size + at]);
  let total = 0;
  for (let other = 0; other < ids.length; other++) total += Math.exp(data[other * size + at] - most);
  return Math.exp(data[plane * size + at] - most) / total;
}

/** @param {Planes} planes @param {Uint8Array} mask class ids, photoWidth x photoHeight @returns {Map<number, number>} mean probability by class; see probabilities.py */
export function scoresOf(planes, mask, photoWidth, photoHeight) {
  const { width, height, line, ids } = planes;
  const sums = new Map();
  const add = (id, at) => {
    const [sum, count] = sums.get(id) ?? [0, 0];
    sums.set(id, [sum + probability(planes, ids.indexOf(id), at), count + 1]);
  };
  const centres = (length, target) => Int32Array.from({ length: target }, (_, place) => Math.floor(((place + 0.5) * length) / target));
  const [rows, columns] = [centres(photoHeight, height), centres(photoWidth, width)];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const id = mask[rows[y] * photoWidth + columns[x]];
      if (id) add(id, y * line + x);
    }
  }
  const found = new Set(sums.keys()); // the others are specks that no centre lies in
  mask.forEach((id, at) => {
    if (id && !found.has(id)) add(id, Math.floor((Math.floor(at / photoWidth) * height) / photoHeight) * line + Math.floor(((at % photoWidth) * width) / photoWidth));
  });
  return new Map([...sums].map(([id, [sum, count]]) => [id, sum / count]));
}

/** @param {Planes} planes @returns {number} mean probability of garments on a 64th of the pixels, or 1 where there is none; see `doubts` of probabilities.py */
export function sureness(planes) {
  const numbers = highest(planes);
  let [sum, count] = [0, 0];
  for (let y = 0; y < planes.height; y += 8) {
    for (let x = 0; x < planes.width; x += 8) {
      const plane = numbers[y * planes.width + x];
      if (plane && ++count) sum += probability(planes, plane, y * planes.line + x);
    }
  }
  return count ? sum / count : 1;
}
