// Every window that is known, by session. What changes between two frames is told to the listeners once.

import { call, pages, sessionPath } from "./net.js";

export class Store {
  sessions = new Map(); // id -> { session, agent, model, mode, state, total, used, ratio, status, eta, exhaustions, report, touched }
  #changed = new Set();
  #listeners = [];
  #asked = new Set();
  #asking = 0;

  // listener(changed ids)
  listen(listener) {
    this.#listeners.push(listener);
  }

  get(id) {
    return this.sessions.get(id);
  }

  async load() {
    const seen = new Set();
    for await (const page of pages("v1/sessions", "sessions")) {
      for (const summary of page) {
        seen.add(summary.session);
        this.#summary(summary);
      }
    }
    for (const id of this.sessions.keys()) {
      if (!seen.has(id) && !this.sessions.get(id).report) this.sessions.delete(id);
    }
    this.#asked.clear();
    this.#change(null);
  }

  #summary(summary) {
    const known = this.sessions.get(summary.session);
    if (known?.report && known.state === summary.state && known.used === summary.used_tokens) return;
    this.sessions.set(summary.session, {
      touched: 0,
      eta: null,
      exhaustions: null,
      report: null,
      ...known,
      session: summary.session,
      agent: summary.agent,
      model: summary.model,
      mode: summary.mode,
      state: summary.state,
      total: summary.total_tokens,
      used: summary.used_tokens,
      ratio: summary.utilization_ratio,
      status: summary.status,
    });
    this.#change(summary.session);
  }

  report(report) {
    const components = Object.values(report.components);
    this.sessions.set(report.session, {
      session: report.session,
      agent: report.agent,
      model: report.model,
      mode: report.mode,
      state: report.state,
      total: report.overall.total_tokens,
      used: report.overall.used_tokens,
      ratio: report.overall.utilization_ratio,
      status: report.overall.status,
      eta: report.state === "closed" ? null : report.forecast.eta_seconds ?? null,
      exhaustions: components.reduce((sum, each) => sum + each.exhaustions, 0),
      touched: Date.parse(report.timestamp),
      report,
    });
    this.#change(report.session);
  }

  // Of a window that nothing was heard of, only the level is known. Its report is read once, when it comes into sight.
  look(id) {
    const known = this.sessions.get(id);
    if (!known || known.report || this.#asked.has(id) || this.#asking >= 4) return;
    this.#asked.add(id);
    this.#asking += 1;
    call(sessionPath(id))
      .then((report) => this.sessions.get(id)?.report ?? this.report(report), () => {})
      .finally(() => {
        this.#asking -= 1;
        this.#change(id);
      });
  }

  #change(id) {
    if (this.#changed.size === 0) {
      requestAnimationFrame(() => {
        const changed = this.#changed;
        this.#changed = new Set();
        for (const listener of this.#listeners) listener(changed);
      });
    }
    this.#changed.add(id);
  }
}
