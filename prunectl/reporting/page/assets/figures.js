"use strict";
// Figures: tooltips, and legends that show and hide methods.
(() => {
  // what the legends hide: classes of methods, all targets except one, and all seeds except one
  const hidden = new Set();
  let target = "";
  let seed = "";
  const seedsOf = (hit) => new Map((hit.dataset.seeds || "").split(";").filter(Boolean).map((text) => {
    const [name, ...numbers] = text.split(",");
    return [name, numbers.map(Number)];
  }));
  const isPicked = (hit) => (!target || hit.dataset.target === target) && (!seed || seedsOf(hit).has(seed));
  const isShown = (hit) => ![...hit.classList].some((name) => hidden.has(name)) && isPicked(hit);

  // a point is the mean over seeds, or the value of a single seed
  const whole = new Map();
  const move = (hit) => {
    const circles = hit.querySelectorAll("circle");
    if (!whole.has(hit)) {
      const at = ["cx", "cy"].map((axis) => Number(circles[0].getAttribute(axis)));
      whole.set(hit, [[...at, Number(hit.dataset.cost), Number(hit.dataset.y)], hit.dataset.tip]);
    }
    const [mean, tip] = whole.get(hit);
    const one = seedsOf(hit).get(seed);
    const [cx, cy, cost, y] = one || mean;
    for (const circle of circles) { circle.setAttribute("cx", cx); circle.setAttribute("cy", cy); }
    Object.assign(hit.dataset, { cost, y, tip: one ? `${tip.slice(0, tip.lastIndexOf(": "))}, seed ${seed}: ${y.toFixed(2)} %` : tip });
    hit.setAttribute("aria-label", hit.dataset.tip);
  };

  // tooltips: by mouse, keyboard and touch, where the first tap shows the tooltip and the second follows its link.
  // Points at the same place share a tooltip.
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

  // the Pareto front of the visible points
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
      hit.classList.toggle("other", !isPicked(hit));
      if (front.has(hit)) places.push([Number(ring.getAttribute("cx")), Number(ring.getAttribute("cy"))]);
    }
    const line = svg.querySelector(".front-line");
    if (line) line.setAttribute("points", places.sort(([a], [b]) => a - b).map((place) => place.join()).join(" "));
    svg.classList.toggle("picked", Boolean(target || seed));
  };
  const drawFronts = () => { for (const svg of document.querySelectorAll(".card svg")) if (svg.querySelector(".hit[data-cost]")) drawFront(svg); };

  // legends: a button shows or hides a method in all figures and legends
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
  // lists that show a single target or seed; all legends change together
  const order = (a, b) => a.localeCompare(b, "en", { numeric: true });
  const hits = [...document.querySelectorAll(".hit[data-cost]")];
  const choose = (name, values, chosen) => {
    const lists = [];
    for (const legend of values.length > 1 ? document.querySelectorAll(".legend[data-targets]") : []) {
      const label = document.createElement("label");
      const list = document.createElement("select");
      label.className = "key";
      label.append(`${name} `, list);
      list.add(new Option("all", ""));
      for (const one of values) list.add(new Option(one));
      list.addEventListener("change", () => {
        chosen(list.value);
        for (const twin of lists) twin.value = list.value;
        drawFronts();
      });
      lists.push(list);
      legend.append(label);
    }
  };
  const targets = [...new Set([...document.querySelectorAll(".hit[data-target]")].map((hit) => hit.dataset.target))];
  choose("target", targets.sort(order), (value) => { target = value; });
  const seeds = [...new Set(hits.flatMap((hit) => [...seedsOf(hit).keys()]))];
  choose("seed", seeds.sort(order), (value) => { seed = value; hits.forEach(move); });
})();
