"use strict";
// Tables: sorting, filters, scrolling, and the runs that a point links to.
(() => {
  // a click on a column sorts by it, a second one reverses the order; missing values stay last
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  const none = (one) => one === "-" || one === "";
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const one of heads) one.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
        rows.sort(([a], [b]) => none(a) - none(b) || (down ? order(b, a) : order(a, b)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }

  // filters: words in any column, and lists of values of some columns
  const resets = new Map();
  for (const table of document.querySelectorAll("table")) {
    const input = document.querySelector(`[data-search="${table.id}"]`);
    const columns = (table.dataset.filters || "").split(" ").filter(Boolean).map(Number);
    if (!input && !columns.length) continue;
    const rows = [...table.tBodies[0].rows];
    const text = (row, column) => row.cells[column].textContent.trim();
    const lists = columns.map((column) => {
      const label = document.createElement("label");
      const list = document.createElement("select");
      const values = [...new Set(rows.map((row) => text(row, column)))].filter(Boolean).sort(order);
      list.add(new Option("all", ""));
      for (const one of values) list.add(new Option(one));
      label.className = "search";
      label.append(`${table.tHead.rows[0].cells[column].textContent.trim()} `, list);
      label.hidden = values.length < 2;
      table.closest(".table-block").querySelector(".data").before(label);
      return list;
    });
    const filter = () => {
      const words = input ? input.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
      for (const row of rows) {
        const all = row.textContent.toLowerCase();
        const listed = lists.every((list, i) => !list.value || text(row, columns[i]) === list.value);
        row.hidden = !listed || !words.every((word) => all.includes(word));
      }
    };
    for (const control of [input, ...lists]) if (control) control.addEventListener("input", filter);
    resets.set(table, () => {
      for (const control of [input, ...lists]) if (control) control.value = "";
      filter();
    });
  }

  // a link to a run marks all runs of its point
  document.addEventListener("click", (event) => {
    const link = event.target.closest ? event.target.closest('a[href^="#run-"]') : null;
    if (!link || event.defaultPrevented) return;
    const runs = (link.dataset.runs || link.getAttribute("href").slice(5)).split(" ");
    for (const row of document.querySelectorAll("tr.marked")) row.classList.remove("marked");
    const rows = runs.map((run) => document.getElementById(`run-${run}`));
    for (const row of rows) row.classList.add("marked");
    if (rows.some((row) => row.hidden)) resets.get(rows[0].closest("table"))();
  });

  // the scrolling hint is shown only for tables that scroll
  const cue = (scroll) => { scroll.previousElementSibling.hidden = scroll.scrollWidth <= scroll.clientWidth + 1; };
  const scrolls = document.querySelectorAll(".scroll");
  const watch = new ResizeObserver((entries) => { for (const entry of entries) cue(entry.target); });
  for (const scroll of scrolls) watch.observe(scroll);
  // tables outside the window have their size when the page has settled
  new MutationObserver(() => scrolls.forEach(cue)).observe(document.documentElement, { attributeFilter: ["class"] });
})();
