"use strict";
// Shows one of several charts, and one of several networks, at a time. Without a script, all are shown.
(() => {
  // charts: a row of buttons
  for (const group of document.querySelectorAll(".chosen")) {
    const figures = [...group.children];
    if (figures.length < 2) continue;
    const bar = document.createElement("div");
    bar.className = "chooser";
    const show = (chosen) => figures.forEach((figure, i) => {
      figure.hidden = figure !== chosen;
      bar.children[i].setAttribute("aria-pressed", String(figure === chosen));
    });
    for (const figure of figures) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: figure.dataset.choice });
      button.addEventListener("click", () => show(figure));
      bar.append(button);
    }
    group.prepend(bar);
    show(figures[0]);
  }

  // networks: a list
  for (const group of document.querySelectorAll(".panels")) {
    const panels = [...group.children];
    if (panels.length < 2) continue;
    const label = document.createElement("label");
    const list = document.createElement("select");
    label.className = "chooser";
    label.append(`${group.dataset.label} `, list);
    panels.forEach((panel, i) => list.add(new Option(panel.querySelector("summary").textContent, i)));
    const show = (chosen) => panels.forEach((panel, i) => {
      panel.open = panel === chosen;
      panel.hidden = panel !== chosen;
      if (panel === chosen) list.value = i;
    });
    list.addEventListener("change", () => show(panels[list.value]));
    const follow = () => {
      const wanted = panels.find((panel) => `#${panel.id}` === location.hash);
      if (!wanted) return;
      show(wanted);
      group.scrollIntoView();
    };
    addEventListener("hashchange", follow);
    group.prepend(label);
    group.classList.add("switched");
    show(panels[0]);
    follow();
  }
})();
