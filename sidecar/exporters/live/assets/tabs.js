// Tabs as the ARIA pattern has them: arrows move and open, Tab goes on into the panel.

import { set } from "./dom.js";

export class Tabs {
  constructor(root, open) {
    this.buttons = [...root.querySelectorAll("[role=tab]")];
    this.open = open;
    for (const button of this.buttons) button.onclick = () => this.show(button);
    root.onkeydown = (event) => {
      const at = this.buttons.indexOf(document.activeElement);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: this.buttons.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const button = this.buttons[(to + this.buttons.length) % this.buttons.length];
      button.focus();
      this.show(button);
    };
  }

  get shown() {
    return this.buttons.find((button) => button.getAttribute("aria-selected") === "true").id;
  }

  show(chosen) {
    for (const button of this.buttons) {
      const is = button === chosen;
      set(button, { "aria-selected": String(is), tabindex: is ? null : "-1" });
      document.getElementById(button.getAttribute("aria-controls")).hidden = !is;
    }
    this.open(chosen.id);
  }
}
