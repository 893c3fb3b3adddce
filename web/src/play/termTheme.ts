// Colours of terminals: dark and light, both with enough contrast for text.
import type { ITheme } from "@xterm/xterm";

const dark: ITheme = {
  background: "#171615", foreground: "#e9e5df", cursor: "#f0894f", cursorAccent: "#171615", selectionBackground: "#5b4a3e",
  black: "#2b2927", red: "#f58a82", green: "#7fd3a0", yellow: "#e9b451", blue: "#85b2f5", magenta: "#d3a0ea", cyan: "#6fcfd6", white: "#d8d3cc",
  brightBlack: "#8d867d", brightRed: "#ffaaa3", brightGreen: "#a0e6bb", brightYellow: "#f7cd7c", brightBlue: "#a9caff", brightMagenta: "#e4bdf6", brightCyan: "#97e3e9", brightWhite: "#ffffff",
};

const light: ITheme = {
  background: "#fdfcfa", foreground: "#26231f", cursor: "#b9460f", cursorAccent: "#fdfcfa", selectionBackground: "#f3d3bf",
  black: "#26231f", red: "#b3261e", green: "#1a7a4c", yellow: "#8a5a00", blue: "#2a5fb0", magenta: "#8a3aa8", cyan: "#0f7480", white: "#6b665e",
  brightBlack: "#757067", brightRed: "#c9372e", brightGreen: "#1f8a57", brightYellow: "#966300", brightBlue: "#3068c0", brightMagenta: "#9a45ba", brightCyan: "#127f8c", brightWhite: "#3a362f",
};

export const terminalTheme = (shown: "light" | "dark") => (shown === "dark" ? dark : light);
