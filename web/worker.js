"use strict";
// The counting, off the page's thread. One worker for all images; messages are answered in their order.
//
// Over http: new Worker("worker.js"), with its neighbours and vendor/ beside it. From file://, where no script can be
// fetched: a Worker from a Blob of the texts of vendor/ort.wasm.min.js, vendor/geotiff.js, pixels.js, likeness.js,
// engine.js, decode.js, audit.js and worker.js, in this order, joined by line feeds.
//
// To the worker (ArrayBuffers may be gzipped, and may be transferred):
//
//     {type: "load", model, wasm, mjs, threads}
//         ArrayBuffers of the ONNX file, of ort-wasm-simd-threaded.wasm and of its .mjs. threads: null for as many as
//         there are cores, at most 4, and 1 where the page is not isolated (COOP, COEP).
//     {type: "count", id, file, options: {cellWidth, pixelSize, channel, threshold}}
//         file: a File, or a Blob and `name`. cellWidth: px, "auto" (default), or null; pixelSize: um or null; channel:
//         "auto" (default), "red", "green", "blue" or "mean"; threshold: null for that of the weights. Or instead of a
//         file gray: {data: Float32Array in [0, 1], height, width}.
//     {type: "threshold", id, threshold}      the points at another threshold, without the network
//     {type: "doubts", id, threshold}         what to look at first
//     {type: "forget", id}                    frees what is kept of an image
//
// From the worker:
//
//     {type: "ready", threads, threshold, cellWidth, level, weights, seconds}
//         threshold and width of a cell (px, in the training images) of the weights; level of their intervals; SHA-256.
//     {type: "progress", id, step, share}     step: "read", "count"; share: 0 to 1
//     {type: "result", id, name, height, width, gray, bitmap, points, scores, count, interval, rule, warnings, cellWidth,
//      scale, padding, threshold, own, seconds, readSeconds, doubts}
//         gray: Uint8Array of height x width, shown from the 0.1 to the 99.9 percentile; bitmap: the same as an
//         ImageBitmap, or null; points: Float32Array y, x, y, x, ... px; scores: Float32Array; interval: [low, high] or
//         null; rule: for cellcount.corrected (engine.js) after corrections by hand, or null; warnings: texts; cellWidth:
//         px or null; scale: by which the image was resampled; padding: share of constant area; threshold: of this
//         count, own: of the weights; doubts: as below.
//     {type: "points", id, points, scores, count, interval, rule, threshold, doubts}
//     {type: "doubts", id, threshold, doubts: [{y, x, score, counted, doubt}, ...]}     the most doubtful first
//     {type: "error", id, of, message, expected}
//         of: the type of the message that failed; expected: whether it is one that a user can mend, and not a fault of the page. id: null while loading.

