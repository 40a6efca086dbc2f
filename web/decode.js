"use strict";
// From an image file to gray values in [0, 1]: PNG by an own decoder, TIFF by geotiff, JPEG and BMP by the browser.
//
// A port of cellcount/io/images.py and decoders.py: the same values, warnings and refusals, whose sentences are those of
// cellcount/io/problems.toml. PNG is decoded here since a canvas has 8 bits and multiplies colours by their opacity.
// Needs pixels.js and likeness.js; GeoTIFF (the global of geotiff.js) for TIFF only; a browser for JPEG and BMP only.

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const { CellcountError } = cellcount;
  const { fixed, general } = cellcount.looks;
  const fround = Math.fround;

  const SUFFIXES = [".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"];
  const CHANNELS = ["auto", "red", "green", "blue", "mean"];
  const NAMES = ["red", "green", "blue"];
  const MIN_SIDE = 16; // px; no image with a cell is smaller
  const FAINT = 0.02; // an image whose values differ by a smaller share of the full scale is nearly blank
  const FLAT = 0.1; // a channel below this share of the largest standard deviation is noise
  const MAX_PIXELS = 2 ** 26; // 8,192 x 8,192; Python takes more, and reads TIFF files in parts
  const BAND = 2 ** 22; // px that a canvas gives back at once
  const OTHERS = [ // how other files begin that are called as images
    ["version https://git-lfs", "a Git LFS pointer (`git lfs pull` fetches the image)"], ["<!DOCTYPE", "a web page"],
    ["<html", "a web page"], ["%PDF", "a PDF document"], ["PK\x03\x04", "a ZIP archive or Office document"],
    ["\x89HDF", "an HDF5 file"], ["ZISRAWFILE", "a CZI file of ZEN"], ["\xd0\xcf\x11\xe0", "an OLE file"],
    ["SIMPLE  =", "a FITS file"], ["\x93NUMPY", "a NumPy array"],
  ];
  const GIVE = "Export it as PNG, TIFF or JPEG.", AGAIN = "Copy it again from its source.";
  const PROBLEMS = { // [what is wrong, what to do]
    format: (v) => [`${v.content} cannot be read.`, GIVE],
    other: (v) => [`The content is ${v.content}, not an image.`, "Copy or download the image again, or export it as PNG, TIFF or JPEG."],
    codec: (v) => [`The image is compressed in a way that cannot be decoded (${v.error}).`, "Save it as PNG, or as TIFF without compression."],
    suffix: (v) => [`The content is ${v.format}, which the suffix does not say.`, `Rename it to ${v.name}.`],
    gone: () => ["The file cannot be read: it is a folder, or was moved or changed meanwhile.", "Drop its images here once more."],
    empty: () => ["The file is empty (0 bytes).", AGAIN],
    truncated: (v) => [`The file is cut off or damaged (${v.error}).`, AGAIN],
    unreadable: (v) => [`This is not an image file (${v.error}).`, GIVE],
    tiny: (v) => [`The image has ${v.width} x ${v.height} px.`, `Each side needs ${MIN_SIDE} px or more.`],
    huge: (v) => [
      `The image has ${v.width} x ${v.height} px, more than the limit of ${MAX_PIXELS.toLocaleString("en-US")} px.`,
      "Crop it into fields of view. To count it whole, save it as TIFF: `cellcount count` reads TIFF files in parts.",
    ],
    constant: (v) => [`Every pixel has the value ${v.value}.`, "Export it again; the image is blank."],
    nan: (v) => [`${v.count} values are NaN or infinite.`, "Replace them before saving the image."],
    overflow: (v) => [
      `The values range from ${general(v.low)} to ${general(v.high)}, more than can be computed with.`,
      "Divide them before saving the image, and look for values that stand for missing ones.",
    ],
    range: (v) => [
      `The values range from ${general(v.low)} to ${general(v.high)}; they are rescaled to 0..1 for this image alone.`,
      "Save 8- or 16-bit values to keep intensities comparable between images.",
    ],
    faint: (v) => [
      `The values range from ${general(v.low)} to ${general(v.high)}, less than ${fixed(FAINT * 100)}% of the full scale.`,
      "Look at the image: it may be blank, or saved with another scale of values.",
    ],
    binary: () => ["The image has only two values.", "Make sure that it is an image and not a mask."],
    pages: (v) => [`The file holds ${v.count} pages, channels or frames.`, "Save the plane to be counted as a separate image."],
    thumbnail: (v) => [
      `The first page has ${v.first} px, but another one is larger (${v.others} px): the first may be a thumbnail.`,
      "Save the page to be counted as a separate image.",
    ],
    otherPages: (v) => [
      `The first page is used; the others, of ${v.others} px, are not.`,
      "Save the other pages as separate images if they should be counted.",
    ],
    regions: () => [
      "The file holds regions of ImageJ, which are not read.",
      "Save points with ImageJ's ROI Manager as RoiSet.zip, beside the image and called like it, if they are annotations.",
    ],
    alpha: () => [
      "The image is partly transparent; transparency is ignored.",
      "Flatten the image if the hidden colours should not be used.",
    ],
    colour: (v) => [`The image is stored as ${v.mode}.`, "Convert it to RGB or gray."],
    channels: (v) => [`The image has ${v.count} channels.`, "Save one channel, or RGB."],
    dtype: (v) => [`Values of type ${v.dtype} are not gray values.`, "Save 8- or 16-bit values."],
    jpeg: () => [
      "The TIFF file is compressed as JPEG, which this page unpacks a little differently from `cellcount count`: some points differ.",
      "Use `cellcount count`, or save it without compression, where it matters.",
    ],
    exif: (v) => [
      `The image is turned or mirrored as its orientation entry (EXIF orientation ${v.turn}) says; points are of the image so turned.`,
      "Save the image upright if other tools show it in another orientation, as ImageJ does.",
    ],
    noise: () => [
      "This browser changes the pixels that a page reads (a protection against fingerprinting).",
      "Allow it for this page, save the image as PNG or TIFF, or use `cellcount count`.",
    ],
  };

  /** Collects the warnings about one file; `stop` throws. */
  class Report {
    constructor(file) {
      Object.assign(this, { file, warnings: [] });
    }

    text(kind, values = {}) {
      return `${this.file}: ${PROBLEMS[kind](values).join(" ")}`;
    }

    warn(kind, values) {
      this.warnings.push(this.text(kind, values));
    }

    stop(kind, values) {
      throw new CellcountError(this.text(kind, values));
    }
  }

  /**
   * The gray image of a file (File, or {name, arrayBuffer()}): {image: {data, height, width}, warnings}.
   *
   * channel : "auto" (green), "red", "green", "blue" or "mean". Throws a CellcountError that says what to do.
   */
  async function decode(file, { channel = "auto" } = {}) {
    if (!CHANNELS.includes(channel)) {
      throw new CellcountError(`channel='${channel}' is unknown; use one of ${CHANNELS.join(", ")}.`);
    }
    const name = file.name || "image.png", report = new Report(name);
    const suffix = (name.match(/[^.]\.[^.]+$/) ? name.slice(name.lastIndexOf(".")) : "").toLowerCase();
    if (file.slice) await file.slice(0, 1).arrayBuffer().catch(() => report.stop("gone")); // a folder has no suffix
    if (!SUFFIXES.includes(suffix)) report.stop("format", { content: `An image with the suffix '${suffix}'` });
    const bytes = new Uint8Array(await file.arrayBuffer().catch(() => report.stop("gone")));
    if (!bytes.length) report.stop("empty");
    const start = String.fromCharCode(...bytes.subarray(0, 32)), kind = formatOf(start);
    let pixels;
    try {
      if (kind === "TIFF") pixels = await readTiff(bytes, suffix, report);
      else if (kind === "PNG") pixels = await readPng(bytes, suffix, report);
      else if (kind === "JPEG" || kind === "BMP") pixels = await readCanvas(bytes, kind, suffix, report);
      else if (kind) report.stop("format", { content: `An image in the format ${kind}` });
      else throw new Error("its format is unknown");
    } catch (error) {
      if (error instanceof CellcountError) throw error;
      const other = OTHERS.find(([begin]) => start.startsWith(begin));
      if (other) report.stop("other", { content: other[1] });
      if (["ftyphe", "ftypmi", "ftypav"].includes(start.slice(4, 10))) report.stop("other", { content: "a HEIC or AVIF photograph" });
      const damaged = error instanceof RangeError || error instanceof TypeError; // read beyond the end
      const text = damaged ? "image file is truncated" : String(error.message || error).split("\n")[0];
      report.stop(/compression/i.test(text) ? "codec" : kind ? "truncated" : "unreadable", { error: text });
    }
    return toGray(pixels, channel, report);
  }

  function formatOf(start) {
    if (start.startsWith("\xff\xd8\xff")) return "JPEG";
    if (start.startsWith("\x89PNG\r\n\x1a\n")) return "PNG";
    if (/^(II[*+]\0|MM\0[*+])/.test(start)) return "TIFF";
    if (start.startsWith("BM")) return "BMP";
    if (/^GIF8[79]a/.test(start)) return "GIF";
    return start.startsWith("RIFF") && start.slice(8, 12) === "WEBP" ? "WEBP" : "";
  }

  function checkSuffix(suffix, format, right, report) {
    const stem = report.file.slice(0, report.file.length - suffix.length);
    if (!right.includes(suffix)) report.warn("suffix", { format, name: stem + right[0] });
  }

  function checkSize(width, height, report) {
    if (width * height > MAX_PIXELS) report.stop("huge", { width, height });
  }

  // ---- gray values

  /**
   * Gray values of pixels {data, height, width, stride, channels (1 or 3), kind ("u", "i", "f" or "b"), bits}.
   *
   * data has `stride` values for each px, of which the first `channels` count.
   */
  function toGray(pixels, channel, report) {
    const { data, height, width, stride, channels, kind, bits } = pixels, n = height * width;
    let low = Infinity, high = -Infinity, unusable = 0;
    for (let i = 0; i < n * stride; i += stride) {
      for (let at = i; at < i + channels; at++) {
        const value = data[at];
        if (value < low) low = value;
        if (value > high) high = value;
        if (kind === "f" && !Number.isFinite(value)) unusable++;
      }
    }
    const eight = kind === "u" && bits <= 8;
    const unusual = !eight && kind !== "b" && (low < 0 || high > 65535 || (kind === "f" && high > 1 && high < 16));
    let scale = [0, 255];
    if (kind === "b" || (kind === "f" && low >= 0 && high <= 1)) scale = [0, 1];
    else if (unusual) scale = [low, high];
    else if (!eight) scale = [0, [8, 10, 12, 14, 16].map((depth) => 2 ** depth - 1).find((most) => high <= most)];
    if (Math.min(height, width) < MIN_SIDE) report.stop("tiny", { width, height });
    if (unusable) report.stop("nan", { count: unusable });
    if (Math.max(-low, high) > 3.4028234663852886e38 / 4) report.stop("overflow", { low, high });
    if (low === high) report.stop("constant", { value: kind === "f" && Number.isInteger(low) ? low.toFixed(1) : low });
    if (unusual) report.warn("range", { low, high });
    else if (high - low < FAINT * scale[1]) report.warn("faint", { low, high });
    else if (onlyTwo(pixels, low, high)) report.warn("binary");
    const warnings = report.warnings.slice(), flat = flatChannel(pixels, channel);
    if (flat) warnings.push(flat);
    const gray = new Float32Array(n), whole = fround(scale[1] - scale[0]), first = fround(scale[0]);
    const chosen = channels === 1 ? 0 : { red: 0, auto: 1, green: 1, blue: 2 }[channel];
    const levels = Float32Array.from({ length: 256 }, (_, level) => level / 255);
    for (let i = 0, at = 0; i < n; i++, at += stride) {
      if (eight && chosen !== undefined) {
        gray[i] = levels[data[at + chosen]];
        continue;
      }
      const value = chosen === undefined ? fround(fround(data[at] + data[at + 1]) + data[at + 2]) / 3 : data[at + chosen];
      gray[i] = Math.min(1, Math.max(0, fround(fround(value) - first) / whole));
    }
    return { image: { data: gray, height, width }, warnings };
  }

  function onlyTwo({ data, height, width, stride, channels }, low, high) {
    for (let i = 0; i < height * width * stride; i++) {
      if (data[i] !== low && data[i] !== high && i % stride < channels) return false;
    }
    return true;
  }

  /** A sentence if the chosen channel is nearly constant compared with another one, else "". */
  function flatChannel({ data, height, width, stride, channels }, channel) {
    if (channels === 1 || channel === "mean") return "";
    const step = Math.max(1, Math.trunc(Math.sqrt((height * width) / 1e5))); // 100,000 px are enough
    const spread = NAMES.map((_, c) => {
      const some = [];
      for (let y = 0; y < height; y += step) for (let x = 0; x < width; x += step) some.push(data[(y * width + x) * stride + c]);
      return cellcount.pixels.deviation(some);
    });
    const chosen = channel === "auto" ? "green" : channel, best = spread.indexOf(Math.max(...spread));
    if (spread[NAMES.indexOf(chosen)] >= FLAT * spread[best]) return "";
    return `The ${chosen} channel is nearly constant; the image is in the ${NAMES[best]} one.`;
  }

  /** Pixels that are stored in the orientation 1-8, as they are to be shown. */
  function upright(pixels, turn, report) {
    if (!(turn >= 2 && turn <= 8)) return pixels;
    report.warn("exif", { turn });
    const { data, stride } = pixels, swapped = turn >= 5;
    const height = swapped ? pixels.width : pixels.height, width = swapped ? pixels.height : pixels.width;
    const turned = new data.constructor(data.length), down = [3, 4, 7, 8].includes(turn), back = [2, 3, 6, 7].includes(turn);
    for (let y = 0, to = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const v = down ? height - 1 - y : y, u = back ? width - 1 - x : x;
        let from = (swapped ? u * pixels.width + v : v * pixels.width + u) * stride;
        for (let c = 0; c < stride; c++) turned[to++] = data[from++];
      }
    }
    return { ...pixels, data: turned, height, width };
  }

  // ---- PNG

  async function readPng(bytes, suffix, report) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 8, header = null, palette = null, opacity = null, turn = 0, told = 0, frames = 1;
    const parts = [];
    while (at + 8 <= bytes.length) {
      const length = view.getUint32(at), kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
      const body = bytes.subarray(at + 8, at + 8 + length);
      if (kind === "IHDR" && body.length >= 13) {
        const [depth, colour, , , interlaced] = body.subarray(8);
        header = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), depth, colour, interlaced };
      } else if (kind === "PLTE") palette = body;
      else if (kind === "tRNS") opacity = body;
      else if (kind === "IDAT") parts.push(body);
      else if (kind === "eXIf") turn = orientationOf(body);
      else if (kind === "iTXt") told = told || orientationIn(body);
      else if (kind === "acTL") frames = view.getUint32(at + 8);
      else if (kind === "IEND") break;
      at += 12 + length;
    }
    const samples = header && { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[header.colour];
    if (!samples || ![1, 2, 4, 8, 16].includes(header.depth)) throw new Error("its header is damaged");
    checkSuffix(suffix, "PNG", [".png"], report);
    checkSize(header.width, header.height, report);
    if (frames > 1) report.stop("pages", { count: frames });
    const data = await inflated(parts, header, samples);
    return upright(coloured(data, header, samples, palette, opacity, report), turn || told, report);
  }

  /** The values of a PNG file, `samples` for each px, as they are stored. */
  async function inflated(parts, { width, height, depth, interlaced }, samples) {
    const bits = depth * samples, passes = interlaced
      ? [[0, 0, 8, 8], [0, 4, 8, 8], [4, 0, 8, 4], [0, 2, 4, 4], [2, 0, 4, 2], [0, 1, 2, 2], [1, 0, 2, 1]] // y, x, steps
      : [[0, 0, 1, 1]];
    const sizes = passes.map(([y, x, down, across]) => [Math.ceil((height - y) / down), Math.ceil((width - x) / across)]);
    const lengths = sizes.map(([rows, columns]) => (rows > 0 && columns > 0 ? rows * (1 + Math.ceil((columns * bits) / 8)) : 0));
    const raw = await unpacked(parts, lengths.reduce((sum, one) => sum + one, 0));
    const values = new (depth === 16 ? Uint16Array : Uint8Array)(width * height * samples);
    let at = 0;
    passes.forEach(([top, left, down, across], i) => {
      if (!lengths[i]) return;
      const [rows, columns] = sizes[i], line = Math.ceil((columns * bits) / 8);
      unfilter(raw.subarray(at, at + lengths[i]), rows, line, Math.max(1, bits >> 3));
      for (let r = 0; r < rows; r++) {
        const start = at + r * (line + 1) + 1;
        if (depth === 8 && !interlaced) values.set(raw.subarray(start, start + line), r * line);
        else for (let c = 0; c < columns; c++) {
          const to = ((top + r * down) * width + left + c * across) * samples;
          for (let s = 0; s < samples; s++) {
            const k = c * samples + s;
            if (depth === 8) values[to + s] = raw[start + k];
            else if (depth === 16) values[to + s] = (raw[start + 2 * k] << 8) | raw[start + 2 * k + 1];
            else values[to + s] = (raw[start + ((k * depth) >> 3)] >> (8 - depth - ((k * depth) & 7))) & (2 ** depth - 1);
          }
        }
      }
      at += lengths[i];
    });
    return values;
  }

  /** The first `length` bytes of a zlib stream in several parts. */
  async function unpacked(parts, length) {
    const found = new Uint8Array(length), stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
    const reader = stream.getReader();
    let at = 0;
    try {
      while (at < length) {
        const { done, value } = await reader.read();
        if (done) break;
        found.set(value.subarray(0, length - at), at);
        at += value.length;
      }
      reader.cancel().catch(() => {}); // what follows the pixels does not matter
    } catch (error) {
      if (at < length) throw new Error("image file is truncated");
    }
    if (at < length) throw new Error("image file is truncated");
    return found;
  }

  /** Undoes the filters of a PNG file in place: each row has its filter's number before its bytes. */
  function unfilter(raw, rows, line, step) {
    for (let r = 0; r < rows; r++) {
      const start = r * (line + 1) + 1, filter = raw[start - 1], above = start - line - 1;
      if (filter > 4) throw new Error("a row has an unknown filter");
      if (filter === 1) {
        for (let i = step; i < line; i++) raw[start + i] += raw[start + i - step];
      } else if (filter === 2 && r) {
        for (let i = 0; i < line; i++) raw[start + i] += raw[above + i];
      } else if (filter > 2) {
        for (let i = 0; i < line; i++) {
          const a = i >= step ? raw[start + i - step] : 0, b = r ? raw[above + i] : 0;
          let guess = (a + b) >> 1;
          if (filter === 4) {
            const c = r && i >= step ? raw[above + i - step] : 0;
            const pa = Math.abs(b - c), pb = Math.abs(a - c), pc = Math.abs(a + b - 2 * c);
            guess = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
          }
          raw[start + i] += guess;
        }
      }
    }
  }

  /** Pixels from the values of a PNG file: palettes replaced, few bits spread to eight, opacity left out. */
  function coloured(data, { width, height, depth, colour }, samples, palette, opacity, report) {
    const n = width * height, deep = depth === 16, full = deep ? 65535 : 255;
    const pixels = { data, height, width, stride: samples, channels: colour === 2 || colour === 6 ? 3 : 1, kind: "u", bits: deep ? 16 : 8 };
    let transparent = false;
    if (colour === 4 || colour === 6) {
      for (let i = samples - 1; !transparent && i < data.length; i += samples) transparent = data[i] < full;
    } else if (opacity && colour === 3) {
      transparent = data.some((index) => index < opacity.length && opacity[index] < 255);
    } else if (opacity) {
      const key = Array.from({ length: samples }, (_, s) => (opacity[2 * s] << 8) | opacity[2 * s + 1]);
      for (let i = 0; !transparent && i < n; i++) transparent = key.every((one, s) => data[i * samples + s] === one);
    }
    if (transparent) report.warn("alpha");
    if (colour === 3) {
      if (!palette) throw new Error("its palette is missing");
      const rgb = new Uint8Array(3 * n);
      let gray = true;
      for (let i = 0; i < n; i++) {
        const [r, g, b] = [0, 1, 2].map((c) => (rgb[3 * i + c] = palette[3 * data[i] + c] || 0));
        if (r !== g || r !== b) gray = false;
      }
      return { ...pixels, data: rgb, stride: 3, channels: gray ? 1 : 3 };
    }
    if (depth < 8) for (let i = 0; i < n; i++) data[i] *= 255 / (2 ** depth - 1);
    return pixels;
  }

  // ---- JPEG and BMP

  /** The orientation in EXIF data (a TIFF header and its first directory), or 0. */
  function orientationOf(bytes) {
    if (bytes.length < 14) return 0;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), little = bytes[0] === 0x49;
    const first = view.getUint32(4, little), end = bytes.length - 12;
    for (let i = 0, at = first + 2; first + 2 <= bytes.length && i < view.getUint16(first, little) && at <= end; i++, at += 12) {
      if (view.getUint16(at, little) === 0x0112) return view.getUint16(at + 8, little);
    }
    return 0;
  }

  /** The orientation in XMP data, or 0. Pillow obeys it where EXIF has none; browsers do not know it. */
  function orientationIn(bytes) {
    const match = new TextDecoder("latin1").decode(bytes).match(/tiff:Orientation(?:="|>)([0-9])/);
    return match ? Number(match[1]) : 0;
  }

  /** What the segments of a JPEG file say: number of components, size, orientation. Throws if it has no end. */
  function jpegHeader(bytes) {
    const found = { components: 3, width: 0, height: 0, turn: 0, told: 0 }, view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 2;
    while (at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda) {
      const marker = bytes[at + 1], length = view.getUint16(at + 2), body = bytes.subarray(at + 4, at + 2 + length);
      if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
        Object.assign(found, { height: (body[1] << 8) | body[2], width: (body[3] << 8) | body[4], components: body[5] });
      } else if (marker === 0xe1) {
        const text = String.fromCharCode(...body.subarray(0, 29));
        if (text === "http://ns.adobe.com/xap/1.0/\0") found.told = found.told || orientationIn(body);
        else if (text.startsWith("Exif\0\0")) found.turn = found.turn || orientationOf(body.subarray(6));
      }
      at += marker === 0xff ? 1 : 2 + length;
    }
    let end = bytes.length - 1;
    while (end > at && !(bytes[end] === 0xd9 && bytes[end - 1] === 0xff)) end--;
    if (end <= at) throw new Error("image file is truncated");
    return found;
  }

  async function readCanvas(bytes, format, suffix, report) {
    checkSuffix(suffix, format, format === "JPEG" ? [".jpg", ".jpeg"] : [".bmp"], report);
    const header = format === "JPEG" ? jpegHeader(bytes) : null;
    if (header) checkSize(header.width, header.height, report);
    if (header && header.components === 4) report.stop("colour", { mode: "CMYK" });
    const type = format === "JPEG" ? "image/jpeg" : "image/bmp";
    if (format === "BMP" && bytes[14] >= 56 && bytes.length > 70 && bytes.subarray(66, 70).some((one) => one)) {
      bytes = bytes.slice(); // without the mask of opacity, which a canvas would multiply the colours by
      const at = [0, 1, 2, 3].find((i) => bytes[66 + i]), first = new DataView(bytes.buffer).getUint32(10, true);
      bytes.fill(0, 66, 70);
      let i = bytes[28] === 32 ? first + at : bytes.length;
      while (i < bytes.length && bytes[i] === 255) i += 4;
      if (i < bytes.length) report.warn("alpha");
    }
    const bitmap = await createImageBitmap(new Blob([bytes], { type }), { colorSpaceConversion: "none" }).catch(() => {
      throw new Error("the browser cannot decode it");
    });
    const { width, height } = bitmap;
    checkSize(width, height, report);
    if (!faithful()) report.stop("noise");
    const rows = Math.max(1, Math.floor(BAND / width)), canvas = new OffscreenCanvas(width, Math.min(rows, height));
    const context = canvas.getContext("2d", { willReadFrequently: true }), data = new Uint8Array(3 * width * height);
    for (let top = 0, to = 0; top < height; top += rows) {
      context.drawImage(bitmap, 0, -top);
      const band = context.getImageData(0, 0, width, Math.min(rows, height - top)).data;
      for (let i = 0; i < band.length; i += 4) (data[to++] = band[i]), (data[to++] = band[i + 1]), (data[to++] = band[i + 2]);
    }
    bitmap.close();
    if (header && header.turn >= 2 && header.turn <= 8) report.warn("exif", { turn: header.turn }); // the browser has turned it
    const pixels = { data, height, width, stride: 3, channels: 3, kind: "u", bits: 8 };
    return header && !header.turn ? upright(pixels, header.told, report) : pixels;
  }

  /** Whether a canvas gives back the pixels that were put into it: some browsers add noise, and no cell is found. */
  function faithful() {
    const context = new OffscreenCanvas(32, 32).getContext("2d", { willReadFrequently: true });
    const pattern = context.createImageData(32, 32);
    for (let i = 0; i < pattern.data.length; i++) pattern.data[i] = i % 4 === 3 ? 255 : (i * 37 + (i >> 5)) & 255;
    context.putImageData(pattern, 0, 0);
    const back = context.getImageData(0, 0, 32, 32).data;
    return pattern.data.every((one, i) => back[i] === one);
  }

  // ---- TIFF

  async function readTiff(bytes, suffix, report) {
    if (!root.GeoTIFF) { // by the content: a TIFF file may be called .png
      try {
        root.importScripts("vendor/geotiff.js");
      } catch (error) {
        throw new CellcountError(`${report.file}: the reader of TIFF files could not be loaded. Check the connection, and count it again.`);
      }
    }
    const tiff = await root.GeoTIFF.fromArrayBuffer(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    checkSuffix(suffix, "TIFF", [".tif", ".tiff"], report);
    const number = await tiff.getImageCount(), all = [];
    for (let i = 0; i < number; i++) all.push(await tiff.getImage(i));
    for (const one of all) readArrays(one.fileDirectory, bytes);
    const page = await plane(all, report), width = page.getWidth(), height = page.getHeight();
    checkSize(width, height, report);
    const tag = (name) => page.fileDirectory.loadValue(name).catch(() => undefined);
    const samples = page.getSamplesPerPixel(), photometric = await tag("PhotometricInterpretation");
    const bits = page.getBitsPerSample(0), code = page.getSampleFormat(0), turn = await tag("Orientation");
    let kind = bits === 1 ? "b" : { 1: "u", 2: "i", 3: "f" }[code];
    let pixels = { height, width, stride: samples, channels: samples >= 3 ? 3 : 1, kind, bits };
    await stored(page, bytes.length);
    if (photometric === 6) {
      return upright({ ...pixels, data: await page.readRGB({ interleave: true }), stride: 3 }, turn, report);
    }
    const planes = await page.readRasters({ interleave: false }), n = height * width;
    if (photometric === 3) {
      const map = await tag("ColorMap"), size = 2 ** bits, data = new Uint16Array(3 * n);
      if (!map) throw new Error("its palette is missing");
      for (let i = 0; i < 3 * n; i++) data[i] = map[(i % 3) * size + planes[0][Math.floor(i / 3)]];
      return upright({ ...pixels, data, stride: 3, channels: 3, bits: 16 }, turn, report);
    }
    if (samples === 2 || samples === 4) {
      const full = kind === "u" ? 2 ** bits - 1 : 1;
      if (planes[samples - 1].some((one) => one < full)) report.warn("alpha");
    }
    const { channels } = pixels, data = new planes[0].constructor(channels * n), white = photometric === 0;
    const most = kind === "u" ? 2 ** bits - 1 : 1, times = kind === "u" && bits < 8 ? Math.floor(255 / (2 ** bits - 1)) : 1;
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < n; i++) {
        const value = planes[c][i];
        data[i * channels + c] = (white ? (kind === "i" ? -1 - value : most - value) : value) * times;
      }
    }
    return upright({ ...pixels, data, stride: channels }, turn, report);
  }

  /** Throws if strips or tiles end beyond the file: some decoders of geotiff fill up what is missing, and say nothing. */
  async function stored(page, length) {
    const load = async (end) => {
      const found = await page.fileDirectory.loadValue(`${page.isTiled ? "Tile" : "Strip"}${end}`).catch(() => []);
      return typeof found === "number" ? [found] : found || [];
    };
    const starts = await load("Offsets"), sizes = await load("ByteCounts");
    for (let i = 0; i < sizes.length; i++) {
      if (Number(starts[i]) + Number(sizes[i]) > length) throw new Error("image file is truncated");
    }
  }

  /** Reads the long arrays of a directory: geotiff 3.0.5 reads them as little-endian, also where the file is not. */
  function readArrays(directory, bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), little = bytes[0] === 0x49;
    const readers = { 1: "getUint8", 3: "getUint16", 4: "getUint32", 16: "getBigUint64" };
    for (const [tag, { arrayOffset, fieldType, length, itemSize }] of directory.deferredArrays) {
      if (!readers[fieldType] || arrayOffset + length * itemSize > bytes.length) continue;
      const values = Array.from({ length }, (_, i) => Number(view[readers[fieldType]](arrayOffset + i * itemSize, little)));
      directory.actualizedFields.set(tag, values);
    }
  }

  /** The page with the only plane of a TIFF file; stops if there are several, or its values are not gray or RGB. */
  async function plane(all, report) {
    const reduced = await Promise.all(all.map((one) => one.fileDirectory.loadValue("NewSubfileType").catch(() => 0)));
    const own = all.filter((_, i) => !(reduced[i] & 1)), pages = own.length ? own : all, page = pages[0];
    const tag = (name) => page.fileDirectory.loadValue(name).catch(() => undefined);
    const size = (one) => `${one.getWidth()} x ${one.getHeight()}`, area = (one) => one.getWidth() * one.getHeight();
    const largest = pages.reduce((best, one) => (area(one) > area(best) ? one : best));
    const others = pages.slice(1).filter((one) => size(one) !== size(page)), names = others.slice(0, 4).map(size).join(", ");
    if (size(largest) !== size(page)) report.stop("thumbnail", { first: size(page), others: names });
    const told = String((await tag("ImageDescription")) || "");
    const stack = /^ImageJ=/.test(told) ? Number((told.match(/^images=(\d+)/m) || [0, 1])[1]) : 1;
    const same = Math.max(pages.length - others.length, stack);
    if (same > 1) report.stop("pages", { count: same });
    if (others.length) report.warn("otherPages", { others: names });
    const kept = await tag(50839); // 50839: a header of types, then the entries
    if (kept && /IJIJ|JIJI/.test(asText(kept, 4)) && /roi |over| ior|revo/.test(asText(kept, 256))) report.warn("regions");
    if (!page.fileDirectory.hasTag("BitsPerSample")) report.stop("dtype", { dtype: "bool" }); // geotiff needs the entry
    const photometric = await tag("PhotometricInterpretation"), compression = (await tag("Compression")) || 1;
    if (compression === 6 || compression === 7) report.warn("jpeg"); // of geotiff; Pillow and tifffile use libjpeg
    const samples = page.getSamplesPerPixel(), colour = photometric === 2 || photometric === 6;
    if (![0, 1, 2, 3, 6].includes(photometric) || (photometric === 6 && ![6, 7].includes(compression))) {
      const modes = { 4: "MASK", 5: "SEPARATED", 6: "YCBCR", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32803: "CFA", 34892: "LINEAR_RAW" };
      report.stop("colour", { mode: modes[photometric] || photometric });
    }
    const extra = await tag("ExtraSamples"), first = extra && extra.length !== undefined ? extra[0] : extra;
    const alpha = samples === 2 && (first === 1 || first === 2);
    if (colour ? samples !== 3 && samples !== 4 : samples !== 1 && !alpha) report.stop("channels", { count: samples });
    if (![1, 2, 3].includes(page.getSampleFormat(0))) report.stop("dtype", { dtype: `complex${page.getBitsPerSample(0)}` });
    return page;
  }

  function asText(values, most) {
    return typeof values === "string" ? values.slice(0, most) : String.fromCharCode(...Array.from(values).slice(0, most));
  }

  cellcount.decode = decode;
  cellcount.toGray = toGray;
})(typeof self !== "undefined" ? self : globalThis);
