"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

// What all charts look like, in the colours of the page as it is shown now.
function template() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    gridcolor: colour("--line"),
    zerolinecolor: colour("--line"),
    linecolor: colour("--line"),
    ticks: "outside",
    tickcolor: "rgba(0,0,0,0)",
    automargin: true,
    fixedrange: true,
    title: { standoff: 8, font: { color: colour("--faint"), size: 12 } },
  };
  return {
    layout: {
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--faint") },
      colorway: colour("--series").split(",").map((one) => one.trim()),
      margin: { l: 8, r: 12, t: 12, b: 8 },
      hovermode: "x unified",
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      bargap: 0.15,
      dragmode: false,
      xaxis: { ...axis, showgrid: false },
      yaxis: axis,
    },
    data: {
      heatmap: [{ colorscale: [[0, colour("--low")], [1, colour("--high")]], xgap: 1, ygap: 1 }],
      bar: [{ marker: { line: { width: 0 } }, cliponaxis: false }],
    },
  };
}

function draw() {
  const look = template();
  for (const place of document.querySelectorAll("[data-figure]")) {
    const { data, layout } = figures[place.dataset.figure];
    Plotly.react(place, data, { ...layout, template: look }, { displayModeBar: false, responsive: true });
  }
}

draw();
dark.addEventListener("change", draw);
