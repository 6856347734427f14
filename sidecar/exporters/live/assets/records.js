// The two lists beside the decisions: directives that wait for the agent, and what was archived.

import { byId, h, replace, set, swatch } from "./dom.js";
import { clockTime, COMPONENTS, counted, fullTime, title, tokens, words } from "./format.js";
import { call, sessionPath } from "./net.js";

const PAGE = 50;

export class Directives {
  #root = byId("panel-directives");
  #count = byId("directive-count");
  #session = null;
  total = 0;

  async show(session, signal) {
    this.#session = session;
    const { directives, next } = await call(`${sessionPath(session, "directives")}?limit=1000`, { signal });
    if (session !== this.#session) return;
    this.total = directives.length;
    this.#count.textContent = directives.length ? (next === null ? directives.length : `${directives.length}+`) : "";
    if (directives.length === 0) replace(this.#root, h("p", { class: "quietly" }, "No directive waits for the agent."));
    else replace(this.#root, h("ol", { class: "records" }, directives.slice(0, 200).map(directive)));
  }

  clear() {
    this.#session = null;
    this.total = 0;
    this.#count.textContent = "";
    replace(this.#root);
  }
}

function directive(each) {
  const sizes = `${tokens(each.tokens_before)} → ${tokens(each.tokens_after)}`;
  return h(
    "li",
    { class: "record" },
    h("div", { class: "line" }, h("span", {}, `#${each.number}`), named(each.component), h("b", {}, `${words(each.action)} ${each.item}`), h("span", { class: "right" }, sizes)),
    h("p", { class: "why" }, `${words(each.step)}: ${each.reason}`),
    each.stub && h("details", { class: "why" }, h("summary", {}, "what stays in its place"), each.stub),
  );
}

export class Archive {
  #root = byId("panel-archive");
  #list = h("ol", { class: "records", tabindex: "0", "aria-label": "Archived items" });
  #find = h("input", { type: "search", placeholder: "Search id, kind, reason or content", "aria-label": "Search the archive" });
  #only = h("select", { "aria-label": "Component" }, h("option", { value: "" }, "All components"), COMPONENTS.map((name) => h("option", { value: name }, title(name))));
  #session = null;
  #next = null;
  #timer = 0;
  #asked = 0;

  constructor() {
    replace(this.#root, h("div", { class: "panel-tools" }, this.#find, this.#only), this.#list);
    this.#find.oninput = () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#read(), 250);
    };
    this.#only.onchange = () => this.#read();
  }

  // Whether the reader has something open here that a new list would take away.
  get inUse() {
    return this.#list.scrollTop > 0 || this.#list.querySelector("pre, .answer") !== null;
  }

  async show(session) {
    if (session !== this.#session) {
      this.#find.value = "";
      this.#only.value = "";
    }
    this.#session = session;
    await this.#read();
  }

  async #read(after = null) {
    this.#asked += 1;
    const asked = this.#asked;
    const query = new URLSearchParams({ limit: PAGE });
    if (this.#find.value) query.set("q", this.#find.value);
    if (this.#only.value) query.set("component", this.#only.value);
    if (after !== null) query.set("after", after);
    try {
      const { items, next } = await call(`${sessionPath(this.#session, "archive")}?${query}`);
      if (asked !== this.#asked) return;
      this.#next = next;
      const rows = items.map((record) => this.#record(record));
      this.#list.querySelector(".quietly")?.remove();
      if (after === null) replace(this.#list, rows);
      else this.#list.append(...rows);
      if (after === null && rows.length === 0) replace(this.#list, h("li", { class: "quietly" }, query.has("q") || query.has("component") ? "Nothing in the archive is like that." : "Nothing was archived yet."));
      if (next !== null) {
        const more = h("button", { class: "more", type: "button" }, "More");
        more.onclick = () => this.#read(this.#next);
        this.#list.append(h("li", { class: "quietly" }, more));
      }
    } catch (error) {
      if (asked === this.#asked) replace(this.#list, h("li", { class: "quietly problem" }, error.message));
    }
  }

  #record(record) {
    const time = new Date(record.archived_at);
    const answer = h("p", { class: "answer", role: "status" });
    const read = h("button", { type: "button", "aria-label": `Read ${record.id}` }, "Read");
    const back = h("button", { type: "button", "aria-label": `Restore ${record.id}` }, "Restore");
    const row = h(
      "li",
      { class: "record" },
      h("div", { class: "line" }, named(record.component), h("b", {}, record.id), h("span", { class: "why" }, record.kind), h("span", { class: "right" }, `${tokens(record.tokens_before)} → ${tokens(record.tokens_after)}`)),
      h("p", { class: "why" }, `${record.step ? `${words(record.step)}: ` : ""}${record.reason}, `, h("time", { datetime: record.archived_at, title: fullTime(time) }, clockTime(time))),
      h("div", { class: "actions" }, read, back),
    );
    const path = sessionPath(this.#session, "archive", record.id);
    read.onclick = async () => {
      const open = row.querySelector("pre");
      if (open) {
        open.remove();
        read.textContent = "Read";
        return;
      }
      try {
        const { content } = await call(path);
        row.append(h("pre", { tabindex: "0" }, content ?? "The agent sent no content with this item."));
        read.textContent = "Close";
      } catch (error) {
        say(row, answer, error.message, true);
      }
    };
    back.onclick = async () => {
      set(back, { disabled: true });
      try {
        const { outcome, granted, requested } = await call(`${path}/restore`, { method: "POST", body: {} });
        const done = granted >= requested;
        say(row, answer, done ? `Back in the window: ${counted(granted, "token")}, ${words(outcome)}.` : `Not restored (${words(outcome)}): ${tokens(requested)} tokens do not fit now.`, !done);
        set(back, { disabled: done });
      } catch (error) {
        say(row, answer, error.message, true);
        set(back, { disabled: false });
      }
    };
    return row;
  }
}

function say(row, answer, text, problem) {
  row.append(answer);
  answer.classList.toggle("problem", problem);
  answer.textContent = text;
}

function named(component) {
  return h("span", { class: "named", title: title(component) }, swatch(component), h("span", { class: "hidden" }, title(component)));
}
