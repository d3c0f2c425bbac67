/** The worker: decodes and encodes masks, and draws the files of a download at the photo's own size. */

import { archiveOf, fileOf } from "./files.js";
import { classIds, segmentsOf } from "./rle.js";

const TASKS = {
  ids: (results) => {
    const ids = classIds(results);
    return [ids, [ids.buffer]];
  },
  segments: ({ ids, width, height }) => [segmentsOf(ids, width, height)],
  file: async ({ photo, options, what }) => [await fileOf(photo, options, what)],
  archive: async ({ photos, options }, tell) => [await archiveOf(photos, options, tell)],
};

addEventListener("message", async ({ data: { number, name, input } }) => {
  try {
    const [result, transfer] = await TASKS[name](input, (progress) => postMessage({ number, progress }));
    postMessage({ number, result }, transfer ?? []);
  } catch (error) {
    postMessage({ number, error: String(error.message ?? error) });
  }
});