(function (root) {
  if (!root.ort) root.importScripts("vendor/ort.wasm.min.js");
  if (!root.cellcount || !root.cellcount.audit) {
    root.importScripts("pixels.js", "likeness.js", "engine.js", "decode.js", "audit.js");
  }
  const { cellcount, ort } = root, { CellcountError, pixels } = cellcount;
  const THREADS = 4; // more do not count faster
  const SMALL = 384; // px, of what it runs on to be warm
  const counts = new Map(); // id: Counted
  let engine = null;

  /** The bytes of a buffer, unpacked if they are gzipped. */
  async function unzipped(buffer) {
    const [first, second] = new Uint8Array(buffer, 0, Math.min(2, buffer.byteLength));
    if (first !== 0x1f || second !== 0x8b) return buffer;
    return new Response(new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }

  async function load({ model, wasm, mjs, threads = null }) {
    if (!root.WebAssembly) { // of a lockdown mode, say; onnxruntime's own words name a backend
      throw new CellcountError("WebAssembly is switched off in this browser. Allow it for this page, or use another browser");
    }
    const started = performance.now(), isolated = root.crossOriginIsolated === true;
    const { wasm: settings } = ort.env;
    settings.numThreads = isolated ? threads || Math.min(THREADS, root.navigator.hardwareConcurrency || 1) : 1;
    settings.wasmBinary = await unzipped(wasm);
    const script = new Blob([await unzipped(mjs)], { type: "text/javascript" });
    settings.wasmPaths = { mjs: URL.createObjectURL(script) };
    engine = await cellcount.Engine.load(ort, await unzipped(model));
    const { settings: own, counting, about } = engine;
    root.postMessage({
      type: "ready", threads: settings.numThreads, threshold: own.threshold, cellWidth: cellcount.looks.widthOf(counting),
      level: counting.interval && counting.interval.level, weights: about.weights_sha256,
      seconds: (performance.now() - started) / 1000,
    });
    // Browsers compile WebAssembly better once it has run: better now than in the first count.
    await engine.heat({ data: new Float32Array(SMALL * SMALL), height: SMALL, width: SMALL }, [0.5, 0.1]);
  }

  /** 8-bit values of an image as a person sees it: from its 0.1 to its 99.9 percentile. */
  function shown(image) {
    const step = Math.max(1, Math.trunc(Math.sqrt(image.data.length / 1e6)));
    const [black, white] = pixels.percentiles(pixels.strided(image, step), [0.1, 99.9]);
    const times = 255 / (white > black ? white - black : 1), found = new Uint8ClampedArray(image.data.length);
    for (let i = 0; i < found.length; i++) found[i] = (image.data[i] - black) * times;
    return new Uint8Array(found.buffer);
  }

  async function pictureOf(gray, height, width) {
    if (!root.createImageBitmap) return null;
    const data = new Uint32Array(gray.length);
    for (let i = 0; i < data.length; i++) data[i] = 0xff000000 | (gray[i] * 0x010101);
    // A browser may refuse a picture of this size, whose count is right all the same.
    return root.createImageBitmap(new ImageData(new Uint8ClampedArray(data.buffer), width, height)).catch(() => null);
  }

  async function count({ id, file, name, gray: given = null, options = {} }) {
    if (!engine) throw new CellcountError("The counting is not loaded yet: wait until the page is ready.");
    const { cellWidth = "auto", pixelSize = null, channel = "auto" } = options, started = performance.now();
    const report = (step) => (share) => root.postMessage({ type: "progress", id, step, share });
    report("read")(0);
    const named = file && (file.name ? file : { name, arrayBuffer: () => file.arrayBuffer() });
    const { image, warnings } = given ? { image: given, warnings: [] } : await cellcount.decode(named, { channel });
    const { height, width } = image, gray = shown(image), bitmap = await pictureOf(gray, height, width);
    const readSeconds = (performance.now() - started) / 1000;
    const counted = await engine.count(image, { cellWidth, pixelSize, progress: report("count") });
    counts.set(id, counted);
    const found = pointsOf(counted, options.threshold);
    const message = {
      type: "result", id, name: (named && named.name) || name || "", height, width, gray, bitmap, ...found,
      warnings: [...warnings, ...counted.warnings], cellWidth: counted.cellWidth, scale: counted.scale,
      padding: counted.padding, own: counted.threshold, seconds: counted.seconds, readSeconds,
    };
    root.postMessage(message, bitmap ? [gray.buffer, bitmap] : [gray.buffer]);
  }

  function pointsOf(counted, threshold) {
    const at = threshold || counted.threshold;
    const rule = at === counted.threshold ? counted.rule : null;
    return { ...counted.at(at), rule, threshold: at, doubts: counted.doubts(at) };
  }

  function kept(id) {
    if (!counts.has(id)) throw new CellcountError("This image is no longer in memory: count it again.");
    return counts.get(id);
  }

  const answers = {
    load,
    count,
    threshold: ({ id, threshold }) => root.postMessage({ type: "points", id, ...pointsOf(kept(id), threshold) }),
    doubts: ({ id, threshold }) => {
      const at = threshold || kept(id).threshold;
      root.postMessage({ type: "doubts", id, threshold: at, doubts: kept(id).doubts(at) });
    },
    forget: ({ id }) => counts.delete(id),
  };

  let last = Promise.resolve(); // one after the other: the network has one memory
  root.onmessage = ({ data }) => {
    last = last.then(() => answers[data.type](data)).catch((error) => {
      const expected = error instanceof CellcountError;
      const message = expected ? error.message : `${(error && error.name) || "Error"}: ${(error && error.message) || error}`;
      root.postMessage({ type: "error", id: data.id === undefined ? null : data.id, of: data.type, message, expected });
    });
  };
})(self);
