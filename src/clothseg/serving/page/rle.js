/**
 * COCO's run-length code (RLE) and class ids: from one to the other and back.
 *
 * Ids are never read back from a drawn PNG: two classes may share a colour, and some browsers add noise to the pixels of
 * a canvas.
 */

/**
 * @param {string} counts COCO's compressed run-length code
 * @returns {number[]} lengths of the runs, alternately outside and inside, down the columns
 * Source: rleFrString of pycocotools' maskApi.c.
 */
function decodeCounts(counts) {
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
 * @param {number[]} runs lengths, alternately outside and inside
 * @returns {string} COCO's compressed run-length code
 * Source: rleToString of pycocotools' maskApi.c.
 */
function encodeCounts(runs) {
  const codes = [];
  runs.forEach((run, place) => {
    let value = place > 2 ? run - runs[place - 2] : run;
    for (let more = true; more; ) {
      const bits = value & 31;
      value >>= 5;
      more = bits & 16 ? value !== -1 : value !== 0;
      codes.push(String.fromCharCode((more ? bits | 32 : bits) + 48));
    }
  });
  return codes.join("");
}

/** @yields {{x: number, top: number, bottom: number}} the runs of a segment in each column, from left to right; `bottom` is not part of it */
function* columnRuns({ rle: { size, counts } }) {
  const [height] = size;
  let place = 0;
  for (const [number, length] of decodeCounts(counts).entries()) {
    const end = place + length;
    if (number % 2 === 0) place = end;
    while (place < end) {
      const top = place % height;
      const bottom = Math.min(height, top + end - place);
      yield { x: Math.floor(place / height), top, bottom };
      place += bottom - top;
    }
  }
}

/**
 * @param {{width: number, height: number, segments: object[]}} results version 1
 * @returns {Uint8Array} class ids at the photo's size, row after row
 */
export function classIds({ width, height, segments }) {
  const ids = new Uint8Array(width * height);
  for (const segment of segments) {
    for (const { x, top, bottom } of columnRuns(segment)) {
      for (let at = top * width + x; at < bottom * width; at += width) ids[at] = segment.class_id;
    }
  }
  return ids;
}

/**
 * @param {object[]} segments of one photo
 * @returns {{area: number, bbox: number[]}[]} the pieces of what they cover together; pixels that touch at a corner are one piece
 */
export function piecesOf(segments) {
  const runs = segments.flatMap((one) => [...columnRuns(one)]).sort((one, other) => one.x - other.x || one.top - other.top);
  for (const run of runs) run.piece = run; // of each piece one run stands for it
  const pieceOf = (run) => {
    while (run.piece !== run) run = run.piece = run.piece.piece;
    return run;
  };
  let first = 0; // in the column before, the first run that reaches down to the present one
  for (const [number, run] of runs.entries()) {
    const join = (other) => (pieceOf(other).piece = pieceOf(run));
    const above = runs[number - 1];
    if (above?.x === run.x && above.bottom === run.top) join(above);
    const isBefore = ({ x, bottom }) => x < run.x - 1 || (x === run.x - 1 && bottom < run.top);
    while (isBefore(runs[first])) first++;
    for (let near = first; runs[near].x === run.x - 1 && runs[near].top <= run.bottom; near++) join(runs[near]);
  }
  const found = new Map();
  for (const run of runs) {
    const { area, left, top, bottom } = found.get(pieceOf(run)) ?? { area: 0, left: run.x, top: run.top, bottom: run.bottom };
    const grown = { area: area + run.bottom - run.top, left, right: run.x + 1, top: Math.min(top, run.top), bottom: Math.max(bottom, run.bottom) };
    found.set(pieceOf(run), grown);
  }
  return [...found.values()].map(({ area, left, right, top, bottom }) => ({ area, bbox: [left, top, right - left, bottom - top] }));
}

/**
 * @param {Uint8Array} ids width x height, row after row
 * @returns {{class_id: number, rle: object, area: number, bbox: number[]}[]} one segment per class, lowest id first
 */
export function segmentsOf(ids, width, height) {
  const found = new Map();
  const endRun = (id, start, end) => {
    if (!id) return;
    if (!found.has(id)) found.set(id, { runs: [], last: 0, area: 0, left: Infinity, top: Infinity, right: 0, bottom: 0 });
    const one = found.get(id);
    one.runs.push(start - one.last, end - start);
    one.last = end;
    one.area += end - start;
    const [x0, x1] = [Math.floor(start / height), Math.floor((end - 1) / height)];
    one.left = Math.min(one.left, x0);
    one.right = Math.max(one.right, x1 + 1);
    // A run over two columns contains the end of one and the start of the next.
    one.top = x0 === x1 ? Math.min(one.top, start % height) : 0;
    one.bottom = x0 === x1 ? Math.max(one.bottom, ((end - 1) % height) + 1) : height;
  };
  let [current, start] = [ids[0], 0];
  for (let x = 0, place = 0; x < width; x++) {
    for (let y = 0, at = x; y < height; y++, at += width, place++) {
      if (ids[at] === current) continue;
      endRun(current, start, place);
      [current, start] = [ids[at], place];
    }
  }
  endRun(current, start, ids.length);
  return [...found].sort(([one], [other]) => one - other).map(([id, { runs, last, area, left, top, right, bottom }]) => ({
    class_id: id,
    rle: { size: [height, width], counts: encodeCounts(last < ids.length ? [...runs, ids.length - last] : runs) },
    area,
    bbox: [left, top, right - left, bottom - top],
  }));
}
