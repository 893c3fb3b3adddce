// A tab with what a port of a machine answers, in a frame from its own origin.
// It may run scripts and keep storage there; of this page it can reach nothing,
// and it cannot lead the window elsewhere.
import { useQuery } from "@tanstack/react-query";
import { ExternalLink, RotateCw } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { type Schemas, api, got } from "../api/client";
import { useAway } from "../session/useSession";
import { Badge, Failure, IconButton, Spinner } from "../ui";
import { toastError } from "../ui/toast";
import css from "./play.module.css";
import type { OpenTab } from "./tabs";

/** An exposed port, as replies have it: requests leave most of it out. */
export type Port = Required<Schemas["Port"]>;

/** Of applications: everything but leading this window elsewhere. */
const sandbox = "allow-scripts allow-same-origin allow-forms allow-popups allow-popups-to-escape-sandbox allow-modals allow-downloads";

/** An address that opens a port, once if it is private. */
async function addressOf(play: string, port: Port): Promise<string> {
  if (port.access === "public") return port.url + "/";
  const params = { path: { id: play, port: port.id } };
  return (await got(api.POST("/api/plays/{id}/ports/{port}/links", { params }))).url;
}

/** Opens a port in a window of its own, which knows nothing of this one. */
export async function openPort(play: string, port: Port) {
  const beside = window.open("", "_blank");
  try {
    const url = await addressOf(play, port);
    if (!beside) return void window.open(url, "_blank", "noopener");
    beside.opener = null;
    beside.location.replace(url);
  } catch (error) {
    beside?.close();
    toastError(error);
  }
}

export function PortTab({ play, tab, shown }: { play: string; tab: OpenTab; shown: boolean }) {
  const [wanted, setWanted] = useState(shown);
  const [turn, setTurn] = useState(0);
  const [loading, setLoading] = useState(true);
  useEffect(() => {
    if (shown) setWanted(true);
  }, [shown]);
  const { machine, number = 0, access = "private", tls = false, hostRewrite = "", pathRewrite = "" } = tab;
  const port = useQuery({
    queryKey: ["port", play, machine, number, access, tls, hostRewrite, pathRewrite],
    queryFn: async () => {
      const body = { machine, number, access, tls, hostRewrite, pathRewrite };
      return (await got(api.POST("/api/plays/{id}/ports", { params: { path: { id: play } }, body }))) as Port;
    },
    enabled: wanted,
    staleTime: Infinity,
  });
  const source = useQuery({
    queryKey: ["frame", play, port.data?.id, turn],
    queryFn: () => addressOf(play, port.data!),
    enabled: port.data !== undefined,
    staleTime: Infinity,
    gcTime: 0,
  });
  const again = () => {
    setLoading(true);
    setTurn((n) => n + 1);
  };
  // A labd that came back does not know the frame's cookie any more.
  const away = useAway();
  const wasAway = useRef(false);
  useEffect(() => {
    if (wasAway.current && !away) again();
    wasAway.current = away;
  }, [away]);
  const error = port.error ?? source.error;
  return (
    <div className={css["framed"]}>
      <div className={css["bar"]}>
        <IconButton label="Load it again" size="small" onClick={again} disabled={!port.data}><RotateCw size={15} /></IconButton>
        <span className={css["address"]}>{machine}:{number}</span>
        <Badge tone={access === "public" ? "warn" : undefined}>{access === "public" ? "public" : "only you"}</Badge>
        {wanted && loading && !error && <Spinner label="Loading" />}
        <span className={css["gap"]} />
        <IconButton label="Open in a new window" size="small" disabled={!port.data} onClick={() => void openPort(play, port.data!)}><ExternalLink size={15} /></IconButton>
      </div>
      {error ? (
        <div className={css["middle"]}><Failure error={error} retry={() => { void port.refetch(); again(); }} /></div>
      ) : (
        source.data && <iframe key={source.data} title={tab.name} src={source.data} sandbox={sandbox} allow="clipboard-write; fullscreen" onLoad={() => setLoading(false)} />
      )}
    </div>
  );
}
