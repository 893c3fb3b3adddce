// The loading screen: every machine's steps and every init task, live; what
// failed, and the ways on. Nothing is lost by leaving it.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { BookCopy, Check, ChevronDown, Circle, DoorOpen, GitFork, RotateCcw, ScrollText, Trash2, X } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { type ActionName, type Play, type TaskDetails, act, api, consoles, got, readConsole } from "../api/client";
import { playKey } from "../api/events";
import { Badge, Button, Card, Empty, Failure, Notice, Page, Spinner, cx, ui } from "../ui";
import { confirm, toastError } from "../ui/toast";
import { KeepDialog, useKeep } from "./Keep";
import css from "./starting.module.css";
import { type Phase, type StepState, beganAt, duration, initTasks, ordered, phaseOf, plainText, stepsOf, taskMs, taskStates } from "./starting";

/** The time, while something is under way. */
function useNow(running: boolean) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, [running]);
  return now;
}

/** Changes the play, and shows it as it is then. */
export function useAct(id: string) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (action: ActionName) => act(id, action),
    onSuccess: (play) => {
      cache.setQueryData(playKey(id), play);
      void cache.invalidateQueries({ queryKey: ["plays"] });
    },
    onError: toastError,
  });
}

export function askToDestroy(play: Play, then: () => void) {
  confirm({
    title: `Destroy ${play.title || "this play"}?`,
    text: "Its machines and everything on their drives are removed. This cannot be undone.",
    yes: "Destroy",
    danger: true,
    run: async () => {
      await act(play.id, "destroy");
      then();
    },
  });
}

const headings: Record<Phase, string> = {
  starting: "Starting", tasks: "Preparing", ready: "Ready", "task-failed": "A task has failed", failed: "The start has failed",
  stopping: "Stopping", stopped: "Stopped", destroying: "Removing", destroyed: "Removed",
};

