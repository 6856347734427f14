// The API and the stream. Errors are the sidecar's own sentences.

import { ask } from "./login.js";

export const sessionPath = (session, ...rest) => ["v1/sessions", session, ...rest].map((part, at) => (at ? encodeURIComponent(part) : part)).join("/");

export async function call(path, { method = "GET", body, signal } = {}) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await ask(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `${answer.status} ${answer.statusText}`);
}

export async function* pages(path, plural, signal) {
  let after = null;
  do {
    const cursor = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    const page = await call(`${path}?limit=1000${cursor}`, { signal });
    yield page[plural];
    after = page.next;
  } while (after !== null);
}

const AGAIN = 1000; // milliseconds between two attempts to connect

// What the stream says, until the page is left. `on`: entry(entry), report(report), reset(), state(word).
// Read by hand, because the browser's own EventSource cannot show a token.
export function follow(on) {
  let leaving;
  let last = "";

  const hear = (block) => {
    let name = "";
    let data = "";
    for (const line of block.split("\n")) {
      const [, key, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
      if (key === "id") last = value;
      else if (key === "event") name = value;
      else if (key === "data") data += value;
    }
    if (!data) return;
    if (name === "") on.entry(JSON.parse(data));
    else if (name === "report") on.report(JSON.parse(data));
    else if (name === "reset") on.reset();
  };

  const listen = async (signal) => {
    const headers = last ? { "Last-Event-ID": last } : {};
    const answer = await ask("v1/stream?reports=true", { headers, signal, cache: "no-store" });
    if (!answer.ok) return;
    on.state("live");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach(hear);
    }
  };

  const connect = async () => {
    leaving = new AbortController();
    const { signal } = leaving;
    while (!signal.aborted) {
      await listen(signal).catch(() => {}); // it broke, and goes on where it broke
      if (signal.aborted) return;
      on.state("lost");
      await new Promise((wake) => setTimeout(wake, AGAIN));
    }
  };

  connect();
  addEventListener("pagehide", () => leaving.abort());
  addEventListener("pageshow", (event) => event.persisted && connect());
}
