"use strict";
// The page: files in, counts, corrections by hand, audit, files out. See index.html, and worker.js for the messages.
//
// An image is {id, file, name, status: "waiting", "counting", "done" or "failed", ...}; once counted it has height, width,
// gray (Uint8Array), corrections, found, rule, warnings, cellWidth, scale, padding, threshold, own, doubts, seconds, and
// result: {count, interval} after corrections.

(function (root) {
  const { cellcount } = root, { loading, exports } = cellcount;
  const { fixed } = cellcount.looks, { words } = cellcount, { whole, plural, told } = words;
  const $ = (id) => document.getElementById(id);
  const CLOSE = 3; // screen px for one of the image, where a doubtful cell is shown
  const IDLE = 1500; // ms after the page is there, when it loads the counting

  const images = new Map(); // id: image
  let shown = null, audit = null, worker = null, engine = null, counting = null, last = 0, place = -1;

  const viewer = new cellcount.Viewer($("viewer"), { act, key });

  const say = (text) => void ($("status").textContent = text);

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // ---- the worker

  /** Loads the counting, once; rejects if it cannot be. */
  function load() {
    engine = engine || start().catch((error) => {
      engine = null;
      throw error;
    });
    return engine;
  }

  async function start() {
    $("ready").textContent = "Loading the counting (8 MB) …";
    const files = loading.engineFiles((share) => {
      if (!engine) return; // one of the files could not be loaded, which is told
      $("ready").textContent = `Loading the counting: ${Math.round(100 * share)} % of 8 MB`;
      if (counting) progress(share < 1 ? "Loading the counting" : "Starting the counting", share);
    });
    const [made, found] = await Promise.all([loading.worker(), files]).catch((error) => {
      $("ready").textContent = error.message;
      throw error;
    });
    worker = made;
    const ready = new Promise((done, failed) => {
      worker.onerror = (event) => failed(new Error(event.message || "the worker could not be started"));
      worker.onmessage = ({ data }) => {
        if (data.type === "ready") done(data);
        else if (data.type === "error" && data.id === null) failed(new Error(data.message));
        else (answers[data.type] || (() => {}))(data, images.get(data.id));
      };
    });
    worker.postMessage({ type: "load", threads: null, ...found }, [found.model, found.wasm, found.mjs]);
    const about = await ready.catch((error) => {
      $("ready").textContent = `The counting cannot be started: ${error.message}. A newer browser may help.`;
      throw error;
    });
    worker.onerror = (event) => { // out of memory, perhaps: the next image gets another worker
      worker.terminate();
      worker = engine = null;
      for (const one of images.values()) one.asked = false; // its answer will not come
      if (counting) answers.error({ message: `The counting stopped (${event.message}).` }, counting);
    };
    const threads = about.threads > 1 ? `${about.threads} threads` : "one thread";
    const now = `Ready: counts with ${threads}`;
    $("ready").textContent = `${now}.`;
    document.body.dataset.ready = "true";
    loading.keep().then((kept) => kept && ($("ready").textContent = `${now}, and works without a network.`));
    return about;
  }

  const answers = {
    progress({ step, share }, image) {
      if (image === shown) progress(step === "read" ? "Reading the image" : "Counting", share);
    },
    result(data, image) {
      counting = null;
      if (image) counted(image, data);
      else { // it was removed while it was counted
        if (data.bitmap) data.bitmap.close();
        worker.postMessage({ type: "forget", id: data.id });
      }
      follow();
    },
    points(data, image) {
      if (!image) return;
      image.asked = false;
      Object.assign(image, { rule: data.rule, threshold: data.threshold, doubts: data.doubts });
      image.corrections.set(data.points, data.scores);
      place = -1;
      changed(image);
      if (image.wanted !== undefined) askThreshold(image, image.wanted);
    },
    error({ message, of }, image) {
      if (of === "count" || (image && image === counting)) {
        counting = null;
        if (image) { // else it was removed while it was counted: the others go on
          Object.assign(image, { status: "failed", error: message });
          row(image);
        }
        follow();
      } else if (image) image.asked = false;
      if (image && image === shown && image.status === "failed") show(image);
      else say(message);
    },
  };

  /** Counts the next image that waits. */
  async function follow() {
    const next = counting ? null : [...images.values()].find((one) => one.status === "waiting");
    total();
    if (!next) return;
    counting = next;
    next.status = "counting";
    row(next);
    if (!shown || shown.status !== "done") show(next);
    try {
      await load();
    } catch (error) {
      answers.error({ message: error.message }, next);
      return;
    }
    if (counting === next) worker.postMessage({ type: "count", id: next.id, file: next.file, options: next.options });
    else follow();
  }

  function counted(image, data) {
    const { points, scores, type, count, interval, bitmap, ...rest } = data;
    if (image.bitmap) image.bitmap.close();
    Object.assign(image, rest, { status: "done", bitmap, name: image.name, corrections: new cellcount.Corrections(), saved: true });
    image.corrections.set(points, scores);
    image.radius = exports.radiusOf(image.corrections.found);
    recount(image);
    row(image);
    const failed = shown && shown.status === "failed";
    if (image === shown || !shown || failed) show(image);
    else close(image);
    const more = [...images.values()].some((one) => one.status === "waiting");
    say(`${image.name}: ${told(image)}.${more ? "" : words.hint}`);
  }

  /** Frees the picture of an image that is not shown; its gray values make a new one. */
  function close(image) {
    if (!image.bitmap || image === shown) return;
    image.bitmap.close();
    image.bitmap = null;
  }

  // ---- files in

  function take(files) {
    let first = null;
    for (const file of files) {
      const id = ++last, image = { id, file, name: file.name, status: "waiting", options: options() };
      if (doubled(image)) Object.assign(image, { status: "failed", error: words.twice(file.name) });
      images.set(id, image);
      row(image);
      first = first || image;
    }
    if (!first) return;
    $("panel").hidden = false;
    document.body.dataset.used = "true";
    if (!shown || shown.status === "failed") show(first);
    if (audit) say("The new images are not in the audit.");
    follow();
  }

  /** Whether another image that counts has this name. */
  const doubled = (image) => [...images.values()].some((one) => one !== image && one.name === image.name && one.status !== "failed");

  function options() {
    if ($("width").value === "px" && !$("px").checkValidity()) $("width").value = "auto", $("given").hidden = true; // to be seen
    const width = $("width").value, px = Number($("px").value);
    return { channel: $("channel").value, cellWidth: width === "none" ? null : width === "px" ? px : "auto" };
  }

  function remove(image) {
    const lost = image.status === "done" && image.corrections.changed && !image.saved;
    if (lost && !confirm(`Remove ${image.name} and its corrections?`)) return;
    images.delete(image.id);
    if (image.row) image.row.remove();
    if (worker && image.status === "done") worker.postMessage({ type: "forget", id: image.id });
    if (image === shown) {
      shown = null;
      const next = [...images.values()].find((one) => one.status === "done") || images.values().next().value;
      if (next) show(next);
      else empty();
    }
    if (image.bitmap) image.bitmap.close();
    total();
  }

  function empty() {
    viewer.clear();
    for (const id of ["panel", "tools", "failed", "working"]) $(id).hidden = true;
    $("start").hidden = false;
  }

  // ---- what is shown

  function progress(step, share) {
    const text = `${step}${step.endsWith("the counting") ? "" : ` ${shown ? shown.name : ""}`}`;
    if ($("step").textContent !== text) $("step").textContent = text;
    $("progress").value = share;
  }

  async function show(image) {
    const before = shown;
    shown = image;
    if (before && before !== image) close(before);
    const { status } = image, done = status === "done";
    $("start").hidden = true;
    $("working").hidden = status !== "counting" && status !== "waiting";
    $("tools").hidden = !done;
    $("failed").hidden = status !== "failed";
    $("failed").textContent = image.error || "";
    if (!done) {
      viewer.clear();
      progress(status === "failed" ? "" : worker ? "Counting" : "Loading the counting", 0);
    }
    for (const one of images.values()) if (one.row) one.row.querySelector("button").setAttribute("aria-pressed", String(one === image));
    for (const id of ["doubts", "layers", "save"]) $(id).hidden = !done;
    for (const id of ["threshold", "own"]) $(id).disabled = !done;
    place = -1;
    render();
    if (!done) return;
    image.bitmap = image.bitmap || (await words.picture(image));
    if (shown !== image) return close(image);
    $("failed").hidden = Boolean(image.bitmap);
    if (!image.bitmap) $("failed").textContent = words.unshown(image);
    else viewer.show(image), marks(image);
    return undefined;
  }

  function marks({ corrections, radius }) {
    viewer.setMarks({ found: corrections.kept, added: corrections.added, removed: corrections.left }, radius);
  }

  function recount(image) {
    const { found, added, removed } = image.corrections.numbers;
    image.result = cellcount.corrected(found, image.rule, { added, removed });
  }

  /** After a correction or at another threshold: count, interval, marks, table. */
  function changed(image) {
    recount(image);
    if (image === shown) {
      marks(image);
      render();
    }
    row(image);
    total();
  }

  function render() {
    const image = shown, done = image.status === "done";
    $("name").textContent = image.name;
    $("number").textContent = done ? whole(image.result.count) : "–";
    $("unit").textContent = done && image.result.count === 1 ? "cell" : "cells";
    $("count").dataset.done = String(done);
    $("warnings").replaceChildren(...(done ? image.warnings : []).map((text) => element("li", { textContent: words.sentence(text) })));
    if (!done) {
      $("interval").textContent = image.status === "failed" ? "not counted" : "";
      $("facts").textContent = "";
      return;
    }
    $("interval").textContent = words.interval(image);
    $("facts").textContent = words.facts(image);
    $("undo").disabled = !image.corrections.done.length;
    $("redo").disabled = !image.corrections.undone.length;
    $("level").textContent = fixed(image.threshold, 3);
    $("threshold").value = image.threshold;
    $("own").textContent = `Reset to ${fixed(image.own, 3)}`;
    $("own").disabled = image.threshold === image.own;
    if (place < 0) $("doubt").textContent = words.doubts(image);
    for (const id of ["keep", "drop"]) $(id).disabled = place < 0;
  }

  /** The line of an image in the table. */
  function row(image) {
    if (!image.row) {
      const choose = element("button", { type: "button", textContent: image.name, onclick: () => show(image) });
      const away = element("button", { type: "button", textContent: "×", onclick: () => remove(image) });
      choose.disabled = away.disabled = Boolean(audit);
      choose.setAttribute("aria-pressed", "false");
      away.setAttribute("aria-label", `Remove ${image.name}`);
      const cells = [element("th", { scope: "row" }, choose), element("td"), element("td"), element("td", {}, away)];
      image.row = element("tr", {}, ...cells);
      $("rows").append(image.row);
    }
    const [, number, interval] = image.row.children, { status, result, error = "" } = image;
    image.row.dataset.status = status;
    number.hidden = status === "failed";
    interval.colSpan = number.hidden ? 2 : 1;
    number.textContent = status === "done" ? whole(result.count) : { waiting: "waits", counting: "…" }[status] || "";
    const ends = result && result.interval ? result.interval.map(whole).join("–") : "";
    const none = status === "done" && image.warnings.length ? "see its warning" : "";
    interval.textContent = status === "failed" ? error.replace(`${image.name}: `, "") : ends || none;
  }

  function total() {
    const done = [...images.values()].filter((one) => one.status === "done");
    $("sum").hidden = images.size < 2;
    $("begin").hidden = Boolean(audit) || !done.length;
    const sum = done.reduce((all, one) => all + one.result.count, 0), of = `Total of ${done.length} of ${plural(images.size, "image")}`;
    const cells = [of, whole(sum), "see the audit", ""].map((textContent, i) => element(i ? "td" : "th", { textContent }));
    cells[0].scope = "row";
    $("sum").replaceChildren(element("tr", {}, ...cells));
    for (const button of document.querySelectorAll("[data-save]")) button.disabled = !done.length;
  }

  // ---- corrections

  function act(what, at, reach) {
    const { corrections } = shown;
    if (shown.status !== "done") return;
    if (audit && (audit.window().image !== shown || !audit.holds(at))) {
      say("Only cells of the bright part count in this window.");
      return;
    }
    if (what === "add") {
      if (!corrections.add(at)) return say("There is a point already.");
      after("Added");
    } else {
      const mark = corrections.nearest(at, reach);
      if (!mark) return say("No point is near enough to be removed.");
      if (audit && !audit.holds(mark)) return say("The nearest point is outside of this window.");
      corrections.remove(mark);
      after("Removed");
    }
    return undefined;
  }

  function after(what) {
    shown.saved = false;
    changed(shown);
    if (audit) auditing();
    say(`${what}. ${told(shown)}.`);
  }

  function step(forward) {
    if (!shown || shown.status !== "done") return;
    const { corrections } = shown, next = (forward ? corrections.undone : corrections.done).at(-1);
    if (!next) return;
    if (audit && !audit.holds(next.mark)) return say("That step was outside of this window.");
    corrections[forward ? "redo" : "undo"]();
    if (!audit) viewer.reach(next.mark);
    after(forward ? "Done again" : "Undone");
  }

  // ---- doubtful cells

  function doubt(direction) {
    const { doubts, corrections } = shown, n = doubts.length;
    const fits = (one) => !audit || (audit.window().image === shown && audit.holds(one));
    for (let i = 1; i <= n; i++) {
      const at = (place + direction * i + (place < 0 && direction < 0 ? 1 : 0) + n * 2) % n;
      if (!corrections.open(doubts[at]) || !fits(doubts[at])) continue;
      place = at;
      const { counted, score } = doubts[at];
      $("doubt").textContent = `Doubtful place ${at + 1} of ${n}: ${counted ? "counted" : "not counted"}, score ${fixed(score, 2)}.`;
      say(`${$("doubt").textContent} Enter: is a cell; Delete: is none.`);
      for (const id of ["keep", "drop"]) $(id).disabled = false;
      viewer.point(doubts[at], audit ? 0 : CLOSE);
      return;
    }
    place = -1;
    viewer.doubtful = false;
    $("doubt").textContent = audit ? "No doubtful place is left in this window." : words.doubts(shown);
    say($("doubt").textContent);
    render();
  }

  function answer(isCell) {
    const one = shown.doubts[place], { corrections } = shown;
    corrections.note(one);
    const mark = corrections.nearest(one, 0.5);
    let done = "Kept";
    if (isCell && !mark && corrections.add(one)) done = "Added";
    else if (!isCell && mark) {
      corrections.remove(mark);
      done = "Removed";
    } else if (!isCell) done = "Left out";
    shown.saved = shown.saved && (done === "Kept" || done === "Left out");
    changed(shown);
    if (audit) auditing();
    doubt(1);
    say(`${done}. ${told(shown)}. ${$("doubt").textContent}`);
  }

  function key(name) {
    const letter = name.toLowerCase(), asked = viewer.doubtful && place >= 0;
    if (letter === "n" || letter === "p") doubt(letter === "n" ? 1 : -1);
    else if (asked && name === "Enter") answer(true);
    else if (asked && (name === "Delete" || name === "Backspace")) answer(false);
    else if (asked && name === "Escape") {
      place = -1;
      viewer.doubtful = false;
      viewer.redraw("marks");
      render();
    } else return false;
    return true;
  }

  // ---- threshold

  function askThreshold(image, threshold) {
    if (image.asked) {
      image.wanted = threshold; // one question at a time: the last one counts
      return;
    }
    image.wanted = undefined;
    image.asked = true;
    load().then(() => worker.postMessage({ type: "threshold", id: image.id, threshold }), (error) => answers.error(error, image));
  }

  // ---- audit

  function auditing() {
    const { total: sum, interval, notes } = audit.told, { image, predicted } = audit.window();
    const of = audit.at < audit.planned ? `of ${audit.planned}` : `(${audit.planned} were planned)`;
    const where = `Window ${audit.at + 1} ${of}, of ${whole(audit.all.length)} in all, in ${image.name}; seed ${audit.seed}.`;
    $("window").textContent = `${where} Correct the bright part: ${predicted} found, ${audit.counted(audit.at)} now.`;
    $("total").replaceChildren(...(sum ? [element("strong", { textContent: `${sum} cells in all` }), `, ${interval}`] : [notes[0]]));
    $("notes").replaceChildren(...(sum ? notes : []).map((note) => element("li", { textContent: note })));
    $("back").disabled = !audit.at;
    $("windows").disabled = !audit.done;
  }

  async function shownWindow() {
    const { image, box } = audit.window();
    if (image !== shown) await show(image);
    viewer.window(box);
    place = -1;
    auditing();
    render();
    viewer.above.focus({ preventScroll: true });
  }

  async function begin() {
    const done = [...images.values()].filter((one) => one.status === "done");
    const windows = Math.round(Number($("number-of").value)), seed = Math.round(Number($("seed").value));
    if (!(windows >= 5) || !(seed >= 0)) return say("Give at least 5 windows, better 20, and a seed from 0 on.");
    if (counting || [...images.values()].some((one) => one.status === "waiting")) return say("Wait until all images are counted.");
    audit = new cellcount.Audit(done, windows, seed);
    during(true);
    await shownWindow();
    return say(`${audit.planned} of ${whole(audit.all.length)} windows are drawn. Correct the bright part of each one, then go on.`);
  }

  function during(on) {
    for (const id of ["options", "again"]) $(id).disabled = on;
    for (const button of $("rows").querySelectorAll("button")) button.disabled = on;
    $("audit").hidden = !on;
    $("begin").hidden = on;
    document.body.dataset.audit = String(on);
    $("panel").scrollTop = 0; // where the audit is
    if (on) scrollTo(0, 0);
  }

  function end() {
    if (audit.unsaved && !confirm("End the audit? Its windows were not saved.")) return;
    const { total: sum, interval } = audit.told;
    viewer.window(null);
    audit = null;
    during(false);
    total();
    say(sum ? `The audit gave ${sum} cells, ${interval}.` : "The audit has ended.");
  }

  // ---- files out

  async function save(what) {
    const done = [...images.values()].filter((one) => one.status === "done");
    const stem = done.length === 1 ? done[0].name.replace(/\.[^.]+$/, "") : "cellcount";
    if (what === "points") exports.save(exports.points(done), `${stem}-points.csv`, "text/csv");
    else if (what === "counts") exports.save(exports.counts(done), `${stem}-counts.csv`, "text/csv");
    else if (what === "labelstudio") exports.save(exports.labelStudio(done), `${stem}-labelstudio.json`, "application/json");
    else {
      say("Drawing the picture …");
      exports.save(await exports.picture(shown), `${shown.name.replace(/\.[^.]+$/, "")}-overlay.png`);
    }
    if (what === "points" || what === "labelstudio") for (const one of done) one.saved = true;
    say(`Saved.${what === "points" || what === "labelstudio" ? words.untouched(done) : ""}`);
  }

  // ---- controls

  const onclick = (id, run) => $(id).addEventListener("click", run);
  const every = (selector, run) => document.querySelectorAll(selector).forEach(run);

  every("[data-choose]", (button) => button.addEventListener("click", () => $("file").click()));
  every("[data-view]", (button) => button.addEventListener("click", () => {
    const { view } = button.dataset;
    if (view === "fit") viewer.fit(viewer.box || null);
    else viewer.zoom(view === "in" ? 1.4 : 1 / 1.4);
  }));
  every("[data-save]", (button) => button.addEventListener("click", () => save(button.dataset.save).catch((error) => say(error.message))));
  every("#layers input", (box) => box.addEventListener("change", () => {
    viewer.layers[box.name] = box.checked;
    viewer.redraw("image", "marks");
  }));
  every("[name=mode]", (radio) => radio.addEventListener("change", () => {
    viewer.mode = radio.value;
    $("viewer").dataset.mode = radio.value;
  }));
  $("file").addEventListener("change", () => {
    take([...$("file").files]);
    $("file").value = "";
  });
  onclick("undo", () => step(false));
  onclick("redo", () => step(true));
  onclick("next", () => (viewer.above.focus({ preventScroll: true }), doubt(1)));
  onclick("previous", () => (viewer.above.focus({ preventScroll: true }), doubt(-1)));
  onclick("keep", () => answer(true));
  onclick("drop", () => answer(false));
  onclick("draw", () => begin().catch((error) => say(error.message)));
  onclick("forth", () => {
    if (audit.next()) shownWindow();
    else auditing();
    if (audit.done === audit.planned) say("The planned windows are done; further ones make the interval narrower.");
  });
  onclick("back", () => {
    audit.at--;
    shownWindow();
  });
  onclick("windows", () => exports.save((audit.saved = audit.table()), "audit-result.csv", "text/csv"));
  onclick("stop", end);
  $("threshold").addEventListener("input", () => {
    const value = Number($("threshold").value), { own } = shown;
    askThreshold(shown, Math.abs(value - own) < 0.006 ? null : value);
  });
  onclick("own", () => askThreshold(shown, null));
  $("width").addEventListener("change", () => ($("given").hidden = $("width").value !== "px"));
  onclick("again", () => {
    if (!shown || shown.status === "counting" || shown.status === "waiting") return;
    if (doubled(shown)) return say(words.twice(shown.name));
    if ($("width").value === "px" && !$("px").checkValidity()) return say("Give the width of a cell in px, from 2 to 400.");
    const { corrections, saved } = shown;
    if (corrections && corrections.changed && !saved && !confirm("Counting again removes the corrections. Go on?")) return;
    Object.assign(shown, { status: "waiting", options: options(), error: "" });
    row(shown), show(shown), follow();
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.matches && event.target.matches("input[type=number], select");
    if (!(event.ctrlKey || event.metaKey) || event.altKey || typing) return;
    const letter = event.key.toLowerCase();
    if (letter !== "z" && letter !== "y") return;
    event.preventDefault();
    step(letter === "y" || event.shiftKey);
  });
  addEventListener("beforeunload", (event) => {
    if ((audit && audit.unsaved) || [...images.values()].some((one) => one.saved === false)) event.preventDefault();
  });

  let inside = 0; // elements below the pointer that drags a file
  const files = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  addEventListener("dragenter", (event) => files(event) && ($("dropping").hidden = !(inside += 1)));
  addEventListener("dragleave", (event) => files(event) && ($("dropping").hidden = !(inside = Math.max(0, inside - 1))));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("dropping").hidden = !(inside = 0);
    if (event.dataTransfer) loading.dropped(event.dataTransfer).then(take, (error) => say(error.message));
  });

  // ---- start

  for (const sample of loading.files.samples) {
    const picture = element("img", { src: sample.thumbnail, alt: "", width: 132, height: 99, loading: "lazy" });
    const button = element("button", { type: "button" }, picture, element("span", { textContent: `${sample.cells} cells` }));
    button.addEventListener("click", async () => {
      try {
        take([await loading.sample(sample)]);
        for (const image of images.values()) if (image.name === sample.title) image.truth = sample.cells;
      } catch (error) {
        say(error.message);
      }
    });
    $("samples").append(element("li", {}, button));
  }
  $("try").hidden = !loading.files.samples.length;
  const { single } = loading.files;
  if (single) Object.assign($("single"), { href: single, hidden: false });
  if (loading.files.inline) $("book").hidden = true;
  total();

  const saving = navigator.connection && navigator.connection.saveData; // who pays for data waits instead
  loading.settle(() => images.size > 0).then(() => {
    document.body.dataset.settled = "true";
    if (!saving && !loading.files.inline) setTimeout(() => load().catch(() => {}), IDLE);
  });
  Object.assign(cellcount, { page: { images, viewer, take, load, get shown() { return shown; }, get audit() { return audit; } } });
})(self);
