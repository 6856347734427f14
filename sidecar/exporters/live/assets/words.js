// An entry of the ledger in words: what was decided, and why. Parts are texts, or components to be drawn as such.

import { counted, percent, signed, title, tokens, words } from "./format.js";

const c = (component) => ({ component });
const BY = { request: "asked for", fact: "came in" };
const TRIGGERS = {
  allocation: "to make room",
  target: "having crossed its target",
  prediction: "before a predicted need",
  manual: "on request",
};

// { shape, tone, parts, change, detail, routine }: `change` is in tokens, `detail` lines of [text, text].
export function tell(entry) {
  const teller = TELLERS[entry.type];
  return { shape: "dot", tone: "", parts: [words(entry.type)], change: null, detail: [], routine: false, ...teller?.(entry) };
}

const TELLERS = {
  opened: (e) => ({
    shape: "ring",
    parts: [`${e.epoch > 1 ? "Opened again" : "Opened"}: ${e.mode}, ${tokens(e.total_tokens - (e.reserve_tokens ?? 0))} tokens`],
    detail: shares(e.shares),
  }),
  changed: (e) => ({
    shape: "ring",
    parts: [`Changed: ${["total_tokens", "reserve_tokens", "mode", "model", "shares"].filter((name) => e[name] !== undefined).map(words).join(", ")}`],
    detail: e.shares ? shares(e.shares) : [],
  }),
  exhausted: (e) => ({
    shape: "bang",
    tone: "high",
    parts: [c(e.component), `was exhausted: ${tokens(e.tokens)} ${BY[e.by]}, ${tokens(e.available_tokens)} left`],
  }),
  allocated: (e) => {
    const asked = `${tokens(e.requested)} asked for`;
    const item = e.item ? ` (${e.item})` : "";
    const told = {
      full: { parts: [`Granted to`, c(e.component), item], routine: true },
      after_cleanup: { shape: "tick", tone: "low", parts: ["Granted after a cleanup to", c(e.component), item] },
      borrowed: { shape: "tick", tone: "moderate", parts: ["Granted with borrowed tokens to", c(e.component), item] },
      partial: { shape: "cross", tone: "high", parts: [`Granted in part to`, c(e.component), `: ${asked}${item}`] },
      denied: { shape: "cross", tone: "critical", parts: [`Refused to`, c(e.component), `: ${asked}, ${tokens(e.available_tokens)} available${item}`] },
    }[e.outcome];
    const freed = e.cleanup && e.cleanup.steps.map((step) => [`cleanup: ${words(step.step)}, ${counted(step.items, "item")}`, signed(-step.tokens_freed)]);
    return { shape: "up", ...told, change: e.granted, detail: freed ?? [] };
  },
  lease_lapsed: (e) => ({ shape: "down", parts: ["A grant to", c(e.component), "lapsed unclaimed"], change: -e.tokens }),
  released: (e) => ({ shape: "down", parts: ["Released from", c(e.component)], change: -e.tokens, routine: true }),
  item_put: (e) => {
    const back = e.restored ? "Restored to" : e.readmitted ? "Needed again in" : null;
    const verb = back ?? (e.new === false ? "Changed in" : "New in");
    return { shape: back ? "up" : "dot", tone: back ? "moderate" : "", parts: [verb, c(e.item.component), `: ${e.item.kind} ${e.item.path ?? e.item.id}`], change: e.item.tokens, routine: !back };
  },
  item_resized: (e) => ({ parts: ["Resized in", c(e.component), `: ${e.item}`], change: e.tokens - e.tokens_before, routine: true }),
  item_touched: (e) => ({ parts: [`Used: ${e.item}`], routine: true }),
  item_completed: (e) => ({ parts: [`Completed: ${e.item}`], routine: true }),
  item_removed: (e) => ({ shape: "down", parts: ["Gone from", c(e.component), `: ${e.item}, ${e.reason}`], change: -e.tokens, routine: true }),
  cleaned_up: (e) => ({
    shape: "down",
    tone: "low",
    parts: [c(e.component), `cleaned up ${TRIGGERS[e.trigger]}: ${steps(e.actions)}`],
    change: -e.tokens_freed,
    detail: e.actions.slice(0, 200).map((a) => [`${a.action} ${a.item}`, a.tokens_after ? `${tokens(a.tokens_before)} → ${tokens(a.tokens_after)}` : signed(-a.tokens_before)]),
  }),
  bound_exceeded: (e) => ({
    parts: e.bound === "window" ? ["The window is above its upper mark, and nothing is to be freed for now"] : [c(e.component), `is above its ${e.bound}, and nothing is to be freed for now`],
    routine: true,
  }),
  usage_reported: (e) => ({ parts: [`Usage reported (${e.source})${e.total === undefined ? "" : `: ${tokens(e.total)} tokens in all`}`], routine: true }),
  calibrated: (e) => ({
    shape: "scale",
    tone: "moderate",
    parts: [`The window is measured at ${e.ratio.toFixed(2)} provider tokens for each counted one, before at ${e.before.toFixed(2)}`],
  }),
  compacted: (e) => ({
    shape: "fold",
    tone: "moderate",
    parts: [`The host compacted its window (${e.source}): ${tokens(e.tokens_before)} to ${tokens(e.tokens_after)}`],
    change: e.tokens_after - e.tokens_before,
  }),
  window_synced: (e) => ({ parts: [`Window shown: ${counted(e.items, "item")}, ${tokens(e.tokens)} tokens`], routine: true }),
  directives_confirmed: (e) => ({ shape: "tick", tone: "low", parts: [`The agent applied ${counted(e.numbers.length, "directive")}`], change: -confirmed(e.tokens) || null }),
  directives_undone: (e) => ({
    shape: "cross",
    tone: "high",
    parts: [`${counted(e.numbers.length, "directive")} undone: ${{ failed: "the agent could not apply them", shown: "the window shows the items still", superseded: "the items were put anew" }[e.why]}`],
    detail: Object.entries(e.reasons ?? {}).map(([number, why]) => [`directive ${number}`, why]),
  }),
  shares_adjusted: (e) => ({
    shape: "scale",
    tone: "moderate",
    parts: [`Shares adjusted ${{ request: "on request", interval: "at their interval", prediction: "for a prediction", close: "at the end" }[e.trigger]}`],
    detail: Object.keys(e.after).filter((name) => e.after[name] !== e.before[name]).map((name) => [`${title(name)}: ${(e.reasons[name] ?? []).join(", ")}`, `${percent(e.before[name])} → ${percent(e.after[name])}`]),
  }),
  tasks_planned: (e) => ({
    shape: "scale",
    parts: [`Predicted the needs of ${counted(e.tasks.length, "task")}`],
    detail: e.tasks.map((task) => [`${task.id} (${task.complexity})`, Object.entries(task.predicted).map(([name, count]) => `${words(name)} ${tokens(count)}`).join(", ")]),
  }),
  task_completed: (e) => ({
    shape: "tick",
    tone: "low",
    parts: [`Task ${e.task} is done`],
    detail: Object.keys(e.actual).map((name) => [title(name), `predicted ${tokens(e.predicted[name] ?? 0)}, took ${tokens(e.actual[name])}`]),
  }),
  learned: (e) => ({
    shape: "scale",
    parts: [e.shares ? `The next sessions of ${e.agent} start from other shares` : `Something was learned about ${e.agent}`],
    detail: e.shares ? shares(e.shares) : [],
    routine: !e.shares,
  }),
  archive_erased: (e) => ({ shape: "cross", parts: [e.item ? `Erased from the archive: ${e.item}` : "The archive was erased"] }),
  closed: (e) => ({ shape: "ring", parts: [e.by === "idle" ? "Closed after a long silence" : "Closed"] }),
  noted: () => ({ parts: ["Nothing changed"], routine: true }),
};

function steps(actions) {
  const counts = new Map();
  for (const action of actions) counts.set(action.step, (counts.get(action.step) ?? 0) + 1);
  return [...counts].map(([step, count]) => `${words(step)} (${counted(count, "item")})`).join(", ");
}

function confirmed(tokensBy) {
  return Object.values(tokensBy ?? {}).flatMap((by) => Object.values(by)).reduce((sum, each) => sum + each, 0);
}

function shares(of) {
  return Object.entries(of).map(([name, share]) => [title(name), `${(share * 100).toFixed(1)} %`]);
}

