"use strict";
// Where the page's files come from: over http from its folder, or from the one HTML file, which has them as texts.
//
// <script type="application/json" id="files"> names them; see index.html and workflow/try_page.py. In the one file,
// <script type="application/octet-stream" id="file-NAME"> is a gzipped file in base64, and scripts are elements with
// the id script-NAME, which the worker is made of, too.

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const SCRIPTS = ["pixels", "likeness", "engine", "decode", "audit", "worker"];
  const IMAGE = /^[^.].*\.(jpe?g|png|tiff?|bmp)$/i; // in a folder, other files are passed over
  const PATIENCE = 4000; // ms; a service worker that takes longer is not waited for

  const files = JSON.parse(document.getElementById("files").textContent);
  const stored = (name) => document.getElementById(`file-${name}`);

  function bytesOf(text) {
    const letters = atob(text), found = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) found[i] = letters.charCodeAt(i);
    return found.buffer;
  }

  async function textOf(name) {
    const blob = new Blob([bytesOf(stored(name).textContent)]);
    return new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  /** A file as an ArrayBuffer, gzipped or not; progress(bytes read so far). */
  async function read(name, progress = () => {}) {
    if (files.inline) {
      const found = bytesOf(stored(name).textContent);
      progress(found.byteLength);
      return found;
    }
    const path = files[name].path;
    const failed = (why) => new cellcount.CellcountError(
      `${path} could not be loaded (${why}). Check the connection, and reload the page; your images are not affected.`,
    );
    const answer = await fetch(path).catch((error) => { throw failed(error.message); });
    if (!answer.ok) throw failed(`${answer.status} ${answer.statusText}`);
    const reader = answer.body.getReader(), parts = [];
    for (let had = 0; ; ) {
      const { done, value } = await reader.read().catch((error) => { throw failed(error.message); });
      if (done) return new Blob(parts).arrayBuffer();
      parts.push(value);
      progress((had += value.length));
    }
  }

  /** What the worker needs to count: {model, wasm, mjs}; progress(share from 0 to 1). */
  async function engineFiles(progress) {
    const names = ["model", "wasm", "mjs"], had = {}, all = names.reduce((sum, name) => sum + files[name].bytes, 0);
    const parts = names.map((name) => read(name, (bytes) => {
      had[name] = bytes;
      progress(Math.min(1, Object.values(had).reduce((sum, one) => sum + one, 0) / all));
    }));
    const [model, wasm, mjs] = await Promise.all(parts);
    return { model, wasm, mjs };
  }

  async function worker() {
    if (!files.inline) return new Worker("worker.js");
    const texts = [await textOf("ort"), await textOf("geotiff")];
    for (const name of SCRIPTS) texts.push(stored(name) ? await textOf(name) : document.getElementById(`script-${name}`).textContent);
    return new Worker(URL.createObjectURL(new Blob([texts.join("\n")], { type: "text/javascript" })));
  }

  /** The files that were dropped, and the images in folders that were: [File]. Asks for all entries before it waits. */
  async function dropped(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()), all = [...transfer.files];
    if (!entries.some((entry) => entry && entry.isDirectory)) return all;
    const found = [];
    const walk = async (entry, top) => {
      if (entry.isDirectory) {
        const reader = entry.createReader(), inside = [], some = () => new Promise((done, failed) => reader.readEntries(done, failed));
        for (let part; !part || part.length; inside.push(...part)) part = await some(); // a hundred at a time
        for (const one of inside.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }))) await walk(one, false);
      } else if (top || IMAGE.test(entry.name)) found.push(await new Promise((done, failed) => entry.file(done, failed)));
    };
    try {
      for (const entry of entries) if (entry) await walk(entry, true);
    } catch (error) { // from file://, for one
      throw new cellcount.CellcountError("This browser does not let the page read a folder here: drop the images in it.");
    }
    if (!found.length) throw new cellcount.CellcountError("There is no JPEG, PNG or TIFF in that folder.");
    return found;
  }

  /** A simulated field, as a File. */
  async function sample({ name, title }) {
    const bytes = files.inline ? bytesOf(stored(name).textContent) : await read(name);
    return new File([bytes], title, { type: "image/png" });
  }

  /**
   * Has the service worker keep the folder's files, and isolates the page, which gives threads.
   *
   * Resolves when the page may go on; a first visit is reloaded once, unless `busy()` says that somebody works already.
   */
  async function settle(busy) {
    const { serviceWorker } = navigator;
    if (!files.offline || !serviceWorker || !root.isSecureContext) return;
    try {
      await serviceWorker.register("serviceworker.js");
      if (root.crossOriginIsolated) return;
      const controlled = new Promise((done) => serviceWorker.addEventListener("controllerchange", done, { once: true }));
      if (!serviceWorker.controller) await Promise.race([controlled, new Promise((done) => setTimeout(done, PATIENCE))]);
      if (!serviceWorker.controller || busy() || sessionStorage.getItem("cellcount-reloaded")) return;
      sessionStorage.setItem("cellcount-reloaded", "1"); // once: some browsers never isolate a page
      root.location.reload();
      await new Promise(() => {});
    } catch (error) {
      // private windows, or no room: the page counts all the same
    }
  }

  /** Keeps all files for use without a network; resolves to whether they are kept. */
  function keep() {
    const { serviceWorker } = navigator;
    if (!files.offline || !serviceWorker || !serviceWorker.controller) return Promise.resolve(false);
    return new Promise((done) => {
      const channel = new MessageChannel();
      channel.port1.onmessage = ({ data }) => done(data);
      serviceWorker.controller.postMessage("keep", [channel.port2]);
    });
  }

  cellcount.loading = { files, engineFiles, worker, dropped, sample, settle, keep };
})(self);
