// The token, where the sidecar asks for one: entered once, kept until the tab is closed, sent as a header and nowhere else.

import { byId, write } from "./dom.js";

const KEPT = "token-budget-token";
const UNAUTHENTICATED = 401;

let token = null; // where the browser keeps nothing
let entering = null;

function kept() {
  try {
    return sessionStorage.getItem(KEPT) ?? token;
  } catch {
    return token;
  }
}

function keep(text) {
  token = text;
  try {
    sessionStorage.setItem(KEPT, text);
  } catch {
    // it is asked for again when the page is loaded again
  }
}

const withToken = (options, text) => (text ? { ...options, headers: { ...options.headers, Authorization: `Bearer ${text}` } } : options);

// As `fetch`; where a token is asked for, its answer comes when one was entered that is known.
export async function ask(path, options = {}) {
  for (;;) {
    const shown = kept();
    const answer = await fetch(path, withToken(options, shown));
    if (answer.status !== UNAUTHENTICATED) return answer;
    if (kept() === shown) await enter();
  }
}

// Opened once, however many calls wait for it.
function enter() {
  entering ??= new Promise((entered) => {
    const dialog = byId("login");
    const input = byId("token");
    dialog.oncancel = (event) => event.preventDefault(); // without a token there is nothing to see
    byId("login-form").onsubmit = async (event) => {
      event.preventDefault();
      const text = input.value.trim();
      const trouble = await wrong(text);
      write(byId("login-trouble"), trouble);
      if (trouble) return;
      input.value = "";
      keep(text);
      dialog.close();
      entering = null;
      entered();
    };
    if (!dialog.open) dialog.showModal();
  });
  return entering;
}

// What is wrong with a token; nothing where it opens what the page shows.
async function wrong(text) {
  try {
    const answer = await fetch("v1/sessions?limit=1", withToken({}, text));
    if (answer.ok) return "";
    return (await answer.json()).detail;
  } catch (error) {
    return error.message;
  }
}
