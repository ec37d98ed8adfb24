"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const byKey = new Map(data.runs.map((run) => [run.key, run]));
const METRICS = {
  image_auroc: "AUROC", image_ap: "AP", pixel_auroc: "pixel AUROC", pixel_ap: "pixel AP", pixel_pro: "PRO",
};

// Elements from text only: nothing here is ever parsed as HTML.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
function draw(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const meanCurve = (curves) => curves[0].map((_, place) => mean(curves.map((curve) => curve[place])));
const distinct = (values) => [...new Set(values)];
const percent = (value) => (value === undefined ? "–" : (100 * value).toFixed(1));

// ---- Tables: sort, filter, columns -------------------------------------------------------------
function prepare(section) {
  const table = section.querySelector("table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const search = section.querySelector("input[type=search]");
  const count = section.querySelector(".count");
  const means = rows.filter((row) => row.classList.contains("mean"));
  const lines = rows.filter((row) => !row.classList.contains("mean"));

  function place(ordered) {
    close(section);
    body.append(...ordered, ...means);
  }
  function sort(column) {
    const before = heads[column].getAttribute("aria-sort");
    const first = column === 0 ? "ascending" : "descending";
    const other = column === 0 ? "descending" : "ascending";
    const next = before === first ? other : before === other ? null : first;
    for (const head of heads) head.removeAttribute("aria-sort");
    if (next === null) return place(lines);
    heads[column].setAttribute("aria-sort", next);
    const sign = next === "ascending" ? 1 : -1;
    const texts = new Intl.Collator("en", { numeric: true });
    place([...lines].sort((one, other) => {
      const [a, b] = [one.cells[column], other.cells[column]];
      if (column === 0) return sign * texts.compare(a.textContent, b.textContent);
      const [x, y] = [a.dataset.value, b.dataset.value];
      if (x === undefined || y === undefined) {
        if (x !== y) return x === undefined ? 1 : -1; // gaps stay last
        return sign * texts.compare(a.textContent.trim(), b.textContent.trim());
      }
      return sign * (Number(x) - Number(y));
    }));
  }
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column)));

  function filter() {
    close(section);
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of lines) {
      const text = row.cells[0].textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${lines.length} rows; means are over all` : "";
  }
  search?.addEventListener("input", filter);

  for (const box of section.querySelectorAll("[data-column]")) {
    box.addEventListener("change", () => {
      close(section);
      const column = Number(box.dataset.column);
      for (const row of [...rows, ...table.tHead.rows]) {
        if (!row.classList.contains("groups")) row.cells[column].hidden = !box.checked;
      }
      const groups = section.querySelector(".groups");
      if (groups) span(groups, heads);
    });
  }
  table.addEventListener("click", (event) => {
    const button = event.target.closest("button.cell");
    if (button) toggle(section, button);
  });
  section.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = section.querySelector("button.cell[aria-expanded=true]");
    if (open && !event.target.closest(".tools input")) {
      close(section);
      open.focus();
    }
  });
}

// The upper line of headings, as wide as what is left of each group.
function span(groups, heads) {
  let column = 1;
  for (const cell of [...groups.cells].slice(1)) {
    const width = Number(cell.dataset.width ?? (cell.dataset.width = cell.colSpan));
    const left = heads.slice(column, column + width).filter((head) => !head.hidden).length;
    cell.hidden = left === 0;
    if (left) cell.colSpan = left;
    column += width;
  }
}

function close(section) {
  section.querySelector("tr.detail")?.remove();
  section.querySelector("button.cell[aria-expanded=true]")?.setAttribute("aria-expanded", "false");
}

function toggle(section, button) {
  const open = button.getAttribute("aria-expanded") === "true";
  close(section);
  if (open) return;
  button.setAttribute("aria-expanded", "true");
  const row = button.closest("tr");
  const cells = [...row.cells].filter((cell) => !cell.hidden).length;
  const head = [...section.querySelectorAll("thead tr:last-child th button")][button.closest("td").cellIndex];
  const corner = section.querySelector("thead tr:last-child th button").textContent;
  const named = row.classList.contains("mean") ? "" : `${corner} `;
  const title = `${named}${row.cells[0].textContent}, ${head.getAttribute("aria-label")}: ${button.textContent}`;
  const body = panel(title, button, () => {
    close(section);
    button.focus();
  });
  row.after(make("tr", { class: "detail" }, make("td", { colspan: cells }, body)));
  fit(section);
}

// What is open is as wide as what can be seen of the table, also when the table is wider.
function fit(section) {
  const scroll = section.querySelector(".scroll");
  scroll.style.setProperty("--view", `${scroll.clientWidth}px`);
}
addEventListener("resize", () => document.querySelectorAll("section.table").forEach(fit));

// ---- What is behind a cell ---------------------------------------------------------------------
function panel(title, button, onClose) {
  const keys = button.dataset.keys.split(" ");
  const runs = keys.map((key) => byKey.get(key)).filter(Boolean);
  const closing = make("button", { type: "button", class: "plain close" }, "Close");
  closing.addEventListener("click", onClose);
  const body = make("div", { class: "panel", role: "group", "aria-label": title },
    make("div", { class: "head" }, make("h3", {}, title), closing),
    button.title ? make("p", { class: "hint" }, button.title) : null);
  if (!runs.length) {
    body.append(make("p", { class: "hint" }, `Runs: ${keys.join(", ")}. Their details are not in this page.`));
    return body;
  }
  body.append(charts(runs), commandOf(runs), listOf(runs));
  const pictured = runs.filter((run) => run.heat);
  const classes = distinct(runs.map((run) => run.class));
  if (pictured.length && classes.length === 1) {
    body.append(heatmaps(pictured, data.classes[classes[0]]));
  } else if (pictured.length) {
    body.append(make("p", { class: "hint" }, "Heatmaps: open a cell of a single class."));
  } else if (classes.some((name) => data.classes[name]?.left_out)) {
    body.append(make("p", { class: "hint" }, "Heatmaps: this page had no room left; they are in heatmaps/ of the output folder."));
  }
  return body;
}

function listOf(runs) {
  const metrics = Object.keys(METRICS).filter((name) => runs.some((run) => name in run.metrics));
  const several = distinct(runs.map((run) => run.class)).length > 1;
  const methods = distinct(runs.map((run) => run.method)).length > 1;
  const columns = [
    ...(several ? [["class", (run) => run.className]] : []),
    ...(methods ? [["method", (run) => run.method]] : []),
    ["seed", (run) => run.seed, true],
    ...metrics.map((name) => [METRICS[name], (run) => percent(run.metrics[name]), true]),
    ["loss", (run) => run.loss, true],
    ["training, s", (run) => run.seconds, true],
    ["run", (run) => make("code", {}, run.key)],
    ["commit", (run) => run.commit],
    ["device", (run) => `${run.device}, ${run.determinism}`],
  ];
  const head = make("tr", {}, ...columns.map(([name, , number]) => make("th", { scope: "col", class: number ? "number" : null }, name)));
  const lines = runs.map((run) => make("tr", {},
    ...columns.map(([, value, number]) => make("td", { class: number ? "number" : null }, value(run)))));
  return make("div", { class: "runs", tabindex: "0", role: "region", "aria-label": "Runs" },
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines)));
}

// The shortest command that selects these runs and as few others of their benchmark as can be.
function commandText(runs) {
  const name = runs[0].benchmark;
  let left = data.runs.filter((run) => run.benchmark === name && run.folder === runs[0].folder);
  const chosen = [];
  runs[0].fields.forEach(([field], place) => {
    const values = distinct(runs.map((run) => run.fields[place][1]));
    const fewer = left.filter((run) => values.includes(run.fields[place][1]));
    if (fewer.length < left.length) {
      chosen.push(`${field}=${values.join(",")}`);
      left = fewer;
    }
  });
  const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  return {
    text: ["fcdd run", quote(name), ...chosen.map((one) => `--only ${quote(one)}`)].join(" "),
    others: left.length - runs.length,
  };
}

function commandOf(runs) {
  if (!runs.every((run) => run.benchmark && run.benchmark === runs[0].benchmark)) {
    return make("p", { class: "hint" }, "No single command: these runs are of several benchmarks, or their folder has no plan.");
  }
  const { text, others } = commandText(runs);
  const copy = make("button", { type: "button", class: "plain" }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(copy.previousElementSibling);
      copy.textContent = "Selected";
    }
  });
  const more = others > 0 ? ` It also covers ${others} other run${others > 1 ? "s" : ""}.` : "";
  return make("div", {},
    make("div", { class: "command" }, make("pre", { tabindex: "0" }, text), copy),
    make("p", { class: "hint" }, `Makes these runs again, into a new folder (--out).${more} Results lie in “${runs[0].folder}”.`));
}

// ---- Charts ------------------------------------------------------------------------------------
const WIDE = 240, HIGH = 150, LEFT = 34, RIGHT = 8, TOP = 8, BOTTOM = 30;

function chart(title, { x, y, xName, yName, xTicks, yTicks, label }, ...shapes) {
  const svg = draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label });
  for (const [value, name] of xTicks) {
    svg.append(draw("line", { class: "rule", x1: x(value), x2: x(value), y1: TOP, y2: HIGH - BOTTOM }));
    svg.append(text(x(value), HIGH - BOTTOM + 12, name, "middle"));
  }
  for (const [value, name] of yTicks) {
    svg.append(draw("line", { class: "rule", x1: LEFT, x2: WIDE - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(text(LEFT - 4, y(value) + 3, name, "end"));
  }
  svg.append(...shapes);
  svg.append(draw("path", { class: "axis", d: `M${LEFT},${TOP}V${HIGH - BOTTOM}H${WIDE - RIGHT}` }));
  svg.append(text((LEFT + WIDE - RIGHT) / 2, HIGH - 5, xName, "middle"));
  return make("div", { class: "chart" }, make("h3", {}, title), svg, yName ? make("p", { class: "hint" }, yName) : null);
}
function text(x, y, content, anchor) {
  const element = draw("text", { x, y, "text-anchor": anchor });
  element.textContent = content;
  return element;
}
function line(points, kind) {
  return draw("path", { class: kind, d: points.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("") });
}
const scale = (low, high, from, to) => (value) => from + (to - from) * (value - low) / (high - low || 1);
const across = (low, high) => scale(low, high, LEFT, WIDE - RIGHT);
const upward = (low, high) => scale(low, high, HIGH - BOTTOM, TOP);
const UNIT = [[0, "0"], [0.5, "0.5"], [1, "1"]];

function charts(runs) {
  const box = make("div", { class: "blocks" });
  const scored = runs.filter((run) => run.roc);
  if (scored.length) {
    box.append(rate(scored, "roc", "ROC", "False alarm rate", "Detection rate"));
    box.append(rate(scored, "precision", "Precision–recall", "Recall", "Precision"));
    const same = scored.filter((run) => run.edges === scored[0].edges);
    box.append(histogram(same));
  }
  const trained = runs.filter((run) => run.losses && run.epochs.length === runs[0].epochs?.length);
  if (trained.length) box.append(training(trained, "losses", "epochs", "Training loss", 1));
  const tested = trained.filter((run) => run.aurocs);
  if (tested.length) box.append(training(tested, "aurocs", "aurocEpochs", "Test AUROC by epoch", 1000));
  return box;
}

function rate(runs, field, title, xName, yName) {
  const [x, y] = [across(0, 1), upward(0, 1)];
  const curves = runs.map((run) => run[field]);
  const middle = meanCurve(curves);
  const points = (curve) => curve.map((value, place) => [x(place / (curve.length - 1)), y(value / 1000)]);
  const base = mean(runs.map((run) => run.anomalous));
  const chance = field === "roc" ? [[x(0), y(0)], [x(1), y(1)]] : [[x(0), y(base)], [x(1), y(base)]];
  const at = field === "roc" ? 0.1 : 0.9;
  const value = (middle[Math.round(at * (middle.length - 1))] / 1000).toFixed(2);
  return chart(title, {
    x, y, xName, xTicks: UNIT, yTicks: UNIT,
    yName: `${yName} ${value} at ${xName.toLowerCase()} ${at}`,
    label: `${title}: ${yName.toLowerCase()} ${value} at ${xName.toLowerCase()} ${at}, mean of ${runs.length} runs`,
  }, line(chance, "chance"), ...(curves.length > 1 && curves.length <= 20 ? curves.map((curve) => line(points(curve), "one")) : []), line(points(middle), "mean"));
}

function histogram(runs) {
  const { edges, logarithmic } = data.edges[runs[0].edges];
  const place = (value) => (logarithmic ? Math.log10(value) : value);
  const x0 = across(place(edges[0]), place(edges[edges.length - 1]));
  const x = (value) => x0(place(value));
  const nominal = meanCurve(runs.map((run) => run.nominal));
  const anomalous = meanCurve(runs.map((run) => run.anomalousShares));
  const y = upward(0, Math.max(...nominal, ...anomalous, 1));
  const steps = (shares) => shares.flatMap((share, bin) => [[x(edges[bin]), y(share)], [x(edges[bin + 1]), y(share)]]);
  const floor = y(0);
  const filled = line([[x(edges[0]), floor], ...steps(nominal), [x(edges[edges.length - 1]), floor]], "nominal");
  const ticks = logarithmic ? decades(edges[0], edges[edges.length - 1]) : evenly(edges[0], edges[edges.length - 1]);
  const drawn = chart("Scores", { x, y, xName: logarithmic ? "Score (logarithmic)" : "Score", xTicks: ticks, yTicks: [], label: "Histogram of the scores of nominal and of anomalous images" },
    filled, line(steps(anomalous), "anomalous"));
  drawn.append(make("div", { class: "legend" },
    make("span", {}, make("i"), "nominal"), make("span", { class: "a" }, make("i"), "anomalous")));
  return drawn;
}

const short = (value) => String(Number(value.toPrecision(2)));
function decades(low, high) {
  const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first) / 4));
  const found = [];
  for (let power = first; power <= last; power += step) found.push([10 ** power, power >= -3 && power <= 4 ? short(10 ** power) : `1e${power}`]);
  return found.length > 1 ? found : [[low, short(low)], [high, short(high)]];
}
function evenly(low, high) {
  const rough = (high - low) / 4 || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push([value, short(value)]);
  return found;
}

function training(runs, field, along, title, unit) {
  const epochs = runs[0][along];
  const curves = runs.map((run) => run[field].map((value) => value / unit)).filter((curve) => curve.length === epochs.length);
  const all = curves.flat();
  const low = Math.min(...all), high = Math.max(...all);
  const logarithmic = unit === 1 && low > 0 && high / low > 20;
  const place = (value) => (logarithmic ? Math.log10(value) : value);
  const y0 = upward(place(low), place(high));
  const y = (value) => y0(place(value));
  const x = across(epochs[0], epochs[epochs.length - 1]);
  const points = (curve) => curve.map((value, index) => [x(epochs[index]), y(value)]);
  const last = mean(curves.map((curve) => curve[curve.length - 1]));
  return chart(title, {
    x, y, xName: "Epoch", xTicks: evenly(epochs[0], epochs[epochs.length - 1]).filter(([value]) => Number.isInteger(value)),
    yTicks: logarithmic ? decades(low, high) : evenly(low, high), label: `${title}, at the end ${last.toPrecision(3)}`,
  }, ...(curves.length > 1 && curves.length <= 20 ? curves.map((curve) => line(points(curve), "one")) : []), line(points(meanCurve(curves)), "mean"));
}

// ---- Heatmaps ----------------------------------------------------------------------------------
const PALETTE = Uint8Array.from(data.palette.match(/../g) ?? [], (two) => parseInt(two, 16));
const sheets = new Map();

// The pixels of a strip of tiles, decoded once.
function pixels(uri) {
  if (!sheets.has(uri)) {
    sheets.set(uri, new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => {
        const canvas = make("canvas", { width: image.width, height: image.height });
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0);
        resolve({ canvas, context, width: image.width, height: image.height });
      };
      image.onerror = reject;
      image.src = uri;
    }));
  }
  return sheets.get(uri);
}

async function paintPart(canvas, uri, place, count) {
  const sheet = await pixels(uri);
  const width = sheet.width / count;
  canvas.width = width;
  canvas.height = sheet.height;
  canvas.getContext("2d").drawImage(sheet.canvas, place * width, 0, width, sheet.height, 0, 0, width, sheet.height);
}

async function paintHeat(canvas, run, shared, place, { scaling, opacity }) {
  const count = shared.ids.length;
  const [sheet, images] = await Promise.all([pixels(run.heat.tiles), pixels(shared.images)]);
  const width = sheet.width / count;
  const steps = sheet.context.getImageData(place * width, 0, width, sheet.height).data;
  const [low, divisor] = scaling === "local" ? run.heat.local[place] : run.heat[scaling];
  const [from, to] = [run.heat.low[place], run.heat.high[place]];
  const tile = new ImageData(width, sheet.height);
  for (let at = 0; at < steps.length; at += 4) {
    const above = from + (steps[at] / 255) * (to - from) - low;
    const value = divisor > 0 ? Math.min(1, Math.max(0, above / divisor)) : Number(above > 0);
    const colour = 3 * Math.round(255 * value);
    tile.data.set([PALETTE[colour], PALETTE[colour + 1], PALETTE[colour + 2], 255 * opacity], at);
  }
  const small = make("canvas", { width, height: sheet.height });
  small.getContext("2d").putImageData(tile, 0, 0);
  canvas.width = images.width / count;
  canvas.height = images.height;
  const context = canvas.getContext("2d");
  if (opacity < 1) {
    context.filter = "grayscale(1)";
    context.drawImage(images.canvas, place * canvas.width, 0, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    context.filter = "none";
  }
  context.imageSmoothingEnabled = opacity < 1;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function heatmaps(runs, shared) {
  const count = shared.ids.length;
  const nominal = shared.labels.filter((label) => label === 0).length;
  const scalings = [["local", "each image by itself"], ["semi_global", "over the images shown"], ["global", "over the test set"]]
    .filter(([name]) => name === "local" || runs.every((run) => run.heat[name]));
  const choice = make("select", {}, ...scalings.map(([name, words]) => make("option", { value: name }, words)));
  const slider = make("input", { type: "range", min: "0", max: "100", value: "100", step: "5" });
  const columns = [];
  for (let place = 0; place < count; place += 1) {
    if (place === nominal && nominal > 0) columns.push(".3rem");
    columns.push("minmax(0, 1fr)");
  }
  const grid = make("div", { class: "tiles", style: `--columns: ${columns.join(" ")}` });
  const gap = () => (nominal > 0 && nominal < count ? [make("span")] : []);
  const cells = (name, tile) => {
    const tiles = shared.ids.map((_, place) => tile(place));
    grid.append(make("span", { class: "name" }, name), ...tiles.slice(0, nominal), ...gap(), ...tiles.slice(nominal));
  };
  const labels = [[nominal, "nominal"], [count - nominal, "anomalous"]].filter(([size]) => size > 0)
    .map(([size, words]) => make("span", { class: "over", style: `grid-column: span ${size}` }, `${words}, score →`));
  grid.append(make("span", { class: "name" }), labels[0], ...(labels.length > 1 ? [make("span"), labels[1]] : []));
  const still = (uri, words) => (place) => {
    const canvas = make("canvas", { role: "img", "aria-label": `${words} ${shared.ids[place]}` });
    paintPart(canvas, uri, place, count);
    return canvas;
  };
  cells("input", still(shared.images, "Image"));
  if (shared.defects) {
    cells("defect", (place) => make("span", { class: "defect", title: shared.defects[place] }, shared.defects[place]));
  }
  if (shared.masks) cells("mask", still(shared.masks, "Mask of image"));
  const painted = [];
  for (const run of runs) {
    cells(`seed ${run.seed}`, (place) => {
      const score = `score ${run.heat.scores[place]}`;
      const canvas = make("canvas", { role: "img", title: score, "aria-label": `Heatmap of image ${shared.ids[place]}, seed ${run.seed}, ${score}` });
      painted.push([canvas, run, place]);
      return canvas;
    });
  }
  const paint = () => painted.forEach(([canvas, run, place]) =>
    paintHeat(canvas, run, shared, place, { scaling: choice.value, opacity: slider.value / 100 }));
  choice.addEventListener("change", paint);
  slider.addEventListener("input", paint);
  paint();
  const bar = make("canvas", { width: "256", height: "1" });
  const ramp = new ImageData(256, 1);
  for (let at = 0; at < 256; at += 1) ramp.data.set([PALETTE[3 * at], PALETTE[3 * at + 1], PALETTE[3 * at + 2], 255], 4 * at);
  bar.getContext("2d").putImageData(ramp, 0, 0);
  return make("div", { class: "heat" }, make("h3", {}, "Heatmaps"),
    make("div", { class: "tools" },
      make("label", {}, "Normalised ", choice),
      make("label", {}, "Opacity over the image ", slider),
      make("span", { "aria-hidden": "true" }, "0", make("span", { class: "scale" }, bar), "1")),
    grid,
    make("p", { class: "hint" }, `Images of each label from the lowest to the highest score of ${shared.order}; heatmaps are cut at the ${data.quantile} quantile.`));
}

document.querySelectorAll("section.table").forEach(prepare);

// Paper cannot be opened: settings and provenance are printed open.
let shut = [];
addEventListener("beforeprint", () => {
  shut = [...document.querySelectorAll("details.provenance:not([open])")];
  for (const one of shut) one.open = true;
});
addEventListener("afterprint", () => shut.forEach((one) => { one.open = false; }));
})();
