/** A mask that can be corrected: regions get another class, pixels are painted, and each step can be undone. */

/** @typedef {{id: number, runs: number[][], area: number}} Region connected pixels of one class, as [start, end] of runs along rows */

export class EditableMask {
  /** Steps as {id, runs}: the new class, and start, end and old class of each run, one after the other. */
  #done = [];
  #undone = [];

  /** @param {Uint8Array} ids class ids, changed in place @param {number} width @param {number} height */
  constructor(ids, width, height) {
    Object.assign(this, { ids, width, height });
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** Begin a step: what is painted from here on is undone together. @param {number} id the new class */
  begin(id) {
    this.#done.push({ id, runs: [] });
    this.#undone = [];
  }

  /** End the step; one that changed nothing is forgotten. @returns {boolean} whether it changed something */
  end() {
    if (this.#done.at(-1).runs.length) return true;
    this.#done.pop();
    return false;
  }

  #paint(start, end) {
    const { id, runs } = this.#done.at(-1);
    for (let from = start, to; from < end; from = to) {
      const old = this.ids[from];
      for (to = from + 1; to < end && this.ids[to] === old; ) to++;
      if (old !== id) runs.push(from, to, old);
    }
    this.ids.fill(id, start, end);
  }

  /** @param {Region[]} regions @param {number} id their new class @returns {boolean} whether something changed */
  assign(regions, id) {
    this.begin(id);
    for (const { runs } of regions) for (const [start, end] of runs) this.#paint(start, end);
    return this.end();
  }

  /**
   * Paint the line of a round brush, inside a step.
   * @param {{x: number, y: number}} from @param {{x: number, y: number}} to in pixels @param {number} radius
   */
  stroke(from, to, radius) {
    const length = Math.hypot(to.x - from.x, to.y - from.y);
    const [across, down] = length ? [(radius * (from.y - to.y)) / length, (radius * (to.x - from.x)) / length] : [0, 0];
    const first = Math.max(0, Math.floor(Math.min(from.y, to.y) - radius));
    const last = Math.min(this.height - 1, Math.ceil(Math.max(from.y, to.y) + radius));
    for (let row = first; row <= last; row++) {
      const y = row + 0.5;
      const ends = [];
      for (const end of [from, to]) {
        const half = Math.sqrt(radius ** 2 - (y - end.y) ** 2);
        if (half >= 0) ends.push(end.x - half, end.x + half);
      }
      for (const side of [-1, 1]) {
        const part = (y - from.y - side * down) / (to.y - from.y);
        if (part >= 0 && part <= 1) ends.push(from.x + side * across + part * (to.x - from.x));
      }
      const left = Math.max(0, Math.ceil(Math.min(...ends) - 0.5));
      const right = Math.min(this.width - 1, Math.floor(Math.max(...ends) - 0.5));
      if (left <= right) this.#paint(row * this.width + left, row * this.width + right + 1);
    }
  }

  /** @returns {Region | null} the connected pixels around a place; null on the background and beyond the photo */
  regionAt(x, y) {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= this.width || row >= this.height) return null;
    const { ids, width } = this;
    const id = ids[row * width + column];
    if (!id) return null;
    const seen = new Uint8Array(ids.length);
    const runs = [];
    let area = 0;
    for (const open = [row * width + column]; open.length; ) {
      const at = open.pop();
      if (seen[at]) continue;
      const line = at - (at % width);
      let [start, end] = [at, at + 1];
      while (start > line && ids[start - 1] === id) start--;
      while (end < line + width && ids[end] === id) end++;
      seen.fill(1, start, end);
      runs.push([start, end]);
      area += end - start;
      for (const beside of [-width, width]) {
        for (let place = start + beside; place < end + beside; place++) {
          if (ids[place] === id && !seen[place] && (place === start + beside || ids[place - 1] !== id)) open.push(place);
        }
      }
    }
    return { id, runs, area };
  }

  undo() {
    const step = this.#done.pop();
    const { runs } = step;
    for (let at = runs.length - 3; at >= 0; at -= 3) this.ids.fill(runs[at + 2], runs[at], runs[at + 1]);
    this.#undone.push(step);
  }

  redo() {
    const step = this.#undone.pop();
    for (let at = 0; at < step.runs.length; at += 3) this.ids.fill(step.id, step.runs[at], step.runs[at + 1]);
    this.#done.push(step);
  }
}

/**
 * @param {object} original results of the server, version 1
 * @param {object[]} segments of the corrected mask, see `segmentsOf`
 * @param {{name: string}[]} classes in the order of their ids
 * @returns {object} the original itself where nothing differs; else its segments that are the same, and the corrected
 *   ones, whose score is 1
 */
export function correctedResults(original, segments, classes) {
  const before = new Map(original.segments.map((one) => [one.class_id, one]));
  const isSame = ({ class_id: id, rle }) => before.get(id)?.rle.counts === rle.counts;
  if (segments.length === before.size && segments.every(isSame)) return original;
  const corrected = segments.map((one) => {
    if (isSame(one)) return before.get(one.class_id);
    const { class_id: id, ...rest } = one;
    return { class_id: id, label: classes[id].name, ...rest, score: 1, corrected: true };
  });
  return { ...original, corrected: true, segments: corrected };
}
