// Airflow shows these pages in a frame: follow the colours of its window, and lead that window elsewhere
// where a link is marked so, since the frame itself may not.
(() => {
  let outside = null;
  try {
    if (window.parent !== window) outside = window.parent.document;
  } catch {
    // A window of another origin: the page stands for itself.
  }
  if (!outside) return;

  const colourBehind = () => {
    for (let element = window.frameElement; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return null;
  };

  const follow = () => {
    const isDark = outside.documentElement.classList.contains("dark");
    document.documentElement.classList.toggle("dark", isDark);
    document.documentElement.classList.toggle("light", !isDark);
    const behind = colourBehind();
    if (behind) document.documentElement.style.setProperty("--page", behind);
  };
  follow();
  new MutationObserver(follow).observe(outside.documentElement, { attributeFilter: ["class"] });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-leaves]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const leaving = outside.createElement("a");
    leaving.href = link.href;
    outside.body.append(leaving);
    leaving.click();
    leaving.remove();
  });
})();
