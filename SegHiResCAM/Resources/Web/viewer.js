"use strict";
// The page of one explanation: image, segmentation and heat map in NiiVue, with controls, legend and keys.
(() => {
  const MAP = 2;
  const SEGMENTS = 1;
  const POSITIVE = "inferno";
  const NEGATIVE = "seghirescam-negative";
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const element = (id) => document.getElementById(id);
  const top = facts.maximum > 0 ? facts.maximum : Math.max(-facts.minimum, 1e-30);

  function bytes(id) {
    const block = element(id);
    const text = atob(block.textContent);
    block.remove();
    const found = new Uint8Array(text.length);
    for (let index = 0; index < text.length; index++) {
      found[index] = text.charCodeAt(index);
    }
    return found.buffer;
  }

  function add(nv, id, options) {
    const name = `${id}.nii.gz`;
    return nv.addVolumeFromUrl({ url: name, name, buffer: bytes(id), ...options });
  }

  function segmentColours() {
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: ["background"] };
    for (const one of [...facts.segments].sort((a, b) => a.value - b.value)) {
      ["R", "G", "B"].forEach((channel, index) => table[channel].push(one.color[index]));
      table.A.push(255);
      table.I.push(one.value);
      table.labels.push(one.name);
    }
    return table;
  }

  function number(value) {
    return value === 0 ? "0" : Number(value.toPrecision(4)).toString();
  }

  function millimetres(place) {
    const letters = [["R", "L"], ["A", "P"], ["S", "I"]];
    return Array.from(place).slice(0, 3).map((value, axis) => {
      const rounded = Math.round(value);
      return `${letters[axis][rounded < 0 ? 1 : 0]} ${Math.abs(rounded)}`;
    }).join(", ") + " mm";
  }

  function showLegend(nv) {
    const signed = element("signed").checked;
    const canvas = element("legend");
    const context = canvas.getContext("2d");
    const positive = nv.colormap(POSITIVE);
    const negative = nv.colormap(NEGATIVE);
    const hidden = Number(element("threshold").value);
    for (let x = 0; x < canvas.width; x++) {
      const along = x / (canvas.width - 1);
      const share = signed ? 2 * along - 1 : along;
      const colours = share < 0 ? negative : positive;
      const entry = 4 * Math.round(255 * Math.abs(share));
      const isHidden = Math.abs(share) < hidden;
      context.fillStyle = isHidden ? "#000" : `rgb(${colours[entry]}, ${colours[entry + 1]}, ${colours[entry + 2]})`;
      context.fillRect(x, 0, 1, canvas.height);
    }
    const values = signed ? [-top, 0, top] : [0, top / 2, top];
    element("ticks").replaceChildren(...values.map((value) => {
      const tick = document.createElement("span");
      tick.textContent = number(value);
      return tick;
    }));
  }

  function apply(nv) {
    const map = nv.volumes[MAP];
    const hidden = Number(element("threshold").value);
    const signed = element("signed").checked;
    map.cal_max = top;
    map.cal_min = Math.max(hidden, 1e-6) * top;
    map.cal_minNeg = -map.cal_min;
    map.cal_maxNeg = -top;
    map.colormapNegative = signed ? NEGATIVE : "";
    nv.setOpacity(MAP, Number(element("opacity").value));
    nv.setOpacity(SEGMENTS, Number(element("labels-opacity").value));
    nv.updateGLVolume();
    for (const name of ["opacity", "labels-opacity"]) {
      element(`${name}-value`).textContent = `${Math.round(100 * Number(element(name).value))} %`;
    }
    element("threshold-value").textContent = `${number(hidden * top)} (${Math.round(100 * hidden)} %)`;
    showLegend(nv);
  }

  function goTo(nv, place) {
    nv.scene.crosshairPos = nv.mm2frac(place, 0, true);
    nv.createOnLocationChange();
    nv.drawScene();
  }

  function showPlace(location) {
    const values = location.values.map((one) => one.value);
    const segment = facts.segments.find((one) => one.value === Math.round(values[SEGMENTS]));
    const parts = [millimetres(location.mm), `image ${number(values[0])}`, `map ${number(values[MAP])} ${facts.units}`];
    element("status").textContent = [...parts, segment ? segment.name : ""].filter(Boolean).join("   ");
  }

  function showView(nv, name) {
    const views = { all: "MULTIPLANAR", axial: "AXIAL", coronal: "CORONAL", sagittal: "SAGITTAL", render: "RENDER" };
    nv.setSliceType(niivue.SLICE_TYPE[views[name]]);
    for (const button of document.querySelectorAll("[data-view]")) {
      button.setAttribute("aria-pressed", String(button.dataset.view === name));
    }
  }

  function pressed(nv, event) {
    const steps = {
      ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1],
    };
    const moves = event.target === element("views") || event.target === document.body;
    if (event.key === "p" || event.key === "P") {
      goTo(nv, facts.peak);
    } else if (moves && steps[event.key]) {
      nv.moveCrosshairInVox(...steps[event.key]);
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }

  function listen(nv) {
    for (const name of ["opacity", "threshold", "labels-opacity", "signed"]) {
      element(name).addEventListener("input", () => apply(nv));
    }
    for (const button of document.querySelectorAll("[data-view]")) {
      button.addEventListener("click", () => showView(nv, button.dataset.view));
    }
    element("peak").addEventListener("click", () => goTo(nv, facts.peak));
    document.addEventListener("keydown", (event) => pressed(nv, event), true);
  }

  async function start() {
    const nv = new niivue.Niivue({
      isRadiologicalConvention: true,
      isColorbar: false,
      show3Dcrosshair: true,
      crosshairColor: [0.3, 0.85, 1, 0.8],
      crosshairWidth: 0.3,
      crosshairWidthUnit: "percent", // of the volume: a voxel of thick slices would make a bar of it
      multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
      multiplanarPadPixels: 4,
      showAllOrientationMarkers: true,
      dragAndDropEnabled: false,
      isSliceMM: false,
      fontColor: [1, 0.85, 0.5, 1],
      backColor: [0, 0, 0, 1],
      showLegend: false,
      logLevel: "error",
      loadingText: "",
    });
    nv.onLocationChange = showPlace;
    await nv.attachToCanvas(element("views"), false);
    const blue = { R: [0, 33, 158], G: [0, 102, 202], B: [0, 172, 225], A: [0, 128, 255], I: [0, 128, 255] };
    nv.addColormap(NEGATIVE, blue);
    await add(nv, "image", { colormap: "gray", cal_min: facts.image.low, cal_max: facts.image.high });
    const labels = await add(nv, "labels", { opacity: 0.3 });
    labels.setColormapLabel(segmentColours());
    const map = await add(nv, "map", { colormap: POSITIVE, opacity: 0.6, cal_min: 0.1 * top, cal_max: top });
    map.colormapType = 1; // colours from 0 on, transparent below cal_min
    nv.setInterpolation(false);
    listen(nv);
    apply(nv);
    showView(nv, "all");
    goTo(nv, facts.peak);
    document.documentElement.dataset.ready = "yes";
    window.seghirescam = { nv, facts };
  }

  start().catch((problem) => {
    element("status").textContent = `The page could not be shown: ${problem.message}. It needs a browser with WebGL 2.`;
    document.documentElement.dataset.ready = "failed";
  });
})();
