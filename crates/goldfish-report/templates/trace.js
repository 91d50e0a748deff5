
// Shows the places of a span beside its text. They come from the list of the text, which is read without this script as well.
{
  const panel = make("div", { class: "panel", tabindex: "0", role: "region", "aria-label": "Places of the span" });
  const narrow = matchMedia("(max-width: 46rem)");
  // Where the panel covers a part of the screen, it goes with the text.
  const seen = new IntersectionObserver((entries) => {
    if (narrow.matches && !entries.at(-1).isIntersecting) show(null, false);
  });
  let shown = null;
  let pinned = false;

  function show(mark, pin) {
    pinned = pin;
    if (mark === shown) return;
    seen.disconnect();
    shown?.removeAttribute("aria-current");
    shown = mark;
    if (!mark) return panel.remove();
    mark.setAttribute("aria-current", "true");
    const found = mark.dataset.s.split(" ").map((number) => document.getElementById("s" + number));
    panel.replaceChildren(make("button", { type: "button", class: "shut", onclick: () => show(null, false) }, "Close"));
    for (const item of found) {
      const places = item.cloneNode(true);
      for (const copy of [places, ...places.querySelectorAll("[id]")]) copy.removeAttribute("id");
      panel.append(...places.childNodes);
    }
    (narrow.matches ? mark.closest("main") : mark.closest(".traced").querySelector("aside")).append(panel);
    panel.scrollTop = 0;
    seen.observe(mark);
  }

  const over = (act) => (event) => {
    const mark = event.target.closest("a.m");
    if (mark) act(mark, event);
  };
  document.addEventListener("mouseover", over((mark) => { if (!pinned) show(mark, false); }));
  document.addEventListener("focusin", over((mark) => show(mark, pinned)));
  document.addEventListener("click", over((mark, event) => {
    event.preventDefault();
    show(mark, true);
    if (narrow.matches) mark.scrollIntoView({ block: "nearest" });
  }));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") show(null, false); });
  narrow.addEventListener("change", () => show(null, false));
}
