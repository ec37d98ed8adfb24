// Curves and histograms as SVG.
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
