"use strict";
{
  // Light or dark: what the system asks for, until the button says otherwise.
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => { root.dataset.theme = dark.matches ? "dark" : "light"; };
  follow();
  dark.addEventListener("change", follow);
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  });

  // A click on a heading sorts; what has no value stays last in either order.
  const order = (a, b, up) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const difference = Number(a) - Number(b);
    return (Number.isNaN(difference) ? a.localeCompare(b, "en", { numeric: true }) : difference) * up;
  };
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const head = button.parentElement, body = head.closest("table").tBodies[0];
      const up = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up === 1 ? "ascending" : "descending");
      const key = (row) => row.cells[head.cellIndex]?.dataset.key ?? "";
      body.append(...[...body.rows].sort((a, b) => order(key(a), key(b), up)));
    });
  }

  // Charts; where one has a slider over steps, the other shows at which step it stands.
  const vega = globalThis.vega;
  const options = { renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" }, logLevel: vega?.Error };
  const drawn = [...document.querySelectorAll(".plot")].map((plot) => {
    const spec = JSON.parse(plot.nextElementSibling.textContent);
    return vegaEmbed(plot, spec, options).then(({ view }) => ({ view, link: plot.dataset.link }));
  });
  Promise.all(drawn).then((charts) => {
    for (const { view, link } of charts) {
      const target = charts.find((chart) => link && chart.link === link && chart.view !== view);
      const signals = view.getState().signals;
      if (!target || !("at" in signals)) continue;
      const mark = () => target.view.signal("marker", view.signal("steps")[view.signal("at") - 1]).runAsync();
      view.addSignalListener("at", mark);
      mark();
    }
    root.dataset.drawn = "yes";
  });

  // Paper has no folds.
  const folds = document.querySelectorAll("details");
  addEventListener("beforeprint", () => folds.forEach((fold) => { fold.open = true; }));
}
