/** Keeps the files of a static site for offline use, and adds the headers that browsers ask for before a page may use threads. */

const CACHE = `clothseg ${registration.scope}`; // sites of one host share their caches

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(registration.scope)) event.respondWith(answer(event));
});

/** Files with a version in their address never change; of all others the network has the newest. */
async function answer(event) {
  const { url } = event.request;
  const cache = await caches.open(CACHE);
  const hasVersion = new URL(url).searchParams.has("v");
  const kept = await cache.match(url, { ignoreSearch: !hasVersion });
  if (kept && hasVersion) return isolated(kept);
  try {
    const fresh = await fetch(url, { cache: "no-cache" });
    if (fresh.status === 200) event.waitUntil(keep(cache, url, fresh.clone()));
    return isolated(fresh);
  } catch (error) {
    if (kept) return isolated(kept);
    throw error;
  }
}

async function keep(cache, url, response) {
  await cache.put(url, response);
  for (const old of await cache.keys(url, { ignoreSearch: true })) if (old.url !== url) await cache.delete(old);
}

function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
