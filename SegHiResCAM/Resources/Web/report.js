"use strict";
// The table of a study: sorted by a click, filtered by words or by a comparison such as "dice.kidney < 0.8".
(() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const element = (id) => document.getElementById(id);
  const at = Object.fromEntries(study.columns.map((name, index) => [name, index]));
  let shown = study.shown.slice();
  let order = study.rows.map((_, index) => index);
  let sorted = { column: "", up: true };
  const lines = study.rows.map(() => null);

  function written(value) {
    return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)).toString() : String(value ?? "");
  }

  function cell(row, name) {
    const found = document.createElement("td");
    const value = row[at[name]];
    if (name === "case" && study.links[value]) {
      const link = document.createElement("a");
      link.href = study.links[value];
      link.textContent = value;
      found.append(link);
    } else {
      found.textContent = written(value);
    }
    found.classList.toggle("number", typeof value === "number");
    found.classList.toggle("long", name === "message" || name === "findings");
    return found;
  }

  function thumbnail(row) {
    const found = document.createElement("td");
    const name = row[at.case];
    if (study.thumbnails[name]) {
      const picture = document.createElement("img");
      picture.src = `data:image/jpeg;base64,${study.thumbnails[name]}`;
      picture.alt = "";
      picture.loading = "lazy";
      const link = document.createElement("a");
      if (study.links[name]) {
        link.href = study.links[name];
      }
      link.append(picture);
      found.append(link);
    }
    return found;
  }

  function line(index) {
    if (!lines[index]) {
      const row = study.rows[index];
      lines[index] = document.createElement("tr");
      lines[index].classList.toggle("failed", row[at.status] === "failed");
      lines[index].append(thumbnail(row), ...shown.map((name) => cell(row, name)));
    }
    return lines[index];
  }

  function comparison(text) {
    const found = /^\s*(\S+)\s*(<=|>=|<|>|=)\s*(-?[\d.eE+-]+)\s*$/.exec(text);
    if (!found || !(found[1] in at) || Number.isNaN(Number(found[3]))) {
      return null;
    }
    const index = at[found[1]];
    const limit = Number(found[3]);
    const tests = { "<": (a) => a < limit, ">": (a) => a > limit, "<=": (a) => a <= limit, ">=": (a) => a >= limit, "=": (a) => a === limit };
    return (row) => typeof row[index] === "number" && tests[found[2]](row[index]);
  }

  function matcher(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return comparison(text) ?? ((row) => {
      const all = row.filter((value) => typeof value === "string").join(" ").toLowerCase();
      return words.every((word) => all.includes(word));
    });
  }

  function drawRows() {
    const matches = matcher(element("filter").value);
    const kept = order.filter((index) => matches(study.rows[index]));
    document.querySelector("#table tbody").replaceChildren(...kept.map(line));
    element("count").textContent = kept.length === study.rows.length ? `${kept.length} cases` : `${kept.length} of ${study.rows.length} cases`;
  }

  function compare(name) {
    const index = at[name];
    const sign = sorted.up ? 1 : -1;
    return (one, other) => {
      const [a, b] = [study.rows[one][index], study.rows[other][index]];
      const missing = (value) => value === null || value === "";
      if (missing(a) || missing(b)) {
        return missing(a) - missing(b);
      }
      return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
    };
  }

  function sortBy(name) {
    sorted = { column: name, up: sorted.column === name ? !sorted.up : true };
    order = order.slice().sort(compare(name));
    drawHead();
    drawRows();
  }

  function drawHead() {
    const titles = shown.map((name) => {
      const title = document.createElement("th");
      title.scope = "col";
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      if (sorted.column === name) {
        title.setAttribute("aria-sort", sorted.up ? "ascending" : "descending");
        button.textContent += sorted.up ? " \u25b2" : " \u25bc";
      }
      button.addEventListener("click", () => sortBy(name));
      title.append(button);
      return title;
    });
    const row = document.createElement("tr");
    row.append(document.createElement("th"), ...titles);
    document.querySelector("#table thead").replaceChildren(row);
  }

  function drawChoice() {
    element("choice").replaceChildren(...study.columns.map((name) => {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = shown.includes(name);
      box.addEventListener("change", () => {
        shown = study.columns.filter((one) => (one === name ? box.checked : shown.includes(one)));
        lines.fill(null);
        drawHead();
        drawRows();
      });
      const label = document.createElement("label");
      label.append(box, ` ${name}`);
      return label;
    }));
  }

  element("filter").addEventListener("input", drawRows);
  drawChoice();
  drawHead();
  drawRows();
  document.documentElement.dataset.ready = "yes";
})();
