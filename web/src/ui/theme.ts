// Light, dark, or as the system has it; kept in this browser.
import { useSyncExternalStore } from "react";

export type Theme = "light" | "dark" | "system";

const key = "sandlot-theme";
const listeners = new Set<() => void>();
const dark = matchMedia("(prefers-color-scheme: dark)");

export function chosenTheme(): Theme {
  try {
    const kept = localStorage.getItem(key);
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system";
  }
}

function apply() {
  const theme = chosenTheme();
  document.documentElement.dataset["theme"] = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
  for (const listener of listeners) listener();
}

export function chooseTheme(theme: Theme) {
  try {
    if (theme === "system") localStorage.removeItem(key);
    else localStorage.setItem(key, theme);
  } catch {
    // storage may be forbidden; then the choice lasts as long as the page
  }
  apply();
}

dark.addEventListener("change", apply);

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** What was chosen. */
export const useTheme = () => useSyncExternalStore(subscribe, chosenTheme);

/** What is shown: for terminals and editors that have colours of their own. */
export const useShownTheme = () =>
  useSyncExternalStore(subscribe, () => (document.documentElement.dataset["theme"] === "dark" ? "dark" : "light"));
