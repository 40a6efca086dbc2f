"use strict";
// What the page says of an image, and the picture that it shows; an image is as in page.js.

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const { fixed } = cellcount.looks;
  const coarse = root.matchMedia && root.matchMedia("(pointer: coarse)").matches; // a finger
  const hint = coarse
    ? " A tap adds a cell, a long press removes the nearest one; drag moves the image, two fingers zoom."
    : " Left click adds a cell, right click removes the nearest one; drag moves the image, the wheel zooms.";
  const LARGEST = 4096; // px, of the sides of a picture where a browser refuses the whole

  const whole = (value) => Number(fixed(value)).toLocaleString("en-US");
  const plural = (n, word) => `${whole(n)} ${word}${n === 1 ? "" : "s"}`;
  const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!]$/.test(text) ? "" : "."}`;

  function told({ result: { count, interval } }) {
    return `${plural(count, "cell")}${interval ? `, 90 % interval ${whole(interval[0])} to ${whole(interval[1])}` : ""}`;
  }

  /** The interval, or why there is none. */
  function interval({ result, threshold, own, warnings }) {
    if (result.interval) return `90 % interval ${whole(result.interval[0])} to ${whole(result.interval[1])}`;
    if (threshold !== own) return `No interval: it holds at the threshold ${fixed(own, 3)} alone.`;
    return warnings.length ? "No interval: it holds for images like those of the training alone." : "No interval for this image.";
  }

  function facts(image) {
    const { added, removed } = image.corrections.numbers, { scale, cellWidth, padding, truth } = image;
    const parts = [`${image.width} × ${image.height} px, counted in ${fixed(image.seconds, 1)} s`];
    if (truth) parts.unshift(`simulated, with ${plural(truth, "cell")}`);
    if (cellWidth) parts.push(`cells about ${fixed(cellWidth)} px wide`);
    if (scale > 1) parts.push(`enlarged ${fixed(scale, 2)} times for counting`);
    if (scale < 1) parts.push(`reduced to ${fixed(scale, 2)} of its size for counting`);
    if (padding > 0) parts.push(`${fixed(100 * padding)} % of it is constant`);
    if (added || removed) parts.push(`${added} added, ${removed} removed by hand`);
    if ((added || removed) && image.result.interval) parts.push("the interval is that of an uncorrected count of this size");
    return sentence(parts.join("; "));
  }

  /** How many doubtful places a person has not seen. */
  function doubts({ corrections, doubts: all }) {
    const open = all.filter((one) => corrections.open(one)).length;
    return open ? `${plural(open, "place")} to look at, the most doubtful first.` : "No doubtful place is left.";
  }

  /** Of saved images those that nobody corrected, since `cellcount train` takes them as they are. */
  function untouched(images) {
    const left = images.filter((one) => !one.corrections.changed), n = left.length;
    if (!n || images.length < 2) return "";
    const which = n < 4 ? left.map((one) => one.name).join(", ") : `${whole(n)} of ${plural(images.length, "image")}`;
    return ` Nothing was corrected in ${which}: if you did not look, train without (--images names those to take).`;
  }

  const twice = (name) =>
    `${name}: another image of this name is in the list. Rename one of them: files that are saved here name images.`;

  function unshown({ name, width, height }) {
    return `${name} was counted, but this browser cannot show a picture of ${width} x ${height} px.`;
  }

  /** An ImageBitmap of an image's gray values, smaller where a browser refuses the whole; or null. */
  async function picture({ gray, width, height }) {
    const pixels = (values, w, h) => new ImageData(cellcount.exports.rgba(values, 0, values.length), w, h);
    const made = (values, w, h) => createImageBitmap(pixels(values, w, h)).catch(() => null);
    const found = await made(gray, width, height), step = Math.ceil(Math.max(width, height) / LARGEST);
    if (found || step < 2) return found;
    const w = Math.floor(width / step), h = Math.floor(height / step), small = new Uint8Array(w * h);
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) small[y * w + x] = gray[y * step * width + x * step];
    return made(small, w, h);
  }

  cellcount.words = { hint, whole, plural, sentence, told, interval, facts, doubts, untouched, twice, unshown, picture };
})(self);
