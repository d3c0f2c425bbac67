/** Long work is given to a worker here, so that the page stays responsive. */

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
/** @type {Map<number, {resolve: Function, reject: Function, onProgress?: Function}>} */
const waiting = new Map();
let numTasks = 0;

worker.addEventListener("message", ({ data: { number, progress, result, error } }) => {
  const task = waiting.get(number);
  if (progress !== undefined) return task.onProgress?.(progress);
  waiting.delete(number);
  if (error === undefined) task.resolve(result);
  else task.reject(new Error(error));
});
worker.addEventListener("error", () => {
  for (const { reject } of waiting.values()) reject(new Error("The page's worker has ended"));
  waiting.clear();
});

/**
 * @param {string} name of a task in worker.js
 * @param {object} input
 * @param {{transfer?: Transferable[], onProgress?: (progress: object) => void}} [options]
 * @returns {Promise<any>} what the task returns
 */
export function inWorker(name, input, { transfer = [], onProgress } = {}) {
  const number = ++numTasks;
  return new Promise((resolve, reject) => {
    waiting.set(number, { resolve, reject, onProgress });
    worker.postMessage({ number, name, input }, transfer);
  });
}
