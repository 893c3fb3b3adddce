import { useQuery, useQueryClient } from "@tanstack/react-query";
import { BookCopy, GitFork, Layers, MoreHorizontal, RotateCcw, Square, Trash2 } from "lucide-react";
import { Link } from "wouter";
import { type Play, act, api, got } from "../api/client";
import { isOver, stateOf } from "../api/fold";
import { Badge, Button, Empty, Failure, Menu, MenuItem, MenuLine, Page, Skeleton, type Tone, ui } from "../ui";
import { toastError } from "../ui/toast";
import { useKeep } from "./Keep";
import { askToDestroy } from "./Starting";
import css from "./plays.module.css";
import { phaseOf, timeLeft } from "./starting";

export const phaseWords: Record<ReturnType<typeof phaseOf>, [string, Tone | undefined]> = {
  starting: ["starting", "info"], tasks: ["preparing", "info"], ready: ["running", "ok"], "task-failed": ["a task failed", "warn"], failed: ["failed", "bad"],
  stopping: ["stopping", undefined], stopped: ["stopped", undefined], destroying: ["removing", undefined], destroyed: ["removed", undefined],
};

export default function Plays() {
  const query = useQuery({
    queryKey: ["plays"],
    queryFn: () => got(api.GET("/api/plays")),
    refetchInterval: (q) => (q.state.data?.some((p) => !isOver(stateOf(p)) && phaseOf(p) !== "ready") ? 2500 : 20_000),
  });
  const all = query.data ?? [];
  const here = all.filter((p) => stateOf(p) !== "DESTROYED");
  const gone = all.filter((p) => stateOf(p) === "DESTROYED");
  return (
    <Page title="My plays" lead="Labs of yours that run, stand still, or have ended today.">
      {query.error && !query.data && <Failure error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <div className={css["list"]}>{[0, 1, 2].map((i) => <Skeleton key={i} height={84} />)}</div>}
      {query.isSuccess && here.length === 0 && (
        <Empty icon={<Layers size={34} aria-hidden />} title="Nothing runs" actions={<Button look="primary" asChild><Link href="/">Pick a playground</Link></Button>}>
          What you start appears here, and you can come back to it at any time.
        </Empty>
      )}
      <ul className={css["list"]}>{here.map((p) => <Row key={p.id} play={p} />)}</ul>
      {gone.length > 0 && (
        <>
          <h2 className={css["gone"]}>Ended today</h2>
          <ul className={css["list"]}>{gone.map((p) => <Row key={p.id} play={p} />)}</ul>
        </>
      )}
    </Page>
  );
}

function Row({ play: p }: { play: Play }) {
  const cache = useQueryClient();
  const phase = phaseOf(p);
  const [word, tone] = phaseWords[phase];
  const again = () => void cache.invalidateQueries({ queryKey: ["plays"] });
  const run = (action: "stop" | "restart") => act(p.id, action).then(again, toastError);
  const keep = useKeep();
  const name = p.title || p.playground.title || p.playground.name;
  const kept = phase === "stopped" || phase === "ready" || phase === "tasks" || phase === "task-failed";
  const over = phase === "destroyed";
  const Heading = over ? "h3" : "h2"; // below "Ended today", or the page's own
  return (
    <li className={`${ui["card"]} ${css["row"]}`}>
      <div className={css["what"]}>
        <Heading>{over ? name : <Link href={`/plays/${p.id}`}>{name}</Link>}</Heading>
        <p className={ui["hint"]}>
          {p.playground.name} · {(p.machines ?? []).map((m) => m.name).join(", ")} · since <time dateTime={p.createdAt}>{new Date(p.createdAt).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}</time>
        </p>
      </div>
      <Badge tone={tone}>{word}</Badge>
      <span className={css["left"]}>{!over && p.expiresIn > 0 && `${timeLeft(p.expiresIn)} left`}</span>
      {over ? (
        <Button size="small" asChild><Link href={`/playgrounds/${encodeURIComponent(p.playground.name)}`}>Start another</Link></Button>
      ) : (
        <Menu trigger={<Button look="ghost" className={ui["icon"]} aria-label={`What to do with ${name}`}><MoreHorizontal size={18} /></Button>}>
          {(phase === "stopped" || phase === "failed") && <MenuItem onSelect={() => void run("restart")}><RotateCcw size={16} aria-hidden /> Start</MenuItem>}
          {(phase === "ready" || phase === "tasks" || phase === "task-failed") && <MenuItem onSelect={() => void run("restart")}><RotateCcw size={16} aria-hidden /> Restart</MenuItem>}
          {phase !== "stopped" && phase !== "stopping" && <MenuItem onSelect={() => void run("stop")}><Square size={16} aria-hidden /> Stop</MenuItem>}
          {kept && (
            <>
              <MenuLine />
              <MenuItem onSelect={() => keep(p, "save", phase === "stopped")}><BookCopy size={16} aria-hidden /> Save as playground…</MenuItem>
              <MenuItem onSelect={() => keep(p, "fork", phase === "stopped")}><GitFork size={16} aria-hidden /> Fork…</MenuItem>
            </>
          )}
          <MenuLine />
          <MenuItem danger onSelect={() => askToDestroy(p, again)}><Trash2 size={16} aria-hidden /> Destroy…</MenuItem>
        </Menu>
      )}
    </li>
  );
}