export function Starting({ play, live, enter }: { play: Play; live: boolean; enter: () => void }) {
  const phase = phaseOf(play);
  const running = phase === "starting" || phase === "tasks" || (phase === "task-failed" && initTasks(play).some((t) => t.status === 30));
  const now = useNow(running || phase === "stopping");
  const began = beganAt(play);
  const doing = useAct(play.id);
  const keep = useKeep();
  const [, go] = useLocation();
  const name = play.title || play.playground.title || play.playground.name;
  const message = play.status?.stateEvents?.at(-1)?.message;
  const canEnter = phase === "tasks" || phase === "task-failed" || phase === "ready";
  const retry = <Button busy={doing.isPending} onClick={() => doing.mutate("restart")}><RotateCcw size={16} aria-hidden /> {phase === "stopped" ? "Start" : "Try again"}</Button>;
  const destroy = <Button look="danger" onClick={() => askToDestroy(play, () => go("/plays"))}><Trash2 size={16} aria-hidden /> Destroy</Button>;
  const keeping = <><Button onClick={() => keep(play, "save", true)}><BookCopy size={16} aria-hidden /> Save as playground</Button><Button onClick={() => keep(play, "fork", true)}><GitFork size={16} aria-hidden /> Fork</Button></>;
  const enterAnyway = (label: string) => <Button look={phase === "tasks" ? "plain" : "primary"} onClick={enter}><DoorOpen size={16} aria-hidden /> {label}</Button>;

  if (phase === "destroyed" || phase === "destroying") {
    return (
      <Page title={name} heading={null} narrow>
        <Empty icon={phase === "destroying" ? <Spinner size={30} label="Removing" /> : <Trash2 size={32} aria-hidden />} title={phase === "destroying" ? `${name} is being removed` : `${name} has been removed`} actions={<><Button look="primary" asChild><Link href={`/playgrounds/${encodeURIComponent(play.playground.name)}`}>Start another</Link></Button><Button asChild><Link href="/plays">My plays</Link></Button></>}>
          Its machines and drives are gone.
        </Empty>
      </Page>
    );
  }
  return (
    <Page
      title={`${name}: ${headings[phase].toLowerCase()}`}
      narrow
      heading={<span className={css["heading"]}>{(running || phase === "stopping") && <Spinner size={24} />}{headings[phase]} {name}</span>}
      lead={
        <span role="status">
          {running && <>for {duration(now - began)}. You can leave this page and come back. {!live && phase === "starting" && "Waiting for news."}</>}
          {phase === "stopping" && "The machines shut down; their drives stay."}
          {phase === "stopped" && "Its drives are kept."}
        </span>
      }
      actions={<div className={ui["chips"]}>{phase === "tasks" && enterAnyway("Enter now")}{phase === "stopped" && retry}{phase === "stopped" && keeping}{phase !== "failed" && phase !== "task-failed" && destroy}</div>}
    >
      <div className={css["stack"]}>
        {(phase === "failed" || phase === "task-failed") && (
          <Notice tone="bad" actions={<>{retry}{canEnter && enterAnyway("Enter anyway")}{destroy}</>}>
            <Reason play={play} phase={phase} message={message} />
          </Notice>
        )}
        {(play.notes ?? []).map((n) => <Notice key={n} tone="info">{n}</Notice>)}
        {(play.warnings ?? []).map((w, i) => <Notice key={i} tone="warn"><code>{w.path}</code> {w.message}</Notice>)}
        <Card title="Machines" flush>
          <ul className={css["rows"]}>
            {(play.machines ?? []).map((m) => {
              const status = play.status?.machines?.find((s) => s.name === m.name);
              return (
                <Row key={m.name} name={m.name} extra={m.backend && <Badge>{m.backend}</Badge>} opens="Console" content={() => <Console id={play.id} machine={m.name} live={running} />}>
                  {phase === "stopped" || phase === "stopping" ? (
                    <Badge>{(status?.state ?? "").toLowerCase()}</Badge>
                  ) : (
                    <ol className={css["steps"]} aria-label={`Steps of ${m.name}`}>
                      {stepsOf(status, began, now, m.noSSH).map((s) => (
                        <li key={s.name} className={css[s.state]}><Mark state={s.state} /> {s.label} <span className={css["time"]}>{s.state === "waiting" ? "" : duration(s.ms)}</span></li>
                      ))}
                    </ol>
                  )}
                  {status?.state === "FAILED" && status.message && <pre className={css["message"]}>{plainText(status.message)}</pre>}
                </Row>
              );
            })}
          </ul>
        </Card>
        {initTasks(play).length > 0 && phase !== "stopped" && <Tasks play={play} now={now} />}
        {phase === "stopped" && <KeepDialog play={play} />}
      </div>
    </Page>
  );
}

/** What failed, in a sentence or two. */
function Reason({ play, phase, message }: { play: Play; phase: Phase; message: string | undefined }) {
  const machines = (play.status?.machines ?? []).filter((m) => m.state === "FAILED");
  const tasks = initTasks(play).filter((t) => t.status === 35);
  if (phase === "task-failed") {
    return <>{tasks.length === 1 ? "The task" : "The tasks"} {tasks.map((t, i) => <span key={t.name}>{i > 0 && ", "}<b>{t.name}</b></span>)} failed. What {tasks.length === 1 ? "it" : "they"} wrote is below; the machines run.</>;
  }
  return <>{message ? <>{message.charAt(0).toUpperCase() + message.slice(1)}</> : machines.length ? <>{machines.map((m) => m.name).join(", ")} did not start.</> : "The play did not start."}</>;
}

function Mark({ state }: { state: StepState }) {
  const said = { done: "done:", active: "under way:", failed: "failed:", waiting: "to do:" }[state];
  return (
    <>
      {state === "done" && <Check size={15} aria-hidden />}
      {state === "active" && <Spinner size={15} />}
      {state === "failed" && <X size={15} aria-hidden />}
      {state === "waiting" && <Circle size={9} aria-hidden className={css["dot"]} />}
      <span className="sr-only">{said}</span>
    </>
  );
}

