// What to type on one's own computer.
import { Copy } from "lucide-react";
import type { Play } from "../api/client";
import { Dialog, IconButton } from "../ui";
import { copy } from "../ui/copy";
import css from "./play.module.css";
import { machinesOf } from "./tabs";

type Props = { play: Play; open: boolean; onOpenChange: (open: boolean) => void };

export function SshDialog({ play, open, onOpenChange }: Props) {
  const machines = machinesOf(play).filter((m) => !m.noSSH);
  const commands: [string, string][] = [
    ...machines.map((m, i): [string, string] => [`A shell on ${m.name}`, `labctl ssh ${play.id}${i === 0 && machines.length === machinesOf(play).length ? "" : ` -m ${m.name}`}`]),
    ["Plain ssh, scp and editors, through a port of your computer", `labctl ssh-proxy ${play.id} --address localhost:2222`],
    ["Log in, once per computer", `labctl auth login --endpoint ${location.origin}`],
  ];
  return (
    <Dialog open={open} onOpenChange={onOpenChange} width={620} title="SSH" text="These commands work on your own computer, with labctl.">
      {commands.map(([what, command]) => (
        <div key={what} className={css["command"]}>
          <span>{what}</span>
          <div>
            <code>{command}</code>
            <IconButton label={`Copy: ${what}`} size="small" onClick={() => void copy(command, "The command is copied.")}><Copy size={15} /></IconButton>
          </div>
        </div>
      ))}
    </Dialog>
  );
}
