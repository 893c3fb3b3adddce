// The page of a shared terminal, at an address of its own: it has no account,
// knows of no play, and cannot reach labd's own page.
import "@fontsource-variable/inter/wght.css";
import "@fontsource-variable/jetbrains-mono/wght.css";
import "../ui/theme.css";
import { Tooltip } from "radix-ui";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Broken } from "../ui/Broken";
import { SharedShell } from "./SharedShell";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Broken alone>
      <Tooltip.Provider delayDuration={350}>
        <SharedShell />
      </Tooltip.Provider>
    </Broken>
  </StrictMode>,
);
