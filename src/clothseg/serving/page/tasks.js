/** Long work is given to workers here, so that the page stays responsive. */

/**
 * @typedef {((name: string, input: object, options?: {transfer?: Transferable[], onProgress?: (progress: object) => void}) => Promise<any>) & {end: () => void}} InWorker
 *   gives a task in worker.js, by its name, its input, and returns what the task returns; `end` ends the worker
 */

/** @returns {InWorker} the tasks of one worker, which does one after the other */
export function newWorker() {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  /** @type {Map<number, {resolve: Function, reject: Function, onProgress?: Function}>} */
  const waiting = new Map();
  let numTasks = 0;
  worker.addEventListener("message", ({ data: { number, progress, result, error } }) => {
    const task = waiting.get(number);
    if (progress !== undefined) return task?.onProgress?.(progress); // some comes after an error, too
    waiting.delete(number);
    if (error === undefined) task.resolve(result);
    else task.reject(new Error(error));
  });
  worker.addEventListener("error", () => {
    for (const { reject } of waiting.values()) reject(new Error("The page's worker has ended"));
    waiting.clear();
  });
  const inWorker = (name, input, { transfer = [], onProgress } = {}) => {
    const number = ++numTasks;
    return new Promise((resolve, reject) => {
      waiting.set(number, { resolve, reject, onProgress });
      worker.postMessage({ number, name, input }, transfer);
    });
  };
  return Object.assign(inWorker, { end: () => worker.terminate() });
}

/** The worker that decodes masks and draws files. @type {InWorker} */
export const inWorker = newWorker();
