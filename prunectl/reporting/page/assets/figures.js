"use strict";
// Figures: tooltips, and what the legend shows and hides.
(() => {
  // what the legends hide: classes of methods, and all targets but one
  const hidden = new Set();
  let target = "";
  const isShown = (hit) => ![...hit.classList].some((name) => hidden.has(name)) && (!target || hit.dataset.target === target);

  // tooltips: by mouse, by keyboard, and by touch, where the first tap shows one and the second follows its link.
  // Points in one place share a tooltip.
  const tip = document.getElementById("tip");
  let owner = null;
  let tapped = false;
  const hide = () => { tip.hidden = true; owner = null; };
  const place = (hit, axis) => Number(hit.querySelector(".dot").getAttribute(axis));
  const near = (hit) => [...hit.ownerSVGElement.querySelectorAll(".hit")].filter((other) =>
    other !== hit && isShown(other) && Math.hypot(place(hit, "cx") - place(other, "cx"), place(hit, "cy") - place(other, "cy")) < 4);
  const show = (hit) => {
    owner = hit;
    tip.replaceChildren(...[hit, ...near(hit)].map((one) => Object.assign(document.createElement("div"), { textContent: one.dataset.tip })));
    if (hit.dataset.runs) tip.append(Object.assign(document.createElement("small"), { textContent: "Select to see its runs." }));
    tip.hidden = false;
    const at = hit.querySelector(".dot").getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(at.left + at.width / 2 - own.width / 2, 6), innerWidth - own.width - 6);
    const above = at.top - own.height - 6;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 6 ? above : at.bottom + 6}px`;
  };
  const hitOf = (event) => (event.target.closest ? event.target.closest(".hit") : null);
  for (const title of document.querySelectorAll(".hit title")) title.remove();
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    const hit = hitOf(event);
    if (hit) show(hit);
    else if (owner && owner !== document.activeElement) hide();
  });
  document.addEventListener("focusin", (event) => { if (hitOf(event) && !tapped) show(hitOf(event)); });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("pointerdown", (event) => { tapped = event.pointerType === "touch"; });
  document.addEventListener("click", (event) => {
    const hit = hitOf(event);
    const first = tapped && hit && hit !== owner;
    tapped = false;
    if (first) { event.preventDefault(); show(hit); } else hide();
  });
  addEventListener("scroll", () => { if (owner && owner === document.activeElement) show(owner); else hide(); }, { passive: true });

  // the Pareto front of the points that are shown
  const drawFront = (svg) => {
    const hits = [...svg.querySelectorAll(".hit[data-cost]")].map((hit) => ({ hit, x: Number(hit.dataset.cost), y: Number(hit.dataset.y) }));
    const front = new Set();
    let best = -Infinity;
    for (const { hit, y } of hits.filter(({ hit }) => isShown(hit)).sort((a, b) => a.x - b.x || b.y - a.y)) {
      if (y > best) { best = y; front.add(hit); }
    }
    const places = [];
    for (const { hit } of hits) {
      const ring = hit.querySelector(".ring");
      ring.classList.toggle("front", front.has(hit));
      hit.classList.toggle("other", Boolean(target) && hit.dataset.target !== target);
      if (front.has(hit)) places.push([Number(ring.getAttribute("cx")), Number(ring.getAttribute("cy"))]);
    }
    const line = svg.querySelector(".front-line");
    if (line) line.setAttribute("points", places.sort(([a], [b]) => a - b).map((place) => place.join()).join(" "));
    svg.classList.toggle("picked", Boolean(target));
  };
  const drawFronts = () => { for (const svg of document.querySelectorAll(".card svg")) if (svg.querySelector(".hit[data-cost]")) drawFront(svg); };

  // legends: a button shows or hides a method in all figures and legends, a list shows one target alone
  const style = document.head.appendChild(document.createElement("style"));
  for (const button of document.querySelectorAll("[data-toggle]")) {
    button.addEventListener("click", () => {
      const name = button.dataset.toggle;
      if (!hidden.delete(name)) hidden.add(name);
      style.textContent = [...hidden].map((one) => `.card svg .${one} { display: none; }`).join("\n");
      for (const twin of document.querySelectorAll(`[data-toggle="${name}"]`)) {
        twin.setAttribute("aria-pressed", String(!hidden.has(name)));
      }
      drawFronts();
    });
  }
  const targets = [...new Set([...document.querySelectorAll(".hit[data-target]")].map((hit) => hit.dataset.target))];
  targets.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const lists = [];
  for (const legend of targets.length > 1 ? document.querySelectorAll(".legend[data-targets]") : []) {
    const label = document.createElement("label");
    const list = document.createElement("select");
    label.className = "key";
    label.append("target ", list);
    list.add(new Option("all", ""));
    for (const one of targets) list.add(new Option(one));
    list.addEventListener("change", () => {
      target = list.value;
      for (const twin of lists) twin.value = target;
      drawFronts();
    });
    lists.push(list);
    legend.append(label);
  }
})();
