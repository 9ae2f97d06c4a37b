// Sets theme and palette before the first paint; a module would run too late. theme.js changes them.
(() => {
  if ("saved" in document.documentElement.dataset) return; // the server knows this reader's choice
  const read = (name) => {
    try {
      return localStorage.getItem(`livermore.${name}`);
    } catch {
      return null;
    }
  };
  const theme = read("theme");
  if (theme === "light" || theme === "auto") document.documentElement.dataset.theme = theme;
  if (read("palette") === "colour-blind") document.documentElement.dataset.palette = "colour-blind";
})();
