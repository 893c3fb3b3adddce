// The machines of a play beside its tabs: the picture, and of the chosen one its
// state, what it uses, and what can be done with it.
import { Power, RotateCcw, ScrollText, TerminalSquare, X, Zap } from "lucide-react";
import { useState } from "react";
import type { ActionName, MachineStatus, Play } from "../api/client";
import { Topology, type MachineLook, pictureOf } from "../topology/Topology";
import { Badge, Button, IconButton, Notice } from "../ui";
import { confirm, toast, toastError } from "../ui/toast";
import { ConsoleDialog } from "./ConsoleDialog";
import { useAct } from "./TopBar";
import { UsageGraphs } from "./UsageGraphs";
import css from "./play.module.css";
import { machinesOf } from "./tabs";
import { linksDown } from "./readings";
import { useUsage } from "./usage";

type Props = { play: Play; state: string; terminal: (machine: string) => void; close: () => void };

const words: Record<string, [string, MachineLook["tone"], "ok" | "warn" | "bad" | "info" | undefined]> = {
  RUNNING: ["running", "ok", "ok"], REBOOTING: ["rebooting", "warn", "warn"], STOPPING: ["stopping", "warn", "warn"],
  STOPPED: ["stopped", "off", undefined], FAILED: ["failed", "bad", "bad"],
};

const say = (m: MachineStatus | undefined) => words[m?.state ?? ""] ?? (["starting", "warn", "info"] as const);

export function MachinesPanel({ play, state, terminal, close }: Props) {
  const [chosen, setChosen] = useState(machinesOf(play)[0]?.name ?? "");
  const [console, setConsole] = useState(false);
  const run = useAct(play);
  const usage = useUsage(play.id, state === "RUNNING");
  const statuses = new Map((play.status?.machines ?? []).map((m) => [m.name, m]));
  const looks = Object.fromEntries(
    machinesOf(play).map((m): [string, MachineLook] => {
      const [name, tone] = say(statuses.get(m.name));
      return [m.name, { tone, state: name, about: `${m.resources?.cpuCount ?? 1} CPU · ${m.resources?.ramSize ?? ""}` }];
    }),
  );
  const machine = machinesOf(play).find((m) => m.name === chosen);
  const status = statuses.get(chosen);
  const running = status?.state === "RUNNING";
  const [name, , tone] = say(status);
  const picture = pictureOf(play.playground);
  const ask = (action: ActionName, title: string, text: string, yes: string) =>
    confirm({ title, text, yes, run: async () => { await run(action, { machine: chosen }); toast(`${chosen}: ${yes.toLowerCase()} is under way.`); } });
  return (
    <aside className={css["machines"]} aria-label="Machines">
      <div className={css["machinesHead"]}>
        <h2>Machines</h2>
        <IconButton label="Close the machines" size="small" onClick={close}><X size={16} /></IconButton>
      </div>
      <Topology {...picture} looks={looks} down={linksDown(picture.machines, statuses, usage.latest)} selected={chosen} onSelect={setChosen} />
      {machine && (
        <section className={css["machine"]} aria-label={`Machine ${chosen}`}>
          <div className={css["machineHead"]}>
            <h3>{chosen}</h3>
            <Badge tone={tone}>{name}</Badge>
            <span className={css["gap"]} />
            <small>{machine.backend}</small>
          </div>
          {status?.message && <Notice tone="bad"><pre className={css["message"]}>{status.message}</pre></Notice>}
          <div className={css["buttons"]}>
            {!machine.noSSH && <Button size="small" disabled={!running} onClick={() => terminal(chosen)}><TerminalSquare size={15} aria-hidden /> Terminal</Button>}
            <Button size="small" onClick={() => setConsole(true)}><ScrollText size={15} aria-hidden /> Console</Button>
            <Button size="small" disabled={!running} onClick={() => ask("machine.reboot", `Reboot ${chosen}?`, "Its system is asked to boot again. Terminals on it end.", "Reboot")}><RotateCcw size={15} aria-hidden /> Reboot</Button>
            {running
              ? <Button size="small" onClick={() => ask("machine.stop", `Stop ${chosen}?`, "It is shut down; its disks stay. The other machines go on.", "Stop")}><Power size={15} aria-hidden /> Stop</Button>
              : null}
            <Button size="small" onClick={() => (running ? ask("machine.restart", `Restart ${chosen}?`, "It is shut down and started anew with the same disks.", "Restart") : void run("machine.restart", { machine: chosen }).catch(toastError))}><Zap size={15} aria-hidden /> {running ? "Restart" : "Start"}</Button>
          </div>
          <UsageGraphs history={usage.history.get(chosen) ?? []} cpus={machine.resources?.cpuCount ?? 1} running={running} />
        </section>
      )}
      {console && <ConsoleDialog play={play.id} machine={chosen} close={() => setConsole(false)} />}
    </aside>
  );
}
