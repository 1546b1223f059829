"use strict";
// The table of photographs: filters, sorting, and one photograph's details. Text goes in as text, never as markup.
(() => {
  const part = (name) => document.getElementById(`explorer-${name}`);
  const data = JSON.parse(part("data").textContent);
  const table = part("table");
  const heads = [...table.tHead.rows[0].cells];
  const filters = { attack: part("attack"), objective: part("objective"), model: part("model"), name: part("name") };
  const order = { column: "change", ascending: false };
  const textual = ["photo", "model"];
  const TITLES = {
    before: "Before",
    after: "After",
    change: "Change",
    ssim: "SSIM",
    linf: "Largest change, levels of 255",
    l2: "Length (L2)",
    lpips: "LPIPS",
  };
  let limit = data.shown;

  const element = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const number = (value, digits, signed) =>
    value === null || value === undefined
      ? "—"
      : ((signed && value > 0 ? "+" : "") + value.toFixed(digits)).replace("-", "−");
  const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

  const rowsOf = (trial, objective) => {
    const choice = trial.choices[objective];
    return trial.before.map((before, place) => {
      const photo = trial.photos ? trial.photos[place] : place;
      const outcome = trial.outcomes[typeof choice === "number" ? choice : Number(choice[place])];
      const found = { photo, model: trial.model, opinion: data.opinions[photo], before };
      for (const [name, values] of Object.entries(outcome)) found[name] = values[place];
      return found;
    });
  };
  const shown = (row, column) => {
    const digits = data.digits[row.model];
    switch (column) {
      case "photo": return data.photos[row.photo];
      case "model": return data.models[row.model];
      case "opinion": return number(row.opinion, 1);
      case "change": return number(row.change, digits, true);
      case "before": case "after": return number(row[column], digits);
      case "linf": return number(row.linf, 0);
      case "l2": return number(row.l2, 2);
      default: return number(row[column], 3);
    }
  };
  const compare = (one, other) => {
    const sign = order.ascending ? 1 : -1;
    if (textual.includes(order.column)) {
      const names = [one, other].map((row) => shown(row, order.column));
      return sign * names[0].localeCompare(names[1], "en", { numeric: true });
    }
    const [first, second] = [one, other].map((row) => row[order.column] ?? null);
    if (first === null || second === null) return (first === null) - (second === null);
    return sign * (order.column === "change" ? Math.abs(first) - Math.abs(second) : first - second);
  };

  const fill = (select, options, wanted) => {
    select.replaceChildren(...options.map(([value, text]) => element("option", text, { value })));
    select.value = options.some(([value]) => String(value) === wanted) ? wanted : String(options[0][0]);
  };
  const known = (attack) => data.trials.filter((trial) => trial.attack === Number(attack));
  const offer = () => {
    const trials = known(filters.attack.value);
    const those = (names, met) => [...names.entries()].filter(([place]) => trials.some((trial) => met(trial, place)));
    const objectives = those(data.objectives, (trial, place) => place in trial.choices);
    const models = those(data.models, (trial, place) => trial.model === place);
    fill(filters.objective, objectives, filters.objective.value);
    fill(filters.model, models.length > 1 ? [["all", "every model"], ...models] : models, filters.model.value);
  };
  const chosen = () => {
    const { attack, objective, model, name } = filters;
    const wanted = name.value.trim().toLowerCase();
    return known(attack.value)
      .filter((trial) => objective.value in trial.choices)
      .filter((trial) => model.value === "all" || trial.model === Number(model.value))
      .flatMap((trial) => rowsOf(trial, objective.value))
      .filter((row) => data.photos[row.photo].toLowerCase().includes(wanted))
      .sort(compare);
  };

  const picturesOf = (row) => {
    const items = [...document.querySelectorAll(`[data-photo="${row.photo}"]`)];
    const item = items.find(({ dataset }) => dataset.model === undefined || Number(dataset.model) === row.model);
    return item?.querySelector(".pictures");
  };
  const line = (row) => {
    const made = element("tr");
    for (const head of heads) {
      const column = head.dataset.column;
      if (column !== "photo") {
        made.append(element("td", shown(row, column)));
        continue;
      }
      const button = element("button", shown(row, column), { type: "button", "aria-haspopup": "dialog" });
      button.addEventListener("click", () => details(row));
      made.append(element("th", undefined, { scope: "row" }));
      made.lastChild.append(button);
      if (picturesOf(row)) made.lastChild.append(element("span", " with pictures", { class: "kept" }));
    }
    return made;
  };
  const summary = (rows) => {
    const different = (name) => new Set(rows.map((row) => row[name])).size;
    const met = `${counted(different("photo"), "photograph")}, ${counted(different("model"), "model")}`;
    return `Showing ${Math.min(limit, rows.length).toLocaleString("en")} of ${counted(rows.length, "row")}: ${met}`;
  };
  const ordering = () => {
    const title = heads.find((head) => head.dataset.column === order.column).textContent.toLowerCase();
    const [first, last] = textual.includes(order.column) ? ["A", "Z"] : ["smallest", "largest"];
    return `By ${title}, ${order.ascending ? first : last} first`;
  };
  const update = () => {
    const rows = chosen();
    table.tBodies[0].replaceChildren(...rows.slice(0, limit).map(line));
    part("more").hidden = rows.length <= limit;
    part("status").textContent = rows.length ? `${summary(rows)}. ${ordering()}.` : "No photograph has such a name.";
  };
  const sort = (head) => {
    const column = head.dataset.column;
    order.ascending = order.column === column ? !order.ascending : textual.includes(column);
    order.column = column;
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order.ascending ? "ascending" : "descending");
    update();
  };

  // Every attack on every model, of one photograph, under the chosen objective.
  const scoresOf = (row) => {
    const objective = filters.objective.value;
    const rows = data.trials
      .filter((trial) => objective in trial.choices)
      .map((trial) => [trial, rowsOf(trial, objective).find((one) => one.photo === row.photo)])
      .filter(([, found]) => found);
    const columns = ["before", "after", "change", "ssim", "linf", "l2"];
    if (rows.some(([, found]) => "lpips" in found)) columns.push("lpips");
    const made = element("table");
    const head = made.createTHead().insertRow();
    for (const title of ["Model", ...columns.map((column) => TITLES[column])]) {
      head.append(element("th", title, { scope: "col" }));
    }
    let body, attack;
    for (const [trial, found] of rows) {
      if (trial.attack !== attack) {
        attack = trial.attack;
        body = made.createTBody();
        const over = element("th", undefined, { scope: "rowgroup", colspan: columns.length + 1 });
        over.append(element("span", data.attacks[attack]));
        body.insertRow().append(over);
      }
      const line = body.insertRow();
      if (trial.attack === Number(filters.attack.value) && trial.model === row.model) line.ariaCurrent = "true";
      line.append(element("th", data.models[trial.model], { scope: "row" }));
      for (const column of columns) line.append(element("td", shown(found, column)));
    }
    return made;
  };
  const details = (row) => {
    const scroll = element("div", undefined, { class: "scroll", role: "region", "aria-label": "Scores", tabindex: 0 });
    scroll.append(scoresOf(row));
    const pictures = picturesOf(row);
    const opinion = row.opinion === null ? "" : `Opinion ${number(row.opinion, 1)}. `;
    const objective = filters.objective.selectedOptions[0].textContent;
    part("photo").textContent = data.photos[row.photo];
    const note = pictures
      ? document.getElementById("gallery-note").textContent
      : "No pictures of this photograph were kept; the gallery keeps those that moved farthest.";
    part("body").replaceChildren(
      element("p", `${opinion}Objective: ${objective}.`),
      ...(pictures ? [pictures.cloneNode(true)] : []),
      element("p", note, { class: "notes" }),
      scroll,
    );
    part("details").showModal();
    part("details").scrollTop = 0;
  };

  for (const head of heads) {
    const button = element("button", head.textContent, { type: "button" });
    button.addEventListener("click", () => sort(head));
    head.replaceChildren(button);
  }
  fill(filters.attack, [...data.attacks.entries()], "0");
  offer();
  for (const filter of Object.values(filters)) {
    filter.addEventListener("input", () => {
      limit = data.shown;
      offer();
      update();
    });
  }
  part("more").addEventListener("click", () => {
    const first = limit;
    limit += 4 * data.shown;
    update();
    table.tBodies[0].rows[first].querySelector("button").focus();
  });
  part("close").addEventListener("click", () => part("details").close());
  part("details").addEventListener("click", (event) => {
    if (event.target === part("details")) part("details").close();
  });
  part("filters").hidden = false;
  update();
})();
