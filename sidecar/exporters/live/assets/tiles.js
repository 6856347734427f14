// Three answers for a first look: what fills the window, what was cleaned up, what happens next.

import { byId, h, meter, replace, write } from "./dom.js";
import { ago, COMPONENTS, counted, duration, percent, title, tokens, words } from "./format.js";

// `tale`: { sums, last_cleanup } as the history tells it, or null while it is being read; `directives`: how many wait.
export function tiles(report, tale, directives) {
  fills(report);
  cleaned(report, tale);
  next(report, directives);
}

function fills(report) {
  const { overall } = report;
  const status = meter(overall.status);
  const key = `${percent(overall.utilization_ratio)} ${overall.status}`;
  const big = byId("fills-big");
  if (big.dataset.key !== key) {
    big.dataset.key = key;
    replace(big, percent(overall.utilization_ratio), status);
  }
  const [most, used] = largest(report);
  const mostly = used ? [" Mostly ", h("b", {}, words(most)), ` (${percent(used / Math.max(1, overall.used_tokens))} of it).`] : [];
  replace(byId("fills"), `${tokens(overall.used_tokens)} of ${tokens(overall.total_tokens)} tokens.`, mostly);
}

function largest(report) {
  const parts = COMPONENTS.map((name) => [name, report.components[name].used_tokens]);
  parts.push(["unattributed", report.overall.unattributed_tokens]);
  return parts.reduce((most, each) => (each[1] > most[1] ? each : most));
}

function cleaned(report, tale) {
  const big = byId("cleaned-big");
  const text = byId("cleaned");
  if (!tale) {
    write(big, "…");
    write(text, "");
    return;
  }
  const { sums, last_cleanup: last } = tale;
  const now = Date.parse(report.timestamp) / 1000;
  const reclaimable = COMPONENTS.reduce((sum, name) => sum + (report.components[name].reclaimable_tokens ?? 0), 0);
  const parts = [];
  if (report.mode === "observed") {
    replace(big, tokens(sums.compacted_tokens), " ", h("small", {}, "tokens compacted"));
    parts.push(`By the host, in ${counted(sums.compactions, "compaction")}.`);
    if (reclaimable) parts.push(`A cleanup would free ${tokens(reclaimable)}; an observed window is only advised.`);
  } else {
    replace(big, tokens(sums.freed_tokens), " ", h("small", {}, "tokens"));
    if (last) parts.push(`In ${counted(sums.cleanups, "cleanup")}; the last freed ${tokens(last.tokens_freed)} from ${words(last.component)}, ${ago(now - last.time)}.`);
    else parts.push("Nothing had to be cleaned up yet.");
    if (reclaimable) parts.push(`${tokens(reclaimable)} ${last ? "more " : ""}could go.`);
  }
  if (sums.refused) parts.push(`${counted(sums.refused, "request")} not granted in full.`);
  write(text, parts.join(" "));
}

function next(report, directives) {
  const { forecast, overall } = report;
  const big = byId("next-big");
  const parts = [];
  const calls = forecast.eta_calls === undefined ? "" : counted(Math.max(1, Math.round(forecast.eta_calls)), "model call");
  if (report.state === "closed") write(big, "Closed");
  else if (overall.available_tokens === 0) write(big, "It is full");
  else if (forecast.eta_seconds !== undefined) write(big, `Full in ${duration(forecast.eta_seconds)}`);
  else if (calls) write(big, `Full in ${calls}`);
  else write(big, "Room to go on");
  if (report.state !== "closed") {
    if (calls && overall.available_tokens) parts.push(forecast.eta_seconds === undefined ? "At the present pace." : `That is about ${calls} at the present pace.`);
    else if (forecast.eta_seconds === undefined && overall.available_tokens) parts.push(`${tokens(overall.available_tokens)} tokens are free, and it is not growing.`);
    const due = closest(report);
    const full = COMPONENTS.find((name) => name !== "system_context" && report.components[name].available_tokens === 0);
    if (due && report.mode === "managed") parts.push(full ? `Requests for ${words(full)} are refused until something of it goes.` : due.left > 0 ? `${title(due.name)} is cleaned up after ${tokens(due.left)} more tokens.` : `${title(due.name)} is above its target.`);
    if (directives) parts.push(`${counted(directives, "directive")} ${directives === 1 ? "waits" : "wait"} for the agent.`);
  }
  write(byId("next"), parts.join(" "));
}

// The component that is nearest to the upper end of its target, where its cleanup begins.
function closest(report) {
  const due = COMPONENTS.filter((name) => name !== "system_context" && report.components[name].used_tokens > 0).map((name) => {
    const part = report.components[name];
    return { name, left: Math.ceil(part.target.high * part.allocated_tokens) - part.used_tokens };
  });
  return due.length ? due.reduce((a, b) => (b.left < a.left ? b : a)) : null;
}
