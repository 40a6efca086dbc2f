"use strict";
// The size of the cells in an image, relative to that on which the network was trained, and whether it looks like that.
//
// A port of cellcount/methods/cellnet/looks.py, which explains the two measures of size and the limits.

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const { CellcountError, roundEven, pixels } = cellcount;
  const fround = Math.fround;

  const SIDE = 384; // px of what the network sees of an image, for each size that is tried
  const WINDOW = 768; // px, of which the spectrum is taken
  const LONGEST = 256; // px; longer waves are the illumination
  const STEP = 1.4; // between two sizes that are tried
  const MOST = 4; // steps to either side
  const LIMIT = 10; // of the factor by which an image is resampled
  const ALIKE = 1.3; // cells whose size is within this factor of the training images' are counted as they are
  const APART = 1.8; // the two measures agree within this factor
  const ROOM = 25; // cells; nothing is concluded from an image that has room for fewer
  const LOWEST = 0.25; // height of the peaks whose mean tells the size
  const FEW = 10; // their least number
  const STABLE = 0.8; // of the training images' share of points that stay
  const FAINT = 0.65; // of the training images' mean height of peaks
  const LONG = 1.4, SHORT = 1.5, BLURRED = 0.55; // times the training images' ratios of wavelengths
  const TILE = 16, FLAT = 0.02, DIM = 0.65; // px; share of flat tiles; lowest over highest median of a sixteenth
  const DARK = 0.4, TAIL = 2.5; // median of a dark ground, and of how many times its lower values the higher are apart
  const WIDTH = 1.4; // of the distance between neighbours: the width of cells that touch
  const NAMES = ["wavelength", "long", "short", "sharp", "size", "height", "stable"];

  // ---- numbers as Python writes them

  /** A number with so many decimals; exact halves go to the even digit. */
  function fixed(value, decimals = 0) {
    const shifted = value * 10 ** decimals;
    const tie = Math.abs(shifted) % 1 === 0.5 && shifted / 10 ** decimals === value && Math.abs(value) < 1e6;
    // 0.125 is exact and a half, 0.145 is not: only quotients by powers of 2 are.
    const exact = tie && Number.isInteger(value * 2 ** 20);
    return exact ? (roundEven(shifted) / 10 ** decimals).toFixed(decimals) : value.toFixed(decimals);
  }

  /** A number as the format "g" with so many digits writes it. */
  function general(value, digits = 6) {
    if (!Number.isFinite(value)) return String(value);
    const power = value === 0 ? 0 : Number(value.toExponential(digits - 1).split("e")[1]);
    if (power < -4 || power >= digits) {
      const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
      const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
      return `${short}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
    }
    const text = value.toFixed(Math.max(0, digits - 1 - power));
    return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  }

  // ---- the spectrum

  const plans = new Map();

  /** A transform of complex values of one length: function (re, im), Float64Arrays, in place. */
  function fourier(n) {
    if (!plans.has(n)) plans.set(n, factors(n) ? mixedRadix(n, factors(n)) : bluestein(n));
    return plans.get(n);
  }

  /** The factors 4, 2, 3, 5 and 7 of a number, or null if it has larger ones. */
  function factors(n) {
    const found = [];
    for (const prime of [4, 2, 3, 5, 7]) while (n % prime === 0) found.push(prime), (n /= prime);
    return n === 1 ? found : null;
  }

  /** Stockham's transform: each stage reads in one order and writes in the next. */
  function mixedRadix(n, radices) {
    const cos = Float64Array.from({ length: n }, (_, k) => Math.cos((2 * Math.PI * k) / n));
    const sin = Float64Array.from({ length: n }, (_, k) => -Math.sin((2 * Math.PI * k) / n));
    const other = [new Float64Array(n), new Float64Array(n)];
    return (re, im) => {
      let [ar, ai, br, bi] = [re, im, ...other], length = n, stride = 1;
      for (const p of radices) {
        const m = length / p, turn = n / length;
        for (let j = 0; j < m; j++) {
          if (p === 4) {
            quarter(ar, ai, br, bi, stride, j, m, [1, 2, 3].map((k) => [cos[(j * k * turn) % n], sin[(j * k * turn) % n]]));
            continue;
          }
          for (let k = 0; k < p; k++) {
            const wr = cos[(j * k * turn) % n], wi = sin[(j * k * turn) % n];
            for (let q = 0; q < stride; q++) {
              let sr = ar[q + stride * j], si = ai[q + stride * j];
              for (let i = 1; i < p; i++) {
                const at = q + stride * (j + m * i), w = ((i * k) % p) * (n / p);
                sr += ar[at] * cos[w] - ai[at] * sin[w];
                si += ar[at] * sin[w] + ai[at] * cos[w];
              }
              const to = q + stride * (p * j + k);
              br[to] = sr * wr - si * wi;
              bi[to] = sr * wi + si * wr;
            }
          }
        }
        [ar, ai, br, bi] = [br, bi, ar, ai];
        length = m;
        stride *= p;
      }
      if (ar !== re) re.set(ar), im.set(ai);
    };
  }

  /** A butterfly of radix 4 for all columns of a stage: the same as the loop below it, in fewer steps. */
  function quarter(ar, ai, br, bi, stride, j, m, [[c1, s1], [c2, s2], [c3, s3]]) {
    const step = stride * m;
    for (let q = 0, at = stride * j, to = 4 * stride * j; q < stride; q++, at++, to++) {
      const pr = ar[at] + ar[at + 2 * step], pi = ai[at] + ai[at + 2 * step];
      const mr = ar[at] - ar[at + 2 * step], mi = ai[at] - ai[at + 2 * step];
      const ur = ar[at + step] + ar[at + 3 * step], ui = ai[at + step] + ai[at + 3 * step];
      const vr = ar[at + step] - ar[at + 3 * step], vi = ai[at + step] - ai[at + 3 * step];
      br[to] = pr + ur;
      bi[to] = pi + ui;
      br[to + stride] = (mr + vi) * c1 - (mi - vr) * s1;
      bi[to + stride] = (mr + vi) * s1 + (mi - vr) * c1;
      br[to + 2 * stride] = (pr - ur) * c2 - (pi - ui) * s2;
      bi[to + 2 * stride] = (pr - ur) * s2 + (pi - ui) * c2;
      br[to + 3 * stride] = (mr - vi) * c3 - (mi + vr) * s3;
      bi[to + 3 * stride] = (mr - vi) * s3 + (mi + vr) * c3;
    }
  }

  /** Bluestein's transform of any length, as a convolution of a length that is a power of 2. */
  function bluestein(n) {
    const size = 2 ** Math.ceil(Math.log2(2 * n - 1)), inner = fourier(size);
    const cos = new Float64Array(n), sin = new Float64Array(n);
    const kr = new Float64Array(size), ki = new Float64Array(size), xr = new Float64Array(size), xi = new Float64Array(size);
    for (let k = 0; k < n; k++) {
      const angle = (Math.PI * ((k * k) % (2 * n))) / n;
      cos[k] = Math.cos(angle);
      sin[k] = Math.sin(angle);
      kr[k] = kr[(size - k) % size] = cos[k];
      ki[k] = ki[(size - k) % size] = sin[k];
    }
    inner(kr, ki);
    return (re, im) => {
      xr.fill(0);
      xi.fill(0);
      for (let k = 0; k < n; k++) {
        xr[k] = re[k] * cos[k] + im[k] * sin[k];
        xi[k] = im[k] * cos[k] - re[k] * sin[k];
      }
      inner(xr, xi);
      for (let k = 0; k < size; k++) { // conjugated, so that the same transform turns it back
        const real = xr[k] * kr[k] - xi[k] * ki[k];
        xi[k] = -(xr[k] * ki[k] + xi[k] * kr[k]);
        xr[k] = real;
      }
      inner(xr, xi);
      for (let k = 0; k < n; k++) {
        const real = xr[k] / size, imaginary = -xi[k] / size;
        re[k] = real * cos[k] + imaginary * sin[k];
        im[k] = imaginary * cos[k] - real * sin[k];
      }
    };
  }

  /** |Fourier transform|^2 of a real image: Float64Array of height x (floor(width / 2) + 1), as of numpy.fft.rfft2. */
  function power({ data, height, width }) {
    const half = Math.floor(width / 2) + 1, re = new Float64Array(height * half), im = new Float64Array(height * half);
    const along = fourier(width), down = fourier(height), r = new Float64Array(width), i = new Float64Array(width);
    for (let y = 0; y < height; y += 2) { // two real rows as one complex row
      const two = y + 1 < height;
      for (let x = 0; x < width; x++) (r[x] = data[y * width + x]), (i[x] = two ? data[(y + 1) * width + x] : 0);
      along(r, i);
      for (let x = 0; x < half; x++) {
        const back = (width - x) % width, at = y * half + x;
        re[at] = (r[x] + r[back]) / 2;
        im[at] = (i[x] - i[back]) / 2;
        if (two) (re[at + half] = (i[x] + i[back]) / 2), (im[at + half] = (r[back] - r[x]) / 2);
      }
    }
    const cr = new Float64Array(height), ci = new Float64Array(height);
    for (let x = 0; x < half; x++) {
      for (let y = 0; y < height; y++) (cr[y] = re[y * half + x]), (ci[y] = im[y * half + x]);
      down(cr, ci);
      for (let y = 0; y < height; y++) re[y * half + x] = cr[y] ** 2 + ci[y] ** 2;
    }
    return re;
  }

  function hanning(n) {
    if (n === 1) return new Float64Array([1]);
    return Float64Array.from({ length: n }, (_, i) => 0.5 + 0.5 * Math.cos((Math.PI * (1 - n + 2 * i)) / (n - 1)));
  }

  /**
   * Wavelengths in the middle of a View, by power: {median, long, short, sharp}; the median is in px, the others are the
   * upper quartile over it, and it over the lowest 10 and 1 %. null for a blank image.
   */
  function structure(view) {
    const { data, height, width } = windowOf(view, 1, WINDOW, view.middle).pixels;
    let mean = 0;
    for (const value of data) mean += value / data.length;
    mean = fround(mean);
    const rows = hanning(height), columns = hanning(width), tapered = new Float32Array(data.length);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) tapered[i] = fround(data[i] - mean) * fround(rows[y] * columns[x]);
    }
    const found = power({ data: tapered, height, width }), half = Math.floor(width / 2) + 1, sums = new Float64Array(2048);
    for (let y = 0; y < height; y++) {
      const fy = (y < (height + 1) >> 1 ? y : y - height) * (1 / height);
      for (let x = 0; x < half; x++) {
        const fx = x * (1 / width), frequency = Math.sqrt(fy * fy + fx * fx);
        if (frequency > 1 / LONGEST) sums[Math.min(Math.trunc(frequency * 4096), 2047)] += found[y * half + x];
      }
    }
    for (let i = 1; i < sums.length; i++) sums[i] += sums[i - 1];
    if (sums[2047] <= 1e-9) return null;
    const [long, middle, short, sharp] = [0.25, 0.5, 0.9, 0.99].map(
      (part) => 4096 / (sums.findIndex((one) => one >= part * sums[2047]) + 0.5),
    );
    return { median: middle, long: long / middle, short: middle / short, sharp: middle / sharp };
  }

  /** A part of a View around `centre`, resampled by `scale`, at most `side` px wide; its first row and column. */
  function windowOf(view, scale, side, centre) {
    const [rows, columns] = view.shape(scale).map((whole, axis) => {
      const length = Math.min(side, whole);
      const start = Math.trunc(Math.min(Math.max(centre[axis] * scale - length / 2, 0), whole - length));
      return [start, start + length];
    });
    return { pixels: view.window(scale, ...rows, ...columns), top: rows[0], left: columns[0] };
  }

  // ---- sizes

  /** Tries an image at several sizes: `heat` is an async function of an image, `reference` the size of no step. */
  class Sizes {
    constructor(view, heat, settings, reference) {
      Object.assign(this, { view, heat, settings, reference, tried: new Map() });
    }

    /** The peaks after resampling by `reference` and so many steps: points px of the image, heights, mean, and box. */
    async at(step) {
      if (!this.tried.has(step)) {
        const { settings } = this, scale = this.reference * STEP ** step, { factor } = settings;
        const { pixels: part, top, left } = windowOf(this.view, scale, SIDE, this.view.busiest);
        const found = pixels.peaks(await this.heat(part), LOWEST / 2, settings.peak_distance);
        const first = [top, left];
        const points = Float64Array.from(found.points, (value, i) => {
          const full = fround(fround(fround(value + 0.5) * factor) - 0.5);
          return (fround(full + 0.5) + first[i % 2]) / scale - 0.5;
        });
        const high = found.scores.filter((one) => one > LOWEST);
        const mean = high.length >= FEW ? fround(high.reduce((sum, one) => sum + one, 0) / high.length) : 0;
        const box = [top, left, top + part.height, left + part.width].map((end) => end / scale);
        this.tried.set(step, { points, heights: found.scores, high, mean, box });
      }
      return this.tried.get(step);
    }

    /** [step, size] of the highest mean height of the peaks near a start; the size is interpolated. */
    async best(start) {
      let step = Math.min(Math.max(start, -MOST), MOST);
      while (Math.abs(step) <= MOST) {
        let highest = step;
        for (const one of [step - 1, step + 1]) if ((await this.at(one)).mean > (await this.at(highest)).mean) highest = one;
        if (highest === step) break;
        step = highest;
      }
      const [below, middle, above] = [(await this.at(step - 1)).mean, (await this.at(step)).mean, (await this.at(step + 1)).mean];
      const curved = below - 2 * middle + above;
      const shift = Math.min(below, above) > 0 && curved < 0 ? (below - above) / (2 * curved) : 0;
      return [step, STEP ** (step + shift)];
    }

    /** [share, n]: of n points above the threshold, how many stay when the image is a step larger. */
    async stable(step) {
      const one = await this.at(step), other = await this.at(step + 1), least = fround(this.settings.threshold);
      const low = [0, 1].map((i) => Math.max(one.box[i], other.box[i]));
      const high = [2, 3].map((i) => Math.min(one.box[i], other.box[i]));
      const [first, second] = [one, other].map((found) => {
        const kept = [];
        for (let i = 0; i < found.heights.length; i++) {
          const y = found.points[2 * i], x = found.points[2 * i + 1];
          if (y >= low[0] && x >= low[1] && y < high[0] && x < high[1] && found.heights[i] > least) kept.push([y, x]);
        }
        return kept;
      });
      const n = first.length + second.length;
      const reach = (this.settings.peak_distance * this.settings.factor) / STEP ** step;
      return [n ? (2 * paired(first, second, reach)) / n : 0, Math.floor(n / 2)];
    }

    /** Whether the peaks are higher at a step than at the training images' size, by twice the standard error. */
    async higher(step) {
      const one = await this.at(step), other = await this.at(0);
      const spread = one.high.length ? pixels.deviation(one.high) : NaN;
      return one.mean - other.mean > (2 * spread) / Math.sqrt(Math.max(one.high.length, 1));
    }
  }

  /** How many points are each other's nearest within `reach`. */
  function paired(one, other, reach) {
    if (!one.length || !other.length) return 0;
    const closest = new Int32Array(other.length).fill(-1), least = new Float64Array(other.length).fill(Infinity);
    const nearest = one.map(([y, x], i) => {
      let at = 0, best = Infinity;
      for (let j = 0; j < other.length; j++) {
        const squared = (y - other[j][0]) ** 2 + (x - other[j][1]) ** 2;
        if (squared < best) (best = squared), (at = j);
        if (squared < least[j]) (least[j] = squared), (closest[j] = i);
      }
      return [at, best];
    });
    return nearest.filter(([at, squared], i) => closest[at] === i && squared <= reach ** 2).length;
  }

  // ---- the decision

  /** The width of a cell in the training images, px, or null. */
  function widthOf(counting) {
    return (counting.looks || {}).cell_width || WIDTH * (counting.spacing || 0) || null;
  }

  /**
   * By which factor to resample a View, and what about it is unlike the training images.
   *
   * heat : async function of an image; cellWidth : number, "auto" or null; pixelSize : number or null.
   * Resolves to {scale, warnings, cellWidth (px or null), told}.
   */
  async function look(view, heat, settings, counting, { cellWidth = "auto", pixelSize = null } = {}) {
    const looks = counting.looks || {}, known = NAMES.every((name) => name in looks) ? looks : null;
    const width = widthOf(counting);
    let scale = 1, auto = cellWidth === "auto";
    if (typeof cellWidth === "number") {
      if (!width) throw new CellcountError("These weights do not know the width of their cells: leave --cell-width out.");
      scale = width / cellWidth;
    } else if (auto && pixelSize && counting.pixel_size_um) {
      scale = pixelSize / counting.pixel_size_um;
      auto = false;
    }
    if (!(1 / LIMIT < scale && scale < LIMIT)) {
      const told = `the image would be resampled by ${general(scale, 3)}. Give a width or a pixel size that changes it by`;
      throw new CellcountError(`CellNet: ${told} less than ${LIMIT}.`);
    }
    const found = known && structure(view);
    if (!found || width === null) return { scale, warnings: [], cellWidth: null, told: true };
    const sizes = new Sizes(view, heat, settings, known.size), spectral = known.wavelength / found.median;
    const area = view.image.height * view.image.width;
    if (area * (Math.max(scale, spectral) / width) ** 2 < ROOM) return { scale, warnings: [], cellWidth: null, told: false };
    let [step, size] = await sizes.best(Math.trunc(Math.log(spectral) / Math.log(STEP)));
    if (!auto) step = Math.min(Math.max(roundEven(Math.log(scale) / Math.log(STEP)), -MOST), MOST);
    const mean = (await sizes.at(step)).mean;
    let [stable, n] = await sizes.stable(step);
    // Few points agree by chance; the upper end of their interval counts (one-sided, 90 %).
    stable += 1.28 * Math.sqrt(Math.max(stable * (1 - stable), 0.05) / Math.max(n, 1));
    const warnings = [], percent = (share) => `${fixed(share * 100)}%`;
    if (n < FEW / 2) {
      warnings.push("hardly a cell was found");
    } else if (stable < STABLE * known.stable) {
      const share = `${percent(stable)} of the points stay where they are, and ${percent(known.stable)} in the training images`;
      warnings.push(`when the image is made a little larger, only ${share}`);
    } else if (mean < FAINT * known.height) {
      warnings.push(`the peaks are ${fixed(mean, 2)} high on average, and ${fixed(known.height, 2)} in the training images`);
    }
    if (found.long > LONG * known.long) {
      warnings.push("it has structures larger than cells, such as uneven illumination or clumps");
    }
    if (found.short > SHORT * known.short) warnings.push("it has more fine structure, such as noise");
    if (uneven(view.shown)) {
      warnings.push("a part of it is much darker or brighter than the rest: crop it, or correct the illumination");
    }
    if (found.sharp < BLURRED * known.sharp && !warnings.length) warnings.push("it is less sharp, such as out of focus");
    const alike = [size, spectral].map((one) => 1 / ALIKE < one && one < ALIKE);
    if (auto && !warnings.length && !alike[0]) {
      const higher = await sizes.higher(step), agree = Math.max(size / spectral, spectral / size) < APART;
      if (higher && agree) scale = size;
      else if (higher || (agree && !alike[1])) warnings.push("the size of its cells could not be found");
    } else if (!auto && [spectral, size].every((one) => Math.max(scale / one, one / scale) > ALIKE)) {
      warnings.push(`its cells seem to be about ${fixed(width / size)} px wide`);
    }
    if (!warnings.length) {
      return { scale, warnings, cellWidth: width / (auto && scale === 1 ? size : scale), told: true };
    }
    warnings.push(...tones(view.sample));
    let todo = "Look at the overlay before you use the count.";
    if (auto && n >= FEW) todo += " If the cells have another size, give --cell-width.";
    const text = `The image does not look like the training images: ${warnings.join("; ")}. ${todo}`;
    return { scale, warnings: [text], cellWidth: null, told: true };
  }

  /** Whether the gray levels of the parts of an image differ much, or a part is flat and of another level. */
  function uneven(image) {
    const { data, height, width } = image, ends = (side) => {
      const n = Math.ceil(side / 4), found = [0];
      for (let i = 0; i < 4; i++) found.push(found[i] + Math.floor(n / 4) + (i < n % 4 ? 1 : 0));
      return found.map((end) => Math.min(end * 4, side));
    };
    const rows = ends(height), columns = ends(width), parts = [];
    for (let r = 0; r < 4; r++) {
      for (let c = 0; c < 4; c++) {
        parts.push(pixels.median(pixels.strided(image, 4, rows[r], columns[c], rows[r + 1], columns[c + 1])));
      }
    }
    const down = Math.floor(height / TILE), across = Math.floor(width / TILE), half = TILE / 2;
    if (!down || !across) return false;
    const level = new Float32Array(down * across), spread = new Float32Array(down * across);
    const tile = new Float32Array(half * half);
    for (let i = 0; i < level.length; i++) {
      const top = Math.floor(i / across) * TILE, left = (i % across) * TILE;
      let sum = 0;
      for (let y = 0, k = 0; y < TILE; y += 2) {
        for (let x = 0; x < TILE; x += 2) sum += tile[k++] = data[(top + y) * width + left + x];
      }
      level[i] = sum / tile.length;
      spread[i] = pixels.deviation(tile);
    }
    const usual = pixels.percentiles(spread, [75])[0];
    const ground = usual ? pixels.median(level.filter((_, i) => spread[i] > 0.5 * usual)) : 0;
    const flat = level.filter((one, i) => spread[i] < 0.2 * usual && Math.abs(one - ground) > 2 * usual).length;
    return Math.min(...parts) < fround(DIM * Math.max(...parts)) || flat / level.length > FLAT;
  }

  /** What the gray values of an unusual image suggest. */
  function tones(sample) {
    const [low, middle, high] = pixels.percentiles(sample.data, [0.5, 50, 99.5]);
    if (middle < DARK && high - middle > TAIL * (middle - low)) return ["it is bright on a dark ground, like fluorescence"];
    if (middle > 1 - DARK && middle - low > TAIL * (high - middle)) {
      return ["it is dark on a bright ground, like a stained tissue"];
    }
    return [];
  }

  cellcount.looks = { fixed, general, power, structure, look, uneven, tones, widthOf };
})(typeof self !== "undefined" ? self : globalThis);
