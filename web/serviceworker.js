"use strict";
// Keeps the page's folder for use without a network, and isolates the page (COOP, COEP), which gives threads.
//
// The headers are those that the package coi-serviceworker sets; it keeps no files, and two service workers cannot answer
// for one page. workflow/try_page.py fills in the version and the files.

const VERSION = "", LIGHT = [], HEAVY = [];
const PREFIX = "cellcount-count-", NAME = PREFIX + VERSION;

function isolated(answer) {
  const headers = new Headers(answer.headers);
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}

/** Stores files that are not there yet. */
async function stored(paths) {
  const cache = await caches.open(NAME);
  for (const path of paths) {
    if (!(await cache.match(path))) await cache.add(new Request(path, { cache: "no-cache" }));
  }
}

async function answered(request) {
  const cache = await caches.open(NAME), { scope } = self.registration;
  const path = new URL(request.url), bare = path.origin + path.pathname;
  const kept = await cache.match(bare === scope ? `${scope}index.html` : bare).catch(() => null);
  return kept || fetch(request);
}

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(stored(LIGHT));
});

self.addEventListener("activate", (event) => {
  const renew = async () => {
    for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== NAME) await caches.delete(name);
    await self.clients.claim();
  };
  event.waitUntil(renew());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  event.respondWith(answered(request).then(isolated));
});

self.addEventListener("message", (event) => {
  if (event.data !== "keep") return;
  const [port] = event.ports;
  event.waitUntil(stored([...LIGHT, ...HEAVY]).then(() => port.postMessage(true), () => port.postMessage(false)));
});
