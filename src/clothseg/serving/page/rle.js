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

/**
 * @param {{width: number, height: number, segments: object[]}} results version 1
 * @returns {Uint8Array} class ids at the photo's size, row after row
 */
export function classIds({ width, height, segments }) {
  const ids = new Uint8Array(width * height);
  for (const { class_id: id, rle } of segments) {
    let place = 0;
    decodeCounts(rle.counts).forEach((length, number) => {
      const end = place + length;
      if (number % 2) {
        let at = (place % height) * width + Math.floor(place / height);
        for (let y = place % height; place < end; place++) {
          ids[at] = id;
          if (++y < height) at += width;
          else {
            at -= width * (height - 1) - 1;
            y = 0;
          }
        }
      }
      place = end;
    });
  }
  return ids;
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
