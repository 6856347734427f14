// One bar for one window: what each of the five components takes of it, and where the whole should stay.

import { h, write } from "./dom.js";
import { COMPONENTS, percent, title, tokens } from "./format.js";

const PARTS = [...COMPONENTS, "unattributed"];

export class Bar {
  #segments = {};
  #target = h("i", { class: "target" });
  #limit = h("i", { class: "limit", hidden: true });

  constructor() {
    this.track = h("div", { class: "track" });
    for (const part of PARTS) {
      this.#segments[part] = h("div", { class: `seg c-${part}` });
      this.track.append(this.#segments[part]);
    }
    this.element = h("div", { class: "bar", role: "img" }, this.track, this.#target, this.#limit);
  }

  // `known`: a window of the store; one without a report shows its level alone.
  show(known) {
    const { report } = known;
    const whole = Math.max(known.total, known.used, 1);
    for (const part of PARTS) {
      const used = report ? usedBy(report, part) : part === "unattributed" ? known.used : 0;
      this.#segments[part].style.width = `${(used / whole) * 100}%`;
    }
    const high = report?.overall.target.high ?? 0.85;
    this.#target.style.left = `${((high * known.total) / whole) * 100}%`;
    this.#limit.hidden = known.used <= known.total;
    this.#limit.style.left = `${(known.total / whole) * 100}%`;
    this.element.setAttribute("aria-label", told(known));
  }
}

// The same, large: with names, each component's status below it, and a scale.
export class BigBar {
  #segments = {};
  #strips = {};
  #free = h("span", { class: "free" });
  #band = h("i", { class: "band" });
  #limit = h("i", { class: "limit", hidden: true });
  #scale = h("div", { class: "scale" });
  #band_text = h("span");
  #end_text = h("span", { class: "end" });

  constructor() {
    const track = h("div", { class: "track" });
    const strip = h("div", { class: "strip" });
    for (const part of PARTS) {
      const name = h("span", {}, part === "unattributed" ? "Unattributed" : title(part));
      const amount = h("b");
      this.#segments[part] = { element: h("div", { class: `seg c-${part}` }, h("span", {}, amount), name), amount };
      this.#strips[part] = h("i");
      track.append(this.#segments[part].element);
      strip.append(this.#strips[part]);
    }
    track.append(this.#free);
    this.#scale.append(h("span", {}, "0"), this.#band_text, this.#end_text);
    this.element = h("div", { class: "bar big", role: "img" }, track, strip, this.#band, this.#limit, this.#scale);
  }

  show(known) {
    const { report } = known;
    const whole = Math.max(known.total, known.used, 1);
    const room = this.element.clientWidth;
    for (const part of PARTS) {
      const used = usedBy(report, part);
      const { element, amount } = this.#segments[part];
      element.style.width = this.#strips[part].style.width = `${(used / whole) * 100}%`;
      element.classList.toggle("slim", (used / whole) * room < (part === "interaction_buffer" ? 118 : 112));
      element.title = `${title(part)}: ${tokens(used)} tokens`;
      write(amount, tokens(used));
      this.#strips[part].className = part === "unattributed" ? "" : `s-${report.components[part].status}`;
    }
    const free = Math.max(0, known.total - known.used);
    write(this.#free, (free / whole) * room > (room > 520 ? 96 : 300) ? `${tokens(free)} free` : "");
    const { low, high } = report.overall.target;
    const scale = known.total / whole;
    this.#band.style.left = `${low * scale * 100}%`;
    this.#band.style.width = `${(high - low) * scale * 100}%`;
    this.#limit.hidden = known.used <= known.total;
    this.#limit.style.left = this.#end_text.style.left = `${scale * 100}%`;
    this.#band_text.style.left = `${((low + high) / 2) * scale * 100}%`;
    write(this.#band_text, room > 520 ? `target ${Math.round(low * 100)} to ${percent(high)}` : "target");
    write(this.#end_text, room > 520 ? `${tokens(known.total)} tokens` : tokens(known.total));
    this.element.setAttribute("aria-label", told(known));
  }
}

export function usedBy(report, part) {
  return part === "unattributed" ? report.overall.unattributed_tokens : report.components[part].used_tokens;
}

function told({ report, ratio, used, total }) {
  const level = `${percent(ratio)} full, ${tokens(used)} of ${tokens(total)} tokens`;
  if (!report) return level;
  const parts = COMPONENTS.map((name) => `${title(name)} ${tokens(report.components[name].used_tokens)}, ${report.components[name].status}`);
  const { low, high } = report.overall.target;
  return `${level}; target ${percent(low)} to ${percent(high)}. ${parts.join("; ")}.`;
}

