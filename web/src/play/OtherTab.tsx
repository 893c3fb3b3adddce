// Tabs whose content is elsewhere, or not there.
import { Boxes, Code2, ExternalLink, Globe } from "lucide-react";
import type { ReactNode } from "react";
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

export function OtherTab({ tab, terminal }: { tab: OpenTab; terminal: () => void }) {
  if (tab.kind === "web-page") {
    const page = safe(tab.url);
    return (
      <Middle>
        <Empty
          icon={<Globe size={34} aria-hidden />}
          title={tab.name}
          actions={page && <Button look="primary" asChild><a href={page.href} target="_blank" rel="noopener noreferrer"><ExternalLink size={16} aria-hidden /> Open {page.hostname}</a></Button>}
        >
          {page ? "A page on another server. It opens in a window of its own: nothing is loaded from there before you do." : "The manifest names no address of a page here."}
        </Empty>
      </Middle>
    );
  }
  const ide = tab.kind === "ide";
  return (
    <Middle>
      <Empty
        icon={ide ? <Code2 size={34} aria-hidden /> : <Boxes size={34} aria-hidden />}
        title={ide ? `${tab.machine} has no IDE` : "There is no Kubernetes Explorer"}
        actions={<Button look="primary" onClick={terminal}>Open a terminal</Button>}
      >
        {ide
          ? "The image of this machine brings no editor for the browser. A terminal works, and so does your own editor over SSH: see SSH above."
          : "The image of this playground brings no Kubernetes Explorer. In a terminal kubectl shows the same."}
      </Empty>
    </Middle>
  );
}

const Middle = ({ children }: { children: ReactNode }) => <div className={css["middle"]}>{children}</div>;
