// Shows the tables of the page: texts go into text nodes only, so that nothing a corpus wrote can become an element.
const PAGE = 50;
const MOST_CHOICES = 40;

// Adds to a column what is needed to order, find and show its cells.
function prepare(column) {
  if (column.kind === "text") {
    const places = column.values.map((_, place) => place);
    places.sort((a, b) => (column.values[a] < column.values[b] ? -1 : 1));
    column.rank = new Uint32Array(places.length);
    places.forEach((place, rank) => { column.rank[place] = rank; });
    column.lower = column.values.map((text) => text.toLowerCase());
    column.key = (row) => column.rank[column.at[row]];
    column.show = (row) => column.values[column.at[row]];
  } else {
    const format = new Intl.NumberFormat("en-US", { minimumFractionDigits: column.digits, maximumFractionDigits: column.digits });
    const unit = 10 ** column.digits;
    column.key = (row) => column.values[row];
    column.show = (row) => (column.values[row] === null ? "–" : format.format(column.values[row] / unit));
    column.unit = unit;
  }
}

// Rows without a value come last, either way round.
function order(rows, column, descending) {
  const sign = descending ? -1 : 1;
  return rows.sort((a, b) => {
    const [x, y] = [column.key(a), column.key(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x - y);
  });
}

function show(box) {
  const table = JSON.parse(document.getElementById(box.dataset.table).textContent);
  const { columns } = table;
  columns.forEach(prepare);
  const all = Array.from({ length: table.rows }, (_, row) => row);
  for (const column of table.order) order(all, columns[column], true);
  let sorted = { column: table.order.at(-1), descending: true };
  let found = all;
  let page = 0;

  const status = make("p", { class: "note", role: "status", "aria-live": "polite" });
  const body = make("tbody", {});
  const find = make("input", { type: "search", id: box.id + "-find", oninput: later(filter) });
  const choices = columns.map((column, i) => {
    if (column.kind !== "text" || !column.choice || column.values.length < 2 || column.values.length > MOST_CHOICES) return null;
    const options = [...column.values.keys()].sort((a, b) => column.rank[a] - column.rank[b]);
    return make("select", { id: box.id + "-choice-" + i, onchange: filter },
      make("option", { value: "" }, "all"),
      ...options.map((place) => make("option", { value: place }, column.values[place] || "(none)")));
  });
  const numbers = columns.map((column, i) => [column, i]).filter(([column]) => column.kind === "number");
  const which = make("select", { id: box.id + "-which", onchange: filter },
    ...numbers.map(([column, i]) => make("option", { value: i }, column.name)));
  const least = make("input", { type: "number", step: "any", id: box.id + "-least", oninput: later(filter) });
  const most = make("input", { type: "number", step: "any", id: box.id + "-most", oninput: later(filter) });

  const labelled = (text, control) => make("span", { class: "control" }, make("label", { for: control.id }, text), control);
  const controls = make("div", { class: "controls", role: "search" }, labelled("Find", find),
    ...choices.map((choice, i) => choice && labelled(columns[i].name, choice)).filter(Boolean),
    labelled("Values of", which), labelled("from", least), labelled("to", most));

  const heads = columns.map((column, i) => {
    const button = make("button", { type: "button", onclick: () => sort(i) }, column.name);
    return make("th", { scope: "col", class: column.kind === "number" && "n" }, button);
  });
  const step = (name, to) => make("button", { type: "button", onclick: () => { page = to(); draw(); } }, name);
  const last = () => Math.max(0, Math.ceil(found.length / PAGE) - 1);
  const pager = make("div", { class: "pager", role: "group", "aria-label": "Pages" },
    step("First", () => 0), step("Previous", () => Math.max(0, page - 1)),
    step("Next", () => Math.min(last(), page + 1)), step("Last", last));

  function later(act) {
    let timer;
    return () => { clearTimeout(timer); timer = setTimeout(act, 120); };
  }

  function sort(i) {
    // Numbers start with the largest, texts with the first.
    const descending = sorted.column === i ? !sorted.descending : columns[i].kind === "number";
    sorted = { column: i, descending };
    order(all, columns[i], descending);
    filter();
  }

  function filter() {
    const words = find.value.toLowerCase();
    const texts = columns.filter((column) => column.kind === "text");
    const hits = words && texts.map((column) => column.lower.map((text) => text.includes(words)));
    const chosen = choices.map((choice, i) => choice && choice.value !== "" && [columns[i], Number(choice.value)]).filter(Boolean);
    const range = columns[which.value];
    const bound = (input, other) => (input.value === "" || !range ? other : Number(input.value) * range.unit);
    const [low, high] = [bound(least, -Infinity), bound(most, Infinity)];
    const bounded = low > -Infinity || high < Infinity;
    found = all.filter((row) =>
      (!hits || texts.some((column, i) => hits[i][column.at[row]])) &&
      chosen.every(([column, place]) => column.at[row] === place) &&
      (!bounded || (range.values[row] !== null && range.values[row] >= low - 0.5 && range.values[row] <= high + 0.5)));
    page = 0;
    draw();
  }

  function draw() {
    const rows = found.slice(page * PAGE, (page + 1) * PAGE);
    body.replaceChildren(...rows.map((row) => make("tr", {}, ...columns.map((column) =>
      make("td", { class: column.kind === "number" && "n" }, make("bdi", {}, column.show(row)))))));
    const count = new Intl.NumberFormat("en-US").format;
    status.textContent = rows.length === 0 ? "No row fits."
      : `Rows ${count(page * PAGE + 1)} to ${count(page * PAGE + rows.length)} of ${count(found.length)}` +
        (found.length < table.rows ? `, chosen from ${count(table.rows)}` : "");
    heads.forEach((head, i) => {
      if (i === sorted.column) head.setAttribute("aria-sort", sorted.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const [first, previous, next, end] = pager.children;
    first.disabled = previous.disabled = page === 0;
    next.disabled = end.disabled = page >= last();
  }

  draw();
  const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": table.title },
    make("table", { class: "wide many" }, make("thead", {}, make("tr", {}, ...heads)), body));
  box.replaceChildren(controls, status, scroll, pager);
  watch(scroll);
}

document.querySelectorAll("[data-table]").forEach(show);
