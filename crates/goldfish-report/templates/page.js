"use strict";
// What all pages do: hashes are shown short with a button that copies them whole, and tables say where they scroll.
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

// Where the browser grants no access to the clipboard, the selection is copied.
async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    const selection = getSelection();
    code.closest(".hash").classList.remove("short");
    selection.selectAllChildren(code);
    const copied = document.execCommand("copy");
    if (!copied) return false;
    selection.removeAllRanges();
    code.closest(".hash").classList.add("short");
  }
  return true;
}

document.querySelectorAll(".hash:has(.rest:not(:empty))").forEach((hash) => {
  hash.classList.add("short");
  const code = hash.querySelector("code");
  const button = make("button", { type: "button", class: "copies-hash", "aria-label": "Copy " + code.textContent }, "copy");
  const said = make("span", { class: "said", role: "status" });
  let timer;
  button.addEventListener("click", async () => {
    const copied = await copy(code);
    said.textContent = copied ? "✓ copied" : "press Ctrl+C";
    clearTimeout(timer);
    timer = setTimeout(() => { said.textContent = ""; }, 3000);
  });
  hash.append(" ", button, said);
});

// A command line breaks between its words: an option stays whole.
document.querySelectorAll("pre bdi").forEach((line) => {
  for (const node of [...line.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE)) {
    const words = node.data.split(/( +)/);
    node.replaceWith(...words.map((word) => (word.startsWith("-") ? make("span", { class: "option" }, word) : word)));
  }
});

const scrolling = new ResizeObserver((entries) => {
  for (const box of new Set(entries.map((entry) => entry.target.closest(".scroll")))) {
    box?.classList.toggle("scrolls", box.scrollWidth > box.clientWidth + 1);
  }
});

// A table grows when its texts do, its box when the window does.
function watch(box) {
  scrolling.observe(box);
  scrolling.observe(box.querySelector("table"));
}

document.querySelectorAll(".scroll").forEach(watch);
document.documentElement.classList.add("scripted");

