/** Requests to the server, and its errors in a form that can be shown. */

/** A request that failed. */
export class Problem extends Error {
  /**
   * @param {string} kind the last part of the problem's type, or "unreachable", "cut-off"
   * @param {string} title what happened, for people
   * @param {string} detail the value, and what to do
   * @param {number} [retryAfter] seconds after which the request may be repeated
   */
  constructor(kind, title, detail, retryAfter) {
    super(detail);
    this.kind = kind;
    this.title = title;
    this.retryAfter = retryAfter;
  }
}

/** @param {string} path below the page's own address, so that the page also works behind a prefix */
const address = (path) => new URL(path, document.baseURI);

export class Api {
  /** Kept in memory only. */
  key = "";

  /** @returns {Promise<object>} the model's description: see ModelCard in openapi.json */
  async model() {
    return (await this.#fetch("v1/model")).json();
  }

  /** @returns {Promise<File>} a photo drawn by clothseg's own code */
  async sample() {
    const blob = await (await this.#fetch("v1/sample")).blob();
    return new File([blob], "sample.jpg", { type: "image/jpeg" });
  }

  /**
   * @param {File} file a photo
   * @param {AbortSignal} signal
   * @returns {Promise<{results: object, mask: Blob, seconds: number}>} the version-1 results, the index PNG, and the
   *   server's computing time
   */
  async segment(file, signal) {
    const answer = await this.#send(file, { include: "mask" }, signal);
    const { mask, ...results } = await answer.json();
    const timing = answer.headers.get("Server-Timing") ?? "";
    const seconds = [...timing.matchAll(/(decode|predict|encode);dur=([\d.]+)/g)].reduce((sum, one) => sum + +one[2], 0) / 1000;
    return { results, mask: blobOf(mask), seconds };
  }

  /**
   * Get a picture that the server draws, for photos that this browser cannot show.
   * @param {File} file
   * @param {Record<string, string>} parameters such as {output: "cutout", label: "head"}
   * @returns {Promise<Blob>}
   */
  async draw(file, parameters) {
    return (await this.#send(file, parameters)).blob();
  }

  async #send(file, parameters, signal) {
    const form = new FormData();
    form.append("photo", file, file.name);
    try {
      return await this.#fetch(`v1/segment?${new URLSearchParams(parameters)}`, { method: "POST", body: form, signal });
    } catch (error) {
      if (error.kind !== "unreachable" || !(await this.#isAlive())) throw error;
      const size = `${(file.size / 1e6).toFixed(1)} MB`;
      throw new Problem("cut-off", "The server ended the upload", `The photo has ${size}, which may be too large. Try a smaller one.`);
    }
  }

  async #fetch(path, options = {}) {
    const headers = { Accept: "application/json, */*;q=0.5" };
    if (this.key) headers.Authorization = `Bearer ${this.key}`;
    let answer;
    try {
      answer = await fetch(address(path), { ...options, headers, cache: options.method ? "no-store" : "default" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("unreachable", "The server does not answer", "It may have been stopped, or the network is down. Check that it runs, then try again.");
    }
    if (!answer.ok) throw await problemOf(answer);
    return answer;
  }

  async #isAlive() {
    try {
      return (await fetch(address("healthz"), { cache: "no-store" })).ok;
    } catch {
      return false;
    }
  }
}

/** @param {Response} answer @returns {Promise<Problem>} */
async function problemOf(answer) {
  const retryAfter = Number(answer.headers.get("Retry-After")) || undefined;
  const problem = await answer.json().catch(() => ({}));
  const kind = String(problem.type ?? "").split(":").pop() || `status-${answer.status}`;
  const detail = problem.detail ?? "A proxy between this page and the server sent this answer.";
  return new Problem(kind, problem.title ?? `The server answered ${answer.status}`, /[.?!]$/.test(detail) ? detail : `${detail}.`, retryAfter);
}

/** @param {string} dataAddress data:image/png;base64,... (fetch may not read those here) @returns {Blob} */
function blobOf(dataAddress) {
  const text = atob(dataAddress.slice(dataAddress.indexOf(",") + 1));
  return new Blob([Uint8Array.from(text, (one) => one.charCodeAt(0))], { type: "image/png" });
}
