// The API and the stream. Errors are the sidecar's own sentences.

export const sessionPath = (session, ...rest) => ["v1/sessions", session, ...rest].map((part, at) => (at ? encodeURIComponent(part) : part)).join("/");

export async function call(path, { method = "GET", body, signal } = {}) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
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

// What the stream says, until the page is left. `on`: entry(entry), report(report), reset(), state(word).
export function follow(on) {
  let source;
  const connect = () => {
    source = new EventSource("v1/stream?reports=true");
    source.onopen = () => on.state("live");
    source.onmessage = (event) => on.entry(JSON.parse(event.data));
    source.addEventListener("report", (event) => on.report(JSON.parse(event.data)));
    source.addEventListener("reset", () => on.reset());
    source.onerror = () => {
      on.state("lost");
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself, and says where it was
      setTimeout(() => {
        connect();
        on.reset();
      }, 2000);
    };
  };
  connect();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
}
