import "@fontsource-variable/inter/wght.css";
import "@fontsource-variable/jetbrains-mono/wght.css";
import "./ui/theme.css";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { Tooltip } from "radix-ui";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiError } from "./api/client";
import { App } from "./app";
import { Broken } from "./ui/Broken";
import { isAway, subscribe } from "./session/online";

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      // What labd has refused it refuses again; what it did not hear it may.
      retry: (count, error) => count < 3 && error instanceof ApiError && (error.kind === "offline" || error.kind === "not yet"),
      // The browser's own idea of being online says nothing of labd.
      networkMode: "always",
    },
    mutations: { networkMode: "always" },
  },
});

// When labd is back, everything on the screen is asked for again.
let wasAway = false;
subscribe(() => {
  if (wasAway && !isAway()) void queries.invalidateQueries();
  wasAway = isAway();
});

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Broken>
      <QueryClientProvider client={queries}>
        <Tooltip.Provider delayDuration={350}>
          <App />
        </Tooltip.Provider>
      </QueryClientProvider>
    </Broken>
  </StrictMode>,
);
