// Light or dark, before anything is drawn: as the system has it, unless the viewer chose.
// A classic script, because a module would run only after the first paint.
(() => {
  const order = ["auto", "light", "dark"];
  const root = document.documentElement;
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("theme") ?? "auto";
  } catch {
    // a browser that keeps nothing still shows the page
  }
  const apply = (theme) => {
    chosen = order.includes(theme) ? theme : "auto";
    root.dataset.theme = chosen;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${chosen}`;
    root.dispatchEvent(new Event("theme"));
  };
  apply(chosen);
  document.addEventListener("DOMContentLoaded", () => {
    apply(chosen);
    document.getElementById("theme").addEventListener("click", () => {
      apply(order[(order.indexOf(chosen) + 1) % order.length]);
      try {
        localStorage.setItem("theme", chosen);
      } catch {
        // as above
      }
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => root.dispatchEvent(new Event("theme")));
})();
