// Before the first paint, so that no light page flashes in the dark.
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem("sandlot-theme");
  } catch (e) {
    // storage may be forbidden
  }
  var dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = chosen === "light" || chosen === "dark" ? chosen : dark ? "dark" : "light";
})();
