// Counts images with web/engine.js in node, for tests/test_web_engine.py: `node parity.mjs JOBS.json RESULTS.json`.
//
// JOBS.json is a list of jobs; RESULTS.json gets one result or {error} for each, in their order. A job has `what`:
//   count : `file` of raw float32 pixels, `height`, `width`, `options` of Engine.count, `thresholds`
//   decode : `file` of an image, `channel`; `out`, the raw float32 file to write
//   call : `name` of a function of self.cellcount, such as "audit.estimate", and its arguments `args`; images among them
//     are {data, height, width}
import fs from "node:fs";
import path from "node:path";
import vm from "node:vm";
import zlib from "node:zlib";
import { fileURLToPath, pathToFileURL } from "node:url";

const web = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../web"), vendor = path.join(web, "vendor");
const model = path.resolve(web, "../cellcount/weights/cellnet-thesis.onnx");
globalThis.self = globalThis;

function load(file) {
  const importModuleDynamically = vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER; // onnxruntime-web imports its .mjs
  vm.runInThisContext(fs.readFileSync(file, "utf8"), { filename: file, importModuleDynamically });
}

for (const name of ["pixels", "likeness", "engine", "decode", "audit"]) {
  if (fs.existsSync(path.join(web, `${name}.js`))) load(path.join(web, `${name}.js`));
}
const { cellcount } = globalThis;

let engine = null;
async function loaded() {
  if (engine) return engine;
  load(path.join(vendor, "ort.wasm.min.js"));
  const { ort } = globalThis;
  ort.env.wasm.wasmBinary = zlib.gunzipSync(fs.readFileSync(path.join(vendor, "ort-wasm-simd-threaded.wasm.gz")));
  ort.env.wasm.wasmPaths = { mjs: pathToFileURL(path.join(vendor, "ort-wasm-simd-threaded.mjs")).href };
  ort.env.wasm.numThreads = 1;
  const bytes = fs.readFileSync(model);
  engine = await cellcount.Engine.load(ort, bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  return engine;
}

function floats(file) {
  const bytes = fs.readFileSync(file);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

async function count(job) {
  const image = { data: floats(job.file), height: job.height, width: job.width };
  const before = process.cpuUsage(), counted = await (await loaded()).count(image, job.options || {});
  const cpu = process.cpuUsage(before);
  const plain = (found) => ({ ...found, points: [...found.points], scores: [...found.scores] });
  return {
    ...plain(counted.at()), warnings: counted.warnings, scale: counted.scale, cellWidth: counted.cellWidth,
    padding: counted.padding, seconds: counted.seconds, cpu: (cpu.user + cpu.system) / 1e6,
    others: (job.thresholds || []).map((one) => plain(counted.at(one))),
    doubts: job.doubts ? counted.doubts() : null,
  };
}

async function decode(job) {
  if (job.name.endsWith(".tif") && !globalThis.GeoTIFF) load(path.join(vendor, "geotiff.js"));
  const file = new File([fs.readFileSync(job.file)], job.name);
  const { image, warnings } = await cellcount.decode(file, { channel: job.channel || "auto" });
  fs.writeFileSync(job.out, Buffer.from(image.data.buffer, image.data.byteOffset, image.data.byteLength));
  return { height: image.height, width: image.width, warnings };
}

async function call(job) {
  const found = job.name.split(".").reduce((value, name) => value[name], cellcount);
  const image = (one) => (one && one.data ? { ...one, data: Float32Array.from(one.data) } : one);
  return found(...job.args.map(image));
}

const jobs = JSON.parse(fs.readFileSync(process.argv[2], "utf8")), results = [];
for (const job of jobs) {
  try {
    results.push(await { count, decode, call }[job.what](job));
  } catch (error) {
    if (!(error instanceof cellcount.CellcountError)) console.error(error.stack || error);
    results.push({ error: error.message, user: error instanceof cellcount.CellcountError });
  }
}
fs.writeFileSync(process.argv[3], JSON.stringify(results, (_, value) => (ArrayBuffer.isView(value) ? [...value] : value)));
