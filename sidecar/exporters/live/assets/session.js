// The window that is shown: read once when it is chosen, kept up by the stream from then on.

import { BigBar } from "./bar.js";
import { Chart } from "./chart.js";
import { Components } from "./components.js";
import { byId, h, replace, write } from "./dom.js";
import { percent, tokens, words } from "./format.js";
import { call, sessionPath } from "./net.js";
import { Archive, Directives } from "./records.js";
import { Story } from "./story.js";
import { Tabs } from "./tabs.js";
import { tiles } from "./tiles.js";

const LISTS_AFTER = 600; // milliseconds after an entry that changes a list
const SPEAK_EVERY = 6000; // milliseconds between two announcements to a screen reader

export class SessionView {
  #bar = new BigBar();
  #components = new Components();
  #chart = new Chart();
  #directives = new Directives();
  #archive = new Archive();
  #tale = null;
  #version = 0; // of the history that was read: later entries are added to it
  #late = []; // entries that came while it was being read
  #reading = null;
  #lists = 0;
  #spoke = 0;
  id = null;

  constructor(store, choose) {
    this.store = store;
    this.story = new Story(choose);
    byId("bar").append(this.#bar.element);
    this.tabs = new Tabs(byId("tabs"), (tab) => tab === "tab-archive" && this.id && this.#archive.show(this.id));
    new ResizeObserver(() => this.#draw()).observe(byId("bar"));
    store.listen((changed) => (changed.has(this.id) || changed.has(null)) && this.#draw(changed.has(this.id)));
  }

  async show(id) {
    if (id === this.id) return;
    this.#reading?.abort();
    this.id = id;
    byId("session").hidden = id === null;
    byId("empty").hidden = id !== null;
    if (id === null) return;
    byId("window").scrollTop = 0;
    await this.read();
  }

  // Read everything that the stream does not tell: for another window, or when entries were missed.
  async read() {
    const id = this.id;
    if (id === null) return;
    this.#reading?.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    this.#tale = null;
    this.#late = [];
    this.#chart.clear();
    this.#directives.clear();
    this.#draw();
    try {
      if (!this.store.get(id)?.report) this.store.report(await call(sessionPath(id), { signal }));
      const history = await call(`live/history/${encodeURIComponent(id)}`, { signal });
      if (id !== this.id) return;
      this.#tale = history;
      this.#version = history.version;
      this.#chart.begin(history);
      this.#chart.report(this.store.get(id).report); // one may have come while the history was read
      for (const entry of this.#late.splice(0)) this.#count(entry);
      this.#draw();
      await Promise.all([this.story.begin(id, history.version, signal), this.#directives.show(id, signal), this.tabs.shown === "tab-archive" && this.#archive.show(id)]);
      this.#draw();
    } catch (error) {
      if (error.name !== "AbortError") this.#fail(error);
    }
  }

  #fail(error) {
    byId("session").hidden = true;
    byId("empty").hidden = false;
    write(byId("empty"), error.message);
    this.id = null;
  }

  entry(entry) {
    this.story.add(entry);
    if (entry.session !== this.id) return;
    if (this.#tale) this.#count(entry);
    else this.#late.push(entry);
    if (["cleaned_up", "directives_confirmed", "directives_undone", "item_removed", "archive_erased"].includes(entry.type)) this.#listsChanged();
  }

  #count(entry) {
    if (entry.version <= this.#version) return;
    this.#version = entry.version;
    const { sums } = this.#tale;
    if (entry.type === "cleaned_up") {
      sums.cleanups += 1;
      sums.freed_tokens += entry.tokens_freed;
      this.#tale.last_cleanup = { ...entry, time: Date.parse(entry.time) / 1000 };
      this.#speak(`${words(entry.component)} cleaned up, ${tokens(entry.tokens_freed)} tokens freed`);
    } else if (entry.type === "compacted") {
      sums.compactions += 1;
      sums.compacted_tokens += entry.tokens_before - entry.tokens_after;
    } else if (entry.type === "exhausted") sums.exhaustions += 1;
    else if (entry.type === "allocated") {
      sums.requests += 1;
      if (entry.outcome === "denied" || entry.outcome === "partial") {
        sums.refused += 1;
        this.#speak(`A request for ${tokens(entry.requested)} tokens of ${words(entry.component)} was not granted in full`);
      }
    }
    this.#chart.mark(entry);
  }

  #listsChanged() {
    if (this.#lists) return;
    this.#lists = setTimeout(async () => {
      this.#lists = 0;
      if (this.id === null) return;
      await this.#directives.show(this.id).catch(() => {});
      if (this.tabs.shown === "tab-archive" && !this.#archive.inUse) await this.#archive.show(this.id);
      this.#draw();
    }, LISTS_AFTER);
  }

  #speak(text) {
    if (performance.now() - this.#spoke < SPEAK_EVERY) return;
    this.#spoke = performance.now();
    write(byId("announce"), text);
  }

  #draw(news = false) {
    const known = this.store.get(this.id);
    if (!known) return;
    write(byId("name"), known.session);
    const { report } = known;
    if (!report) return;
    if (news) this.#chart.report(report);
    this.#facts(report);
    tiles(report, this.#tale, this.#directives.total);
    this.#bar.show(known);
    this.#components.show(report);
    document.title = `${percent(known.ratio)} · ${known.session}`;
  }

  #facts(report) {
    const facts = [report.state, report.agent, report.model, report.mode, report.source !== "exact" && `${report.source} counts`, report.provider_ratio !== null && `${report.provider_ratio.toFixed(2)} provider tokens each`].filter(Boolean);
    const key = [...facts, report.parent].join("|");
    const root = byId("facts");
    if (root.dataset.key === key) return;
    root.dataset.key = key;
    const parent = report.parent && h("span", {}, "sub-agent of ", h("a", { href: `#${encodeURIComponent(report.parent)}` }, report.parent));
    replace(root, facts.map((fact, at) => h("span", { class: at ? null : "state" }, fact)), parent);
  }
}
