// A tab with a page of another server, which is not loaded before one wants it.
import { ExternalLink, Globe } from "lucide-react";
import { Button, Empty } from "../ui";
import css from "./play.module.css";
import type { OpenTab } from "./tabs";

/** The page of a web-page tab, if it is an address at all. */
function safe(url: string | undefined): URL | undefined {
  try {
    const u = new URL(url ?? "");
    return u.protocol === "http:" || u.protocol === "https:" ? u : undefined;
  } catch {
    return undefined;
  }
}

export function OtherTab({ tab }: { tab: OpenTab }) {
  const page = safe(tab.url);
  return (
    <div className={css["middle"]}>
      <Empty
        icon={<Globe size={34} aria-hidden />}
        title={tab.name}
        actions={page && <Button look="primary" asChild><a href={page.href} target="_blank" rel="noopener noreferrer"><ExternalLink size={16} aria-hidden /> Open {page.hostname}</a></Button>}
      >
        {page ? "A page on another server. It opens in a window of its own: nothing is loaded from there before you do." : "The manifest names no address of a page here."}
      </Empty>
    </div>
  );
}
