// The live page. Data flows one way: the stream and the API fill the store, and what is shown follows the store.

import { byId, write } from "./dom.js";
import { List } from "./list.js";
import { follow } from "./net.js";
import { SessionView } from "./session.js";
import { Store } from "./store.js";

const STATES = { live: "Live", lost: "Connection lost, trying again", waiting: "Connecting" };

const store = new Store();
const choose = (id) => {
  location.hash = encodeURIComponent(id);
};
const view = new SessionView(store, choose);
const list = new List(store, choose);
const wide = matchMedia("(min-width: 861px)");

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // written by hand, and no window's name
  }
}

// The window that the address names; on a wide screen the fullest one where it names none.
function show() {
  const named = decoded(location.hash.slice(1));
  const id = named || (wide.matches ? view.id ?? list.first ?? null : null);
  byId("page").classList.toggle("reading", Boolean(named));
  list.select(id);
  view.show(id);
  if (named && !wide.matches) byId("window").focus();
}

async function load() {
  try {
    await store.load();
  } catch {
    setTimeout(load, 2000);
  }
}

follow({
  entry: (entry) => view.entry(entry),
  report: (report) => store.report(report),
  reset: () => load().then(() => view.read()),
  state: (state) => {
    byId("connection").dataset.state = state;
    write(byId("connection"), STATES[state]);
  },
});
store.listen(() => view.id === null && show());
addEventListener("hashchange", show);
wide.addEventListener("change", show);
await load();
show();
