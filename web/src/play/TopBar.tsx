// What stands above the tabs: the play, its time, and what can be done with it.
import { useQueryClient } from "@tanstack/react-query";
import { BookCopy, ChevronDown, Clock, EllipsisVertical, GitFork, Network, Pause, Pencil, Play as PlayIcon, Radio, RotateCcw, Share2, TerminalSquare, Trash2 } from "lucide-react";
import { type FormEvent, useEffect, useMemo, useState } from "react";
import { useLocation } from "wouter";
import { type ActionName, type Play, act } from "../api/client";
import { playKey } from "../api/events";
import { useKeep } from "../pages/Keep";
import { Badge, Button, Dialog, IconButton, Menu, MenuItem, MenuLabel, MenuLine, TextField, cx } from "../ui";
import { confirm, toast, toastError } from "../ui/toast";
import { ExposeDialog } from "./ExposeDialog";
import { ShareDialog } from "./ShareDialog";
import { SshDialog } from "./SshDialog";
import css from "./play.module.css";
import { left, minutes } from "./time";

type Props = { play: Play; state: string; live: boolean; machines: boolean; toggleMachines: () => void };

/** Does something to the play, and shows what came of it. */
export function useAct(play: Play) {
  const cache = useQueryClient();
  return async (action: ActionName, more: Parameters<typeof act>[2] = {}) => {
    const changed = await act(play.id, action, more);
    cache.setQueryData(playKey(play.id), changed);
    void cache.invalidateQueries({ queryKey: ["plays"] });
    return changed;
  };
}

export function TopBar({ play, state, live, machines, toggleMachines }: Props) {
  const [dialog, setDialog] = useState<"expose" | "share" | "ssh" | "title">();
  const [, go] = useLocation();
  const run = useAct(play);
  const keep = useKeep();
  const running = state === "RUNNING";
  const close = (open: boolean) => !open && setDialog(undefined);
  const end = (action: "stop" | "restart" | "destroy") =>
    confirm({
      stop: { title: "Stop this play?", text: "Its machines are shut down. Disks stay, and it can be started again.", yes: "Stop", run: () => run("stop") },
      restart: { title: "Restart this play?", text: "Its machines are shut down and started again with the same disks.", yes: "Restart", run: () => run("restart") },
      destroy: {
        title: "Destroy this play?", text: "Its machines and all that is on their disks are gone for good.", yes: "Destroy", danger: true,
        run: async () => { await run("destroy"); toast("The play is being destroyed."); go("/plays"); },
      },
    }[action]);
  return (
    <div className={css["head"]}>
      <h1 className={css["name"]}>{play.title || play.playground.name}</h1>
      <State state={state} live={live} />
      <span className={css["gap"]} />
      {running && <TimeLeft play={play} />}
      {running && <Button size="small" onClick={() => setDialog("expose")}><Radio size={15} aria-hidden /> Expose port</Button>}
      {running && <Button size="small" onClick={() => setDialog("share")}><Share2 size={15} aria-hidden /> Share terminal</Button>}
      {running && <Button size="small" onClick={() => setDialog("ssh")}><TerminalSquare size={15} aria-hidden /> SSH</Button>}
      <Button size="small" className={cx(machines && css["on"])} aria-pressed={machines} onClick={toggleMachines}><Network size={15} aria-hidden /> Machines</Button>
      <Menu trigger={<IconButton label="More" size="small"><EllipsisVertical size={17} /></IconButton>}>
        <MenuItem onSelect={() => setDialog("title")}><Pencil size={15} aria-hidden /> Change the title</MenuItem>
        <MenuItem onSelect={() => keep(play, "save", !running)}><BookCopy size={15} aria-hidden /> Save as playground…</MenuItem>
        <MenuItem onSelect={() => keep(play, "fork", !running)}><GitFork size={15} aria-hidden /> Fork…</MenuItem>
        <MenuLine />
        {running && <MenuItem onSelect={() => end("stop")}><Pause size={15} aria-hidden /> Stop</MenuItem>}
        <MenuItem onSelect={() => (running ? end("restart") : void run("restart").catch(toastError))}>
          {running ? <RotateCcw size={15} aria-hidden /> : <PlayIcon size={15} aria-hidden />} {running ? "Restart" : "Start again"}
        </MenuItem>
        <MenuItem danger onSelect={() => end("destroy")}><Trash2 size={15} aria-hidden /> Destroy</MenuItem>
      </Menu>
      <ExposeDialog play={play} open={dialog === "expose"} onOpenChange={close} />
      <ShareDialog play={play} open={dialog === "share"} onOpenChange={close} />
      <SshDialog play={play} open={dialog === "ssh"} onOpenChange={close} />
      {dialog === "title" && <TitleDialog play={play} close={() => setDialog(undefined)} />}
    </div>
  );
}

const states: Record<string, [string, "ok" | "warn" | "bad" | "info" | undefined]> = {
  RUNNING: ["Running", "ok"], STOPPED: ["Stopped", undefined], STOPPING: ["Stopping", "warn"], FAILED: ["Failed", "bad"],
  DESTROYING: ["Being destroyed", "warn"], DESTROYED: ["Destroyed", undefined],
};

function State({ state, live }: { state: string; live: boolean }) {
  const [words, tone] = states[state] ?? ["Starting", "info"];
  return <span role="status"><Badge tone={tone}>{words}{state === "RUNNING" && !live && " · reconnecting"}</Badge></span>;
}

function TimeLeft({ play }: { play: Play }) {
  const run = useAct(play);
  // A reply says what is left from its moment on.
  const ends = useMemo(() => (play.expiresIn > 0 ? Date.now() + play.expiresIn : 0), [play.expiresIn]);
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const rest = ends - now;
  const extend = (by: number) =>
    void run("set_max_play_time", { maxPlayTimeMinutes: minutes(play.maxPlayTime) + by }).then(
      () => toast(`${by / 60} ${by === 60 ? "hour" : "hours"} more.`),
      toastError,
    );
  if (!ends) return <Button size="small" look="ghost" disabled><Clock size={15} aria-hidden /> No end</Button>;
  return (
    <Menu trigger={
      <Button size="small" look="ghost" className={cx(css["time"], rest < 5 * 60_000 && css["soon"])} aria-label={`Time left: ${left(rest)}. Extend`}>
        <Clock size={15} aria-hidden /> {left(rest)} <ChevronDown size={14} aria-hidden />
      </Button>
    }>
      <MenuLabel>Extend by</MenuLabel>
      {[60, 120, 240].map((by) => <MenuItem key={by} onSelect={() => extend(by)}>{by / 60} {by === 60 ? "hour" : "hours"}</MenuItem>)}
    </Menu>
  );
}

function TitleDialog({ play, close }: { play: Play; close: () => void }) {
  const run = useAct(play);
  const [title, setTitle] = useState(play.title);
  const save = (e: FormEvent) => {
    e.preventDefault();
    void run("set_title", { title }).then(close, toastError);
  };
  return (
    <Dialog open onOpenChange={(open) => !open && close()} title="Title of this play">
      <form onSubmit={save} className={css["form"]}>
        <TextField label="Title" value={title} onChange={(e) => setTitle(e.target.value)} autoFocus required maxLength={200} />
        <Button type="submit" look="primary">Save</Button>
      </form>
    </Dialog>
  );
}
