// Decisions as they happen, latest first: of the window that is shown, or of all.

import { byId, choice, glyph, h, replace, swatch } from "./dom.js";
import { clockTime, counted, fullTime, signed, title } from "./format.js";
import { call, sessionPath } from "./net.js";
import { tell } from "./words.js";

const MOST = 250; // rows
const KEPT = 400; // entries of all windows that are remembered
const PAGE = 250; // entries read from the ledger at a time

export class Story {
  #root = byId("story");
  #scope = "one";
  #depth = "decisions";
  #session = null;
  #entries = []; // of the session, oldest first
  #all = []; // of all sessions, oldest first
  #waiting = [];
  #before = 0; // the version of the oldest entry that was read

  constructor(choose) {
    this.choose = choose;
    choice(byId("scope-choice"), [["one", "This window"], ["all", "All windows"]], "one", (scope) => this.#turn({ scope }));
    choice(byId("depth-choice"), [["decisions", "Decisions"], ["everything", "Everything"]], "decisions", (depth) => this.#turn({ depth }));
  }

  #turn({ scope = this.#scope, depth = this.#depth }) {
    this.#scope = scope;
    this.#depth = depth;
    this.#draw();
  }

  // Show another session, of which the ledger is known up to `version`.
  async begin(session, version, signal) {
    this.#session = session;
    this.#entries = [];
    this.#waiting = [];
    this.#before = version + 1;
    this.#draw();
    await this.#earlier(signal);
    // A long quiet stretch: look further back for something that was decided.
    for (let tries = 0; tries < 3 && this.#before > 1 && this.#shown().length < 12; tries += 1) await this.#earlier(signal);
  }

  async #earlier(signal) {
    const session = this.#session;
    const after = Math.max(0, this.#before - 1 - PAGE);
    const limit = this.#before - 1 - after;
    if (limit < 1) return;
    const { entries } = await call(`${sessionPath(session, "ledger")}?after=${after}&limit=${limit}`, { signal });
    if (session !== this.#session) return;
    this.#before = after + 1;
    const latest = this.#entries[0]?.version ?? Infinity;
    this.#entries.unshift(...entries.filter((entry) => entry.version < latest).map((entry) => ({ session, ...entry })));
    this.#draw();
  }

  add(entry) {
    this.#all.push(entry);
    if (this.#all.length > 2 * KEPT) this.#all.splice(0, KEPT);
    if (entry.session === this.#session && entry.version > (this.#entries.at(-1)?.version ?? 0)) {
      this.#entries.push(entry);
      if (this.#entries.length > 8 * MOST) this.#forget();
    } else if (this.#scope === "one") return;
    if (this.#waiting.push(entry) === 1) requestAnimationFrame(() => this.#append());
  }

  #forget() {
    this.#entries.splice(0, 4 * MOST);
    this.#before = this.#entries[0].version;
  }

  #wanted(entry) {
    if (this.#scope === "one" && entry.session !== this.#session) return false;
    return this.#depth === "everything" || !tell(entry).routine;
  }

  #shown() {
    return (this.#scope === "one" ? this.#entries : this.#all).filter((entry) => this.#wanted(entry)).slice(-MOST);
  }

  #append() {
    const fresh = this.#waiting.splice(0).filter((entry) => this.#wanted(entry)).slice(-MOST);
    if (fresh.length === 0) return;
    this.#root.querySelector(".quietly")?.remove();
    const still = this.#root.scrollTop > 4 ? this.#root.scrollHeight : null;
    this.#root.prepend(...fresh.reverse().map((entry) => this.#row(entry, true)));
    if (still !== null) this.#root.scrollTop += this.#root.scrollHeight - still; // what is being read stays in place
    const rows = this.#root.querySelectorAll(".told");
    for (let at = MOST; at < rows.length; at += 1) rows[at].remove();
  }

  #draw() {
    this.#waiting = [];
    const rows = this.#shown().reverse().map((entry) => this.#row(entry));
    if (rows.length === 0) rows.push(h("li", { class: "quietly" }, this.#nothing()));
    if (this.#scope === "one" && this.#before > 1 && this.#entries.length) {
      const more = h("button", { class: "more", type: "button" }, "Earlier");
      more.onclick = () => {
        more.disabled = true;
        this.#earlier().catch((error) => replace(more, error.message));
      };
      rows.push(h("li", { class: "quietly" }, more));
    }
    replace(this.#root, rows);
  }

  #nothing() {
    if (this.#scope === "all") return "Nothing yet since this page was opened.";
    if (this.#entries.length) return `Nothing was decided in the latest ${counted(this.#entries.length, "entry")}.`;
    return this.#session && this.#before > 1 ? "Reading the ledger" : "Nothing yet.";
  }

  #row(entry, fresh = false) {
    const told = tell(entry);
    const time = new Date(entry.time);
    const text = h("div", {}, h("span", {}, told.parts.flatMap((part) => [typeof part === "string" ? part : component(part.component), " "])));
    tidy(text.firstChild);
    if (this.#scope === "all") {
      const link = h("a", { href: `#${encodeURIComponent(entry.session)}` }, entry.session);
      text.append(h("div", { class: "where" }, link));
    }
    if (told.detail.length) text.append(details(told.detail));
    return h(
      "li",
      { class: `told${told.tone ? ` s-${told.tone}` : ""}${fresh ? " fresh" : ""}` },
      h("time", { datetime: entry.time, title: fullTime(time) }, clockTime(time)),
      glyph(told.shape),
      text,
      h("span", { class: "change" }, told.change ? signed(told.change) : ""),
    );
  }
}

function component(name) {
  return h("span", { class: "named" }, swatch(name), title(name));
}

// "Refused to [component] : 12" reads better without the space before the colon.
function tidy(element) {
  for (const node of element.childNodes) {
    const next = node.nextSibling?.nextSibling;
    if (node.nextSibling?.nodeValue === " " && next?.nodeType === Node.TEXT_NODE && /^[:,]/.test(next.nodeValue)) node.nextSibling.nodeValue = "";
  }
}

function details(lines) {
  const element = h("details", {}, h("summary", {}, lines.length === 1 ? "why" : `${lines.length} details`));
  element.ontoggle = () => {
    if (element.children.length === 1) element.append(h("ul", {}, lines.map(([left, right]) => h("li", {}, h("span", { title: left }, left), h("span", {}, right)))));
  };
  return element;
}
