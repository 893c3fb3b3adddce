// Tabs of what images may bring: an IDE, and the Kubernetes Explorer. Each has a
// port of its own (docs/images.md); where something answers there it is shown as
// other ports are, and where nothing does that is said.
import { useQuery } from "@tanstack/react-query";
import { Boxes, Code2 } from "lucide-react";
import { useEffect, useState } from "react";
import { api, got } from "../api/client";
import { Button, Empty, Failure, Spinner } from "../ui";
import { PortTab } from "./PortTab";
import css from "./play.module.css";
import { type OpenTab, broughtAt } from "./tabs";

type Props = { play: string; tab: OpenTab; shown: boolean; up: boolean; terminal: () => void };

export function BroughtTab({ play, tab, shown, up, terminal }: Props) {
  const ide = tab.kind === "ide";
  const [wanted, setWanted] = useState(shown);
  useEffect(() => {
    if (shown) setWanted(true);
  }, [shown]);
  const at = useQuery({
    queryKey: ["brought", play, tab.kind, tab.machine],
    queryFn: async () => {
      // A cluster may be explored from any of its machines.
      const query = ide ? { machine: tab.machine } : {};
      const ports = await got(api.POST("/api/plays/{id}/ports/scan", { params: { path: { id: play }, query } }));
      return broughtAt(tab.kind, ports) ?? null;
    },
    enabled: wanted && up,
    staleTime: Infinity,
    retry: false,
  });
  if (at.data) return <PortTab play={play} tab={{ ...tab, ...at.data }} shown={shown} />;
  return (
    <div className={css["middle"]}>
      {at.isLoading ? (
        <Spinner label={`Looking for ${tab.name}`} />
      ) : at.error ? (
        <Failure error={at.error} retry={() => void at.refetch()} />
      ) : (
        <Empty
          icon={ide ? <Code2 size={34} aria-hidden /> : <Boxes size={34} aria-hidden />}
          title={ide ? `${tab.machine} has no IDE` : "There is no Kubernetes Explorer"}
          actions={<><Button look="primary" onClick={terminal}>Open a terminal</Button><Button disabled={!up} busy={at.isFetching} onClick={() => void at.refetch()}>Look again</Button></>}
        >
          {ide
            ? "Nothing on this machine serves an editor for the browser. A terminal works, and so does your own editor over SSH: see SSH above."
            : "No machine of this play serves a Kubernetes Explorer. In a terminal kubectl shows the same."}
        </Empty>
      )}
    </div>
  );
}