function Row({ name, extra, opens, content, children, open: opened = false }: { name: string; extra?: ReactNode; opens: string; content: () => ReactNode; children: ReactNode; open?: boolean }) {
  const [open, setOpen] = useState(opened);
  return (
    <li className={css["row"]}>
      <div className={css["line"]}>
        <h3>{name}</h3>
        {extra}
        <Button look="ghost" size="small" className={css["opener"]} aria-expanded={open} onClick={() => setOpen(!open)}>
          <ScrollText size={15} aria-hidden /> {opens}<span className="sr-only"> of {name}</span> <ChevronDown size={15} className={cx(open && css["up"])} aria-hidden />
        </Button>
      </div>
      {children}
      {open && content()}
    </li>
  );
}

function Tasks({ play, now }: { play: Play; now: number }) {
  // Versions rise with every change, so details are asked for when there are new ones.
  const version = Object.values(play.tasks).reduce((n, t) => n + t.version, 0);
  const details = useQuery({
    queryKey: ["tasks", play.id, version],
    queryFn: () => got(api.GET("/api/plays/{id}/tasks", { params: { path: { id: play.id } } })),
    placeholderData: (before) => before,
    // What a task writes does not change its version.
    refetchInterval: Object.values(play.tasks).some((t) => t.status === 30) ? 1500 : false,
  });
  const byName = new Map((details.data ?? []).map((d) => [d.name, d]));
  const tasks = ordered(initTasks(play), Object.fromEntries((details.data ?? []).map((d) => [d.name, d.needs])));
  const done = tasks.filter((t) => t.status === 40).length;
  return (
    <Card title="Init tasks" actions={<span className={ui["hint"]}>{done} of {tasks.length} done</span>} flush>
      <ul className={css["rows"]}>
        {tasks.map((t) => {
          const d = byName.get(t.name);
          const [state, word] = taskStates[t.status] ?? ["waiting", ""];
          return (
            <Row key={`${t.name}-${state === "failed"}`} name={t.name} open={state === "failed"} extra={d?.machine && <Badge>{d.machine}</Badge>} opens="Output" content={() => <Output task={d} />}>
              <p className={cx(css["steps"], css[state])}><span><Mark state={state} /> {word} <span className={css["time"]}>{duration(taskMs(t.status, d, now))}</span></span></p>
              {state === "failed" && d?.message && <p className={ui["wrong"]}>{d.message}</p>}
            </Row>
          );
        })}
      </ul>
    </Card>
  );
}

function Output({ task }: { task: TaskDetails | undefined }) {
  const text = [task?.stdout, task?.stderr].filter(Boolean).join("\n");
  return <Text text={text ? plainText(text) : "It has written nothing yet."} label={`Output of ${task?.name ?? "the task"}`} />;
}

function Console({ id, machine, live }: { id: string; machine: string; live: boolean }) {
  const query = useQuery({
    queryKey: ["console", id, machine],
    queryFn: async () => {
      const last = (await consoles(id, machine)).at(-1);
      return last ? readConsole(id, machine, last) : "";
    },
    refetchInterval: live ? 1200 : false,
  });
  if (query.error && !query.data) return <Failure error={query.error} retry={() => void query.refetch()} />;
  return <Text text={query.data ? plainText(query.data).slice(-64_000) : query.isPending ? "…" : "Nothing on the console yet."} label={`Console of ${machine}`} />;
}

/** Text that grows; stays at its end unless somebody has scrolled up. */
function Text({ text, label }: { text: string; label: string }) {
  const box = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);
  useEffect(() => {
    if (box.current && atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [text]);
  return (
    <pre
      ref={box}
      className={css["text"]}
      tabIndex={0}
      role="log"
      aria-label={label}
      aria-live="off"
      onScroll={(e) => {
        const b = e.currentTarget;
        atEnd.current = b.scrollHeight - b.scrollTop - b.clientHeight < 24;
      }}
    >
      {text}
    </pre>
  );
}
