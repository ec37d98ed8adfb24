// What is behind a cell: its runs, the command that makes them, and the parts of other scripts.
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
