"use strict";
const table = document.querySelector("table");
const rows = [...table.tBodies[0].rows];
const count = document.querySelector("#count");

function filter() {
  const front = document.querySelector("input[name=front]:checked").value;
  let shown = 0;
  for (const row of rows) {
    const wanted = [...document.querySelectorAll("select")].every(
      (select) => !select.value || row.dataset[select.name] === select.value
    );
    row.hidden = !(wanted && (front === "all" || row.dataset.fronts.split(" ").includes(front)));
    shown += !row.hidden;
  }
  count.textContent = `${shown} of ${rows.length} rows`;
}

function sort(column, ascending) {
  const key = (row) => row.cells[column].dataset.key;
  const ordered = [...rows].sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    // a row that has no number of this column comes last, whatever the direction is
    if (a === "" || b === "") return (a === "") - (b === "");
    const numbers = !isNaN(a) && !isNaN(b);
    const order = numbers ? a - b : a.localeCompare(b, undefined, { numeric: true });
    return ascending ? order : -order;
  });
  table.tBodies[0].append(...ordered);
}

for (const button of table.tHead.querySelectorAll("button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const before = head.getAttribute("aria-sort");
    // numbers first from the best, which is the largest of nearly all of them
    const ascending = before ? before === "descending" : head.classList.contains("left");
    for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    sort(head.cellIndex, ascending);
  });
}
document.querySelector("#filters").addEventListener("change", filter);
filter();
