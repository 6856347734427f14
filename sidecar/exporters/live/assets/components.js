// The five components below the bar: used of allocated, where it should be, how it stands.

import { byId, h, meter, replace, swatch, write } from "./dom.js";
import { COMPONENTS, counted, percent, title, tokens } from "./format.js";

export class Components {
  #rows = {};

  constructor() {
    const heads = ["Component", "", "Used of its budget", "", "Status", ""].map((text, at) => h("span", { role: "columnheader", class: [2, 3].includes(at) ? "right" : null }, text || h("span", { class: "hidden" }, ["", "Level", "", "Utilization", "", "Notes"][at])));
    const root = byId("components");
    root.append(h("div", { class: "component head", role: "row" }, heads));
    for (const name of COMPONENTS) {
      const row = {
        fill: h("i", { class: `fill c-${name}` }),
        pending: h("i", { class: `pending c-${name}` }),
        band: h("i", { class: "band" }),
        limit: h("i", { class: "limit" }),
        used: h("span"),
        of: h("span", { class: "of" }),
        ratio: h("span", { role: "cell", class: "right" }),
        status: h("span", { role: "cell" }),
        note: h("span", { role: "cell", class: "note" }),
      };
      const gauge = h("div", { class: "gauge" }, row.fill, row.pending, row.band, row.limit);
      root.append(
        h(
          "div",
          { class: "component", role: "row" },
          h("span", { role: "rowheader", class: "name" }, swatch(name), title(name)),
          h("span", { role: "cell", class: "gauge-cell" }, gauge),
          h("span", { role: "cell", class: "right amount" }, row.used, row.of),
          row.ratio,
          row.status,
          row.note,
        ),
      );
      gauge.parentElement.replaceWith(gauge);
      gauge.setAttribute("role", "cell");
      row.gauge = gauge;
      this.#rows[name] = row;
    }
  }

  show(report) {
    for (const name of COMPONENTS) {
      const part = report.components[name];
      const row = this.#rows[name];
      const held = part.used_tokens + part.pending_tokens; // what the window still shows until directives are confirmed
      const scale = 100 / Math.max(part.allocated_tokens, held, 1);
      row.fill.style.width = `${part.used_tokens * scale}%`;
      row.pending.style.left = `${part.used_tokens * scale}%`;
      row.pending.style.width = `${part.pending_tokens * scale}%`;
      row.band.style.left = `${part.target.low * part.allocated_tokens * scale}%`;
      row.band.style.width = `${(part.target.high - part.target.low) * part.allocated_tokens * scale}%`;
      row.limit.hidden = held <= part.allocated_tokens;
      row.limit.style.left = `calc(${part.allocated_tokens * scale}% - 1px)`;
      row.gauge.title = `Target ${percent(part.target.low)} to ${percent(part.target.high)}`;
      row.gauge.setAttribute("aria-label", `target ${percent(part.target.low)} to ${percent(part.target.high)}`);
      write(row.used, tokens(part.used_tokens));
      write(row.of, ` of ${tokens(part.allocated_tokens)}`);
      write(row.ratio, percent(part.utilization_ratio));
      if (row.status.textContent !== part.status) replace(row.status, meter(part.status));
      const text = note(part);
      write(row.note, text);
      row.note.title = text;
    }
  }
}

function note(part) {
  const over = part.used_tokens - part.allocated_tokens;
  return [
    over > 0 && `${tokens(over)} over`,
    part.borrowed_tokens && `${tokens(part.borrowed_tokens)} borrowed`,
    part.pending_tokens && `${tokens(part.pending_tokens)} pending`,
    part.reclaimable_tokens && `${tokens(part.reclaimable_tokens)} reclaimable`,
    part.exhaustions && `exhausted ${counted(part.exhaustions, "time")}`,
  ]
    .filter(Boolean)
    .join(" · ");
}
