// Numbers, times and names as people read them.

export const COMPONENTS = ["system_context", "working_memory", "knowledge_base", "agent_context", "interaction_buffer"];
export const STATUSES = ["low", "moderate", "high", "critical"];

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const plurals = { entry: "entries", memory: "memories" };

export const tokens = (count) => whole.format(count);
export const signed = (count) => (count < 0 ? `−${whole.format(-count)}` : `+${whole.format(count)}`);
export const percent = (ratio) => `${Math.round(ratio * 100)}\u00a0%`;
export const counted = (count, noun) => `${whole.format(count)} ${count === 1 ? noun : plurals[noun] ?? `${noun}s`}`;
export const words = (name) => name.replaceAll("_", " ");
export const title = (name) => words(name).replace(/^./, (first) => first.toUpperCase());

export function short(count) {
  if (count >= 999_500) return `${(count / 1e6).toFixed(count >= 9_995_000 ? 0 : 1)}M`;
  if (count >= 9_950) return `${Math.round(count / 1e3)}k`;
  return count >= 1_000 ? `${(count / 1e3).toFixed(1)}k` : `${count}`;
}

// A duration in its largest unit, or its two largest where the first is small.
export function duration(seconds) {
  const units = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
  let rest = Math.max(0, Math.round(seconds));
  const at = Math.max(0, units.findIndex(([, size]) => rest >= size));
  if (rest === 0) return "0 s";
  const [unit, size] = units[at];
  const first = Math.floor(rest / size);
  rest -= first * size;
  const second = at < 2 && first < 10 ? Math.floor(rest / units[at + 1][1]) : 0;
  return second ? `${first} ${unit} ${second} ${units[at + 1][0]}` : `${first} ${unit}`;
}

export function ago(seconds) {
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export const dayTime = (time) => day.format(time);
export const clockTime = (time) => clock.format(time);
export const fullTime = (time) => full.format(time);

// Names of windows differ at their end: a long one loses its middle.
export function middle(name, most) {
  if (name.length <= most) return name;
  const tail = Math.ceil(most * 0.6);
  return `${name.slice(0, most - tail - 1)}…${name.slice(-tail)}`;
}
