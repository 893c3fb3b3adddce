// The page of a running play: its tabs, its machines, and what can be done with it.
import { Moon, Trash2 } from "lucide-react";
import { useCallback, useEffect, useReducer, useRef, useState } from "react";
import { Link } from "wouter";
import type { Play } from "../api/client";
import { stateOf } from "../api/fold";
import { Button, Empty, useTitle } from "../ui";
import { toastError } from "../ui/toast";
import { MachinesPanel } from "./MachinesPanel";
import { BroughtTab } from "./BroughtTab";
import { OtherTab } from "./OtherTab";
import { Panes } from "./Panes";
import { PortTab } from "./PortTab";
import { TerminalTab } from "./TerminalTab";
import { TopBar, useAct } from "./TopBar";
import type { TerminalLink } from "./link";
import css from "./play.module.css";
import { type Change, type OpenTab, change, restore, store, terminal, machinesOf } from "./tabs";

export default function PlayPage({ play, live }: { play: Play; live: boolean }) {
  const state = stateOf(play);
  useTitle(play.title || play.playground.name);
  const [tabs, apply] = useReducer(change, play, restore);
  const [machines, setMachines] = useState(false);
  const links = useRef(new Map<string, TerminalLink>());
  const over = state === "STOPPED" || state === "DESTROYED" || state === "DESTROYING";
  useEffect(() => store(play.id, tabs), [play.id, tabs]);

  const onLink = useCallback((id: string, link: TerminalLink | undefined) => {
    if (link) links.current.set(id, link);
    else links.current.delete(id);
  }, []);
  const restart = useCallback((id: string) => apply({ do: "anew", id }), []);
  const changed = useCallback((c: Change) => {
    if (c.do === "close") links.current.get(c.id)?.close(true); // or the shell would wait for somebody
    apply(c);
  }, []);
  const openTerminal = (machine: string, pane: OpenTab["pane"] = "left") => changed({ do: "add", tab: terminal(tabs, machine, pane) });

  const up = new Set((play.status?.machines ?? []).filter((m) => m.state === "RUNNING").map((m) => m.name));
  const content = (tab: OpenTab, shown: boolean, focus: boolean) => {
    switch (tab.kind) {
      case "terminal":
        return <TerminalTab play={play.id} tab={tab} shown={shown} focus={focus} up={up.has(tab.machine)} restart={restart} onLink={onLink} />;
      case "http-port":
        return <PortTab play={play.id} tab={tab} shown={shown} />;
      case "ide":
      case "kexp":
        return <BroughtTab play={play.id} tab={tab} shown={shown} up={up.has(tab.machine)} terminal={() => openTerminal(tab.machine, tab.pane)} />;
      case "web-page":
        return <OtherTab tab={tab} />;
    }
  };
  return (
    <div className={css["page"]}>
      <TopBar play={play} state={state} live={live} machines={machines} toggleMachines={() => setMachines(!machines)} />
      <div className={css["body"]}>
        {over ? (
          <Over play={play} state={state} />
        ) : tabs.open.length === 0 ? (
          <div className={css["middle"]}>
            <Empty title="No tab is open" actions={machinesOf(play).filter((m) => !m.noSSH).map((m) => <Button key={m.name} onClick={() => openTerminal(m.name)}>Terminal on {m.name}</Button>)} />
          </div>
        ) : (
          <Panes play={play} tabs={tabs} apply={changed} content={content} />
        )}
        {machines && <MachinesPanel play={play} state={state} terminal={openTerminal} close={() => setMachines(false)} />}
      </div>
    </div>
  );
}

function Over({ play, state }: { play: Play; state: string }) {
  const run = useAct(play);
  const [busy, setBusy] = useState(false);
  if (state !== "STOPPED") {
    return (
      <div className={css["middle"]}>
        <Empty
          icon={<Trash2 size={34} aria-hidden />}
          title={state === "DESTROYED" ? "This play was destroyed" : "This play is being destroyed"}
          actions={<><Button look="primary" asChild><Link href={`/playgrounds/${encodeURIComponent(play.playground.name)}`}>Start its playground anew</Link></Button><Button asChild><Link href="/plays">My plays</Link></Button></>}
        >
          Its machines and disks are gone.
        </Empty>
      </div>
    );
  }
  const start = () => {
    setBusy(true);
    run("restart").catch(toastError).finally(() => setBusy(false));
  };
  return (
    <div className={css["middle"]}>
      <Empty icon={<Moon size={34} aria-hidden />} title="This play is stopped" actions={<Button look="primary" busy={busy} onClick={start}>Start it again</Button>}>
        Its disks are kept as they were. Starting it again takes as long as booting does.
      </Empty>
    </div>
  );
}
