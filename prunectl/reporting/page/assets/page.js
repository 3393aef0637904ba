"use strict";
// The page as a whole: light or dark, the navigation, and commands to copy.
(() => {
  const root = document.documentElement;

  addEventListener("load", () => setTimeout(() => root.classList.add("settled"), 200));

  // the system decides between light and dark until the button is used
  const stored = () => { try { return localStorage.getItem("prunectl-theme"); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem("prunectl-theme", theme); } catch { /* a private window */ } };
  if (stored()) root.dataset.theme = stored();
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    store(root.dataset.theme);
  });

  // the navigation marks the visible section
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.classList.remove("here");
      links.get(entry.target.id).classList.add("here");
    }
  }, { rootMargin: "-15% 0px -80% 0px" });
  for (const id of links.keys()) watch.observe(document.getElementById(id));

  // commands: a button selects and copies them
  const copy = async (text, element) => {
    getSelection().selectAllChildren(element);
    try { await navigator.clipboard.writeText(text); } catch { document.execCommand("copy"); }
  };
  for (const command of document.querySelectorAll(".command")) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "copy", textContent: "Copy" });
    button.addEventListener("click", async () => {
      await copy(command.textContent, command);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    command.before(button);
  }
})();
