"use strict";
/* Tables of results: a click on a heading sorts by it, a word in the field above a long table filters its rows. */

(() => {
  const LONG = 12;  // rows, from which a table can be filtered
  const number = (text) => {
    const found = text.replace(/\u2212/g, "-").replace(/[,\s\u00a0\u2264]/g, "").match(/^[+-]?\d*\.?\d+/);
    return found ? parseFloat(found[0]) : NaN;
  };

  function sort(table, column, heading) {
    const falls = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row, at) => ({ row, at, text: row.cells[column].textContent.trim() }));
    const numeric = rows.filter(({ text }) => !Number.isNaN(number(text))).length > rows.length / 2;
    const way = falls ? -1 : 1;
    const before = (a, b) => {
      if (!numeric) return way * a.text.localeCompare(b.text, "en", { numeric: true });
      const [x, y] = [number(a.text), number(b.text)]; // a row without a number is the last one, either way
      return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : way * (x - y);
    };
    rows.sort((a, b) => before(a, b) || a.at - b.at);
    table.tBodies[0].append(...rows.map(({ row }) => row));
  }

  function sortable(table) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "cellcount-sort";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, column, heading));
      heading.append(button);
    });
  }

  function filterable(table) {
    const field = document.createElement("input");
    field.type = "search";
    field.className = "cellcount-filter";
    field.placeholder = "filter rows";
    field.setAttribute("aria-label", `Filter the rows of: ${table.caption ? table.caption.textContent.trim() : "this table"}`);
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
    (table.closest(".pst-scrollable-table-container") || table).before(field);
  }

  for (const table of document.querySelectorAll(".bd-article table.table, .bd-article table.docutils")) {
    const simple = table.tHead && table.tHead.rows.length === 1 && table.tBodies.length === 1;
    const whole = simple && ![...table.querySelectorAll("td, th")].some((cell) => cell.rowSpan > 1 || cell.colSpan > 1);
    if (!whole || table.tBodies[0].rows.length < 3) continue;
    sortable(table);
    if (table.tBodies[0].rows.length >= LONG) filterable(table);
  }
})();
