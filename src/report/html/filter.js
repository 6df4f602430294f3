
// Adds a filter to long tables. The report reads as well without it.
for (const table of document.querySelectorAll(".table.long")) {
  const input = document.createElement("input");
  input.type = "search";
  input.className = "filter";
  input.placeholder = table.dataset.filter;
  input.setAttribute("aria-label", table.dataset.filter);
  const none = document.createElement("p");
  none.className = "note";
  none.textContent = table.dataset.none;
  none.hidden = true;
  let pending = 0;
  const apply = () => {
    const wanted = input.value.trim().toLowerCase();
    let found = 0;
    for (const part of table.querySelectorAll(".scroll")) {
      let shown = 0;
      for (const row of part.querySelectorAll("tbody tr")) {
        const hit = row.textContent.toLowerCase().includes(wanted);
        row.hidden = !hit;
        shown += hit;
      }
      part.hidden = shown === 0;
      found += shown;
    }
    none.hidden = found > 0;
  };
  input.addEventListener("input", () => {
    clearTimeout(pending);
    pending = setTimeout(apply, 120);
  });
  table.prepend(input, none);
}
