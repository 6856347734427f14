// The list of windows. Only the rows in sight exist, so five hundred cost what ten do.

import { Bar } from "./bar.js";
import { byId, h, meter, replace, write } from "./dom.js";
import { counted, duration, middle, percent, STATUSES } from "./format.js";

const HEIGHT = 78; // of a row, as parts.css has it
const LONG = 28; // characters of a name that have room
const SPARE = 4; // rows kept ready beyond each edge
const REST = 1500; // milliseconds between two new orders, so that rows do not dance

const over = (known) => known.state === "closed";
const ORDERS = {
  fullest: (a, b) => b.ratio - a.ratio,
  soonest: (a, b) => (a.eta ?? Infinity) - (b.eta ?? Infinity) || b.ratio - a.ratio,
  latest: (a, b) => b.touched - a.touched,
  name: () => 0,
};

export class List {
  #root = byId("list");
  #inside = h("div");
  #rows = new Map(); // id -> row on the screen
  #ordered = [];
  #last = 0;
  #known = 0;
  #timer = 0;
  #active = null;
  #chosen = null;
  #find = "";
  #order = "fullest";

  constructor(store, choose) {
    this.store = store;
    this.choose = choose;
    this.#root.append(this.#inside);
    this.#inside.style.position = "relative";
    this.#root.addEventListener("scroll", () => this.#draw(), { passive: true });
    new ResizeObserver(() => this.#draw()).observe(this.#root);
    this.#root.addEventListener("keydown", (event) => this.#key(event));
    byId("find").addEventListener("input", (event) => {
      this.#find = event.target.value.trim().toLowerCase();
      this.#sort();
    });
    byId("order").addEventListener("change", (event) => {
      this.#order = event.target.value;
      this.#sort();
    });
    store.listen((changed) => this.#changed(changed));
  }

  get first() {
    return this.#ordered[0];
  }

  select(id) {
    this.#chosen = id;
    this.#active = id ?? this.#active;
    this.#draw();
  }

  #changed(changed) {
    const soon = Math.max(0, this.#last + REST - performance.now());
    if (soon === 0 || this.#known !== this.store.sessions.size) this.#sort();
    else if (!this.#timer) this.#timer = setTimeout(() => this.#sort(), soon);
    for (const id of changed) {
      const row = this.#rows.get(id);
      if (row) row.show(this.store.get(id));
    }
  }

  #sort() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#last = performance.now();
    this.#known = this.store.sessions.size;
    const words = this.#find.split(/\s+/).filter(Boolean);
    const found = [...this.store.sessions.values()].filter((known) => {
      const text = `${known.session} ${known.agent} ${known.model ?? ""} ${known.status} ${known.state}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const order = ORDERS[this.#order];
    const byName = (a, b) => (a.session < b.session ? -1 : 1);
    found.sort((a, b) => (this.#order === "name" ? 0 : over(a) - over(b)) || order(a, b) || byName(a, b));
    this.#ordered = found.map((known) => known.session);
    this.#census();
    this.#draw();
  }

  #census() {
    const all = [...this.store.sessions.values()];
    const open = all.filter((known) => !over(known));
    const closed = all.length - open.length;
    write(byId("count"), `${counted(open.length, "open window")}${closed ? `, ${closed} closed` : ""}`);
    const parts = STATUSES.toReversed().map((status) => [status, open.filter((known) => known.status === status).length]);
    replace(
      byId("census"),
      parts.filter(([, count]) => count).map(([status, count]) => h("li", {}, withCount(meter(status), count))),
    );
  }

  #draw() {
    const count = this.#ordered.length;
    this.#inside.style.height = `${count * HEIGHT}px`;
    const from = Math.max(0, Math.floor(this.#root.scrollTop / HEIGHT) - SPARE);
    const to = Math.min(count, Math.ceil((this.#root.scrollTop + this.#root.clientHeight) / HEIGHT) + SPARE);
    const visible = new Set(this.#ordered.slice(from, to));
    const spare = [];
    for (const [id, row] of this.#rows) {
      if (visible.has(id)) continue;
      this.#rows.delete(id);
      spare.push(row);
    }
    for (let at = from; at < to; at += 1) {
      const id = this.#ordered[at];
      let row = this.#rows.get(id);
      if (!row) {
        row = spare.pop() ?? new Row(this.#inside, (chosen) => this.choose(chosen));
        row.id = id;
        this.#rows.set(id, row);
        row.show(this.store.get(id));
      }
      row.place(at, count, id === this.#chosen, id === this.#active);
      this.store.look(id);
    }
    for (const row of spare) row.element.remove();
    const none = this.#inside.querySelector(".none");
    if (count === 0 && !none) this.#inside.append(h("p", { class: "none" }, this.#find ? "No window has that in its name, agent, model or status." : "No window yet."));
    else if (count > 0) none?.remove();
    const active = this.#rows.get(this.#active);
    if (active) this.#root.setAttribute("aria-activedescendant", active.element.id);
    else this.#root.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.#root.clientHeight / HEIGHT) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (this.#active) this.choose(this.#active);
      return;
    }
    const step = steps[event.key];
    if (step === undefined || this.#ordered.length === 0) return;
    event.preventDefault();
    const at = this.#ordered.indexOf(this.#active);
    const next = Math.min(this.#ordered.length - 1, Math.max(0, at < 0 ? 0 : at + step));
    this.#active = this.#ordered[next];
    const top = next * HEIGHT;
    if (top < this.#root.scrollTop) this.#root.scrollTop = top;
    else if (top + HEIGHT > this.#root.scrollTop + this.#root.clientHeight) this.#root.scrollTop = top + HEIGHT - this.#root.clientHeight;
    this.#draw();
  }
}

let rows = 0;

class Row {
  #bar = new Bar();
  #title = h("span", { class: "title" });
  #level = h("span", { class: "level" });
  #left = h("span");
  #right = h("span");
  #shown = "";

  constructor(parent, choose) {
    rows += 1;
    const below = h("span", { class: "below" }, this.#left, this.#right);
    this.element = h("div", { class: "row", role: "option", id: `row-${rows}` }, this.#title, this.#level, this.#bar.element, below);
    this.element.onclick = () => choose(this.id);
    parent.append(this.element);
  }

  show(known) {
    if (!known) return;
    write(this.#title, middle(known.session, LONG));
    this.#title.title = known.session;
    const level = `${known.status} ${percent(known.ratio)}`;
    if (level !== this.#shown) {
      this.#shown = level;
      const status = meter(known.status);
      status.lastChild.textContent = percent(known.ratio);
      status.append(h("span", { class: "hidden" }, known.status));
      replace(this.#level, status);
    }
    this.element.classList.toggle("over", over(known));
    this.#bar.show(known);
    write(this.#left, [known.agent, known.model].filter(Boolean).join(" · "));
    const news = over(known)
      ? "closed"
      : known.state !== "active"
        ? known.state
        : known.eta !== null
          ? `full in ${duration(known.eta)}`
          : known.exhaustions
            ? `exhausted ${known.exhaustions}×`
            : "";
    write(this.#right, news);
  }

  place(at, count, chosen, active) {
    this.element.style.top = `${at * HEIGHT}px`;
    this.element.setAttribute("aria-posinset", at + 1);
    this.element.setAttribute("aria-setsize", count);
    this.element.setAttribute("aria-selected", chosen);
    this.element.classList.toggle("active", active);
  }
}

function withCount(status, count) {
  status.lastChild.textContent = `${count} ${status.lastChild.textContent}`;
  return status;
}
