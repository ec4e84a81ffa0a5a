// Renders Mermaid charts in Chromium and prints the text of their boxes as JSON.
// Usage: node render.mjs CHART.mmd...
// Output: [{"file", "title", "boxes": [["line", ...], ...], "cut", "edges"}, ...]. The list "cut"
// contains the boxes that are too small for their text. If PNG_DIR is set, saves each chart as
// a picture there. Needs the npm packages mermaid and puppeteer-core.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import puppeteer from "puppeteer-core";

const mermaid = createRequire(import.meta.url).resolve("mermaid/dist/mermaid.min.js");
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const page = await browser.newPage();
await page.setViewport({ width: 1600, height: 1000 });
await page.goto("about:blank");
await page.addScriptTag({ path: mermaid });
const charts = [];
for (const file of process.argv.slice(2)) {
  const chart = await page.evaluate(async (text) => {
    // GitHub renders Mermaid with these settings and limits.
    mermaid.initialize({ startOnLoad: false, securityLevel: "strict", maxEdges: 500, maxTextSize: 50000 });
    const { svg } = await mermaid.render("chart", text);
    document.body.innerHTML = svg;
    const lines = (box) => {
      // Change a copy of the label, since the screenshot below shows the original.
      const label = box.querySelector(".nodeLabel").cloneNode(true);
      label.querySelectorAll("br").forEach((br) => br.replaceWith("\n"));
      return label.textContent.split("\n");
    };
    const isCut = (box) => {
      const [outer, inner] = [".label-container", ".nodeLabel"].map((it) => box.querySelector(it).getBoundingClientRect());
      return inner.left < outer.left || inner.right > outer.right || inner.top < outer.top || inner.bottom > outer.bottom;
    };
    const boxes = [...document.querySelectorAll("g.node")];
    return {
      title: document.querySelector("svg > title")?.textContent,
      boxes: boxes.map(lines),
      cut: boxes.filter(isCut).map(lines),
      edges: document.querySelectorAll("path.flowchart-link").length,
    };
  }, readFileSync(file, "utf8"));
  charts.push({ file: basename(file), ...chart });
  if (process.env.PNG_DIR) {
    const svg = await page.$("svg");
    await svg.screenshot({ path: join(process.env.PNG_DIR, basename(file, ".mmd") + ".png") });
  }
}
await browser.close();
console.log(JSON.stringify(charts));
