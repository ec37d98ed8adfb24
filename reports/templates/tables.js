// Tables: sorting, filtering, hiding columns, and opening cells.
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

document.querySelectorAll("section.table").forEach(prepare);

// Paper cannot be opened: settings and provenance are printed open.
let shut = [];
addEventListener("beforeprint", () => {
  shut = [...document.querySelectorAll("details.provenance:not([open])")];
  for (const one of shut) one.open = true;
});
addEventListener("afterprint", () => shut.forEach((one) => { one.open = false; }));
