// A playground before it is started: what it is, what it takes, and the start.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { AppWindow, Code2, Compass, CopyPlus, Cpu, Gauge, Globe, HardDrive, MemoryStick, Pencil, Play as PlayIcon, Server, SquareTerminal, SlidersHorizontal } from "lucide-react";
import { type FormEvent, Suspense, useEffect, useState } from "react";
import { Link, useLocation } from "wouter";
import { ApiError, type Playground, type Schemas, api, got } from "../api/client";
import { playKey } from "../api/events";
import { RequireUser } from "../session/RequireUser";
import { isAdministrator, useMe } from "../session/useSession";
import { Topology, pictureOf } from "../topology/Topology";
import { Badge, Button, Card, Failure, Field, Notice, Page, SelectField, Skeleton, TextField, ui } from "../ui";
import { chunk } from "../ui/chunk";
import { Cover } from "./Catalog";
import { shelfOf } from "./catalog";
import { PlayEntry } from "./chunks";
import { type Choices, type Condition, cost, defaults, mebibytes, leaves, refuse, sizeText, startBody, tabKind } from "./start";
import css from "./landing.module.css";

const Markdown = chunk(() => import("../ui/Markdown"));

/** The whole of it, or as much as who may only start it is told. */
async function whole(name: string): Promise<Playground> {
  const ask = (format?: string) => got(api.GET("/api/playgrounds/{name}", { params: { path: { name }, query: format ? { format } : {} } }));
  try {
    return await ask("extended");
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) return ask();
    throw error;
  }
}

export default function Landing({ name }: { name: string }) {
  return <RequireUser><Found name={name} /></RequireUser>;
}

function Found({ name }: { name: string }) {
  const query = useQuery({ queryKey: ["playground", name], queryFn: () => whole(name), staleTime: 60_000 });
  const p = query.data;
  useEffect(() => void Markdown.ready(), []); // while the playground is asked for
  if (!p) {
    return (
      <Page title={name} heading={query.error ? null : <Skeleton width={260} height={30} />}>
        {query.error ? (
          <Failure error={query.error} retry={() => void query.refetch()} actions={<Button size="small" asChild><Link href="/">Go to the catalog</Link></Button>} />
        ) : (
          <Skeleton height={340} />
        )}
      </Page>
    );
  }
  return <Shown playground={p} />;
}

const tabIcons: Record<string, typeof Globe> = { terminal: SquareTerminal, ide: Code2, kexp: Compass, "http-port": AppWindow, "web-page": Globe };

function Shown({ playground: p }: { playground: Playground }) {
  const me = useMe();
  const shelf = shelfOf(p, me?.id);
  const tasks = Object.entries(p.initTasks ?? {});
  const looks = Object.fromEntries((p.machines ?? []).map((m) => [m.name, { about: aboutMachine(m) }]));
  return (
    <Page title={p.title || p.name} heading={null}>
      <div className={css["split"]}>
        <div className={css["main"]}>
          <header className={css["head"]}>
            <Link href="/" className={css["back"]}>Catalog</Link>
            <h1>{p.title || p.name}</h1>
            {p.description && <p className={ui["pageLead"]}>{p.description}</p>}
            <div className={ui["chips"]}>
              <Badge tone={shelf === "official" ? "info" : "accent"}>{shelf === "official" ? "official" : shelf === "mine" ? "mine" : `by ${p.owner}`}</Badge>
              {(p.categories ?? []).map((c) => <Badge key={c}>{c}</Badge>)}
            </div>
            <Writing playground={p} mine={shelf === "mine" || (shelf === "community" && isAdministrator(me))} />
          </header>
          {(p.machines ?? []).length > 0 && (
            <Card title="Machines and networks"><Topology {...pictureOf(p)} looks={looks} /></Card>
          )}
          {p.markdown && (
            <Card>
              <Suspense fallback={<Skeleton height={180} />}><Markdown text={p.markdown} /></Suspense>
            </Card>
          )}
          <div className={css["pair"]}>
            {(p.tabs ?? []).length > 0 && (
              <Card title="Tabs">
                <ul className={css["list"]}>
                  {(p.tabs ?? []).map((t, i) => {
                    const Icon = tabIcons[t.kind] ?? SquareTerminal;
                    return <li key={i}><Icon size={17} aria-hidden /><span><b>{t.name || tabKind(t.kind)}</b> <span className={ui["hint"]}>{tabKind(t.kind)}{t.machine ? ` of ${t.machine}` : ""}{t.number ? `, port ${t.number}` : ""}</span></span></li>;
                  })}
                </ul>
              </Card>
            )}
            {tasks.length > 0 && (
              <Card title="Done before you enter">
                <ul className={css["list"]}>
                  {tasks.map(([name, t]) => (
                    <li key={name}><SlidersHorizontal size={17} aria-hidden /><span><b>{name}</b> <span className={ui["hint"]}>{t.machine ? `on ${t.machine}` : ""}{t.needs?.length ? `, after ${t.needs.join(", ")}` : ""}{t.conditions?.length ? `, if ${t.conditions.map((c) => `${c.key} is ${c.value || "empty"}`).join(" and ")}` : ""}</span></span></li>
                  ))}
                </ul>
              </Card>
            )}
          </div>
        </div>
        <aside className={css["side"]}><Start playground={p} mine={shelf !== "community"} /></aside>
      </div>
    </Page>
  );
}

/** Ways into the editor, for who may read it. */
function Writing({ playground: p, mine }: { playground: Playground; mine: boolean }) {
  if (p.userAccess && !p.userAccess.canRead) return null;
  const name = encodeURIComponent(p.name);
  return (
    <div className={ui["chips"]}>
      {mine && <Button size="small" asChild><Link href={`/playgrounds/${name}/edit`}><Pencil size={15} aria-hidden /> Edit</Link></Button>}
      <Button size="small" asChild><Link href={`/new?base=${name}`}><CopyPlus size={15} aria-hidden /> New playground from this</Link></Button>
    </div>
  );
}

function aboutMachine(m: Schemas["MachineSpec"]): string {
  const parts = [];
  if (m.resources?.cpuCount) parts.push(`${m.resources.cpuCount} CPU`);
  if (m.resources?.ramSize) parts.push(sizeText(mebibytes(m.resources.ramSize)));
  const root = m.drives?.find((d) => d.mount === "/")?.source;
  return parts.join(" · ") || root || "";
}

function Start({ playground: p, mine }: { playground: Playground; mine: boolean }) {
  const conditions = p.initConditions?.values ?? [];
  const [values, setValues] = useState(() => defaults(conditions));
  const [choices, setChoices] = useState<Choices>({ backend: "", kernel: "" });
  const [consent, setConsent] = useState(false);
  const [tried, setTried] = useState(false);
  const [, go] = useLocation();
  const cache = useQueryClient();
  const start = useMutation({
    mutationFn: () => got(api.POST("/api/plays", { body: startBody(p, values, choices, consent || mine) })),
    onSuccess: (play) => {
      cache.setQueryData(playKey(play.id), play);
      void cache.invalidateQueries({ queryKey: ["plays"] });
      go(`/plays/${play.id}`);
    },
  });
  // Who looks at a playground may start it: then its loading screen is there.
  useEffect(() => void PlayEntry.ready(), []);
  const wrong = Object.fromEntries(conditions.map((c) => [c.key, refuse(c, values[c.key] ?? "")]));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    const first = conditions.find((c) => wrong[c.key]);
    if (first) return document.querySelector<HTMLElement>(`[name="${CSS.escape(`condition-${first.key}`)}"]`)?.focus();
    start.mutate();
  };
  if (p.userAccess && !p.userAccess.canStart) return <Card><Notice tone="warn">You may look at this playground, but not start it: ask who made it.</Notice></Card>;
  const none = (p.machines ?? []).length === 0;
  return (
    <div className={ui["card"]}>
      <Cover playground={p} />
      <form className={css["form"]} onSubmit={submit} noValidate>
        <Cost playground={p} />
        {conditions.map((c) => (
          <ConditionField key={c.key} condition={c} value={values[c.key] ?? ""} wrong={tried ? wrong[c.key]! : null} onChange={(v) => setValues((all) => ({ ...all, [c.key]: v }))} />
        ))}
        {!none && <Choose choices={choices} onChange={setChoices} />}
        {!mine && (
          <label className={css["consent"]}>
            <input type="checkbox" checked={consent} onChange={(e) => setConsent(e.target.checked)} />
            <span>I know that {p.owner} made this, not the people who run this Sandlot, and I enter nothing secret in it.</span>
          </label>
        )}
        {start.error && <Failure error={start.error} />}
        {none ? (
          <Notice tone="info">A base without machines: bring your own with <code>labctl playground start {p.name} -f manifest.yaml</code>.</Notice>
        ) : (
          <Button type="submit" look="primary" size="large" busy={start.isPending} disabled={!mine && !consent}><PlayIcon size={18} aria-hidden /> Start</Button>
        )}
      </form>
    </div>
  );
}

function ConditionField({ condition: c, value, wrong, onChange }: { condition: Condition; value: string; wrong: string | null; onChange: (value: string) => void }) {
  const name = `condition-${c.key}`;
  const label = c.nullable ? <>{c.key} <span className={ui["hint"]}>may stay empty</span></> : c.key;
  if (c.options?.length) {
    return (
      <SelectField label={label} name={name} value={value} wrong={wrong} onChange={(e) => onChange(e.target.value)}>
        {c.nullable && <option value="">none</option>}
        {c.options.map((o) => <option key={o} value={o}>{o}</option>)}
      </SelectField>
    );
  }
  return <TextField label={label} name={name} value={value} wrong={wrong} placeholder={c.placeholder} hint={c.validationRegex ? <>matches <code>{c.validationRegex}</code></> : undefined} onChange={(e) => onChange(e.target.value)} spellCheck={false} autoComplete="off" />;
}

const backendNames: Record<string, string> = { qemu: "QEMU", firecracker: "Firecracker", "cloud-hypervisor": "Cloud Hypervisor" };

function Choose({ choices, onChange }: { choices: Choices; onChange: (c: Choices) => void }) {
  const kernels = useQuery({ queryKey: ["kernels"], queryFn: () => got(api.GET("/api/kernels")), staleTime: 300_000 });
  const backends = useQuery({ queryKey: ["backends"], queryFn: () => got(api.GET("/api/backends")), staleTime: 300_000 });
  return (
    <details className={css["more"]}>
      <summary>Backend and kernel</summary>
      <div>
        <SelectField label="Backend" value={choices.backend} onChange={(e) => onChange({ ...choices, backend: e.target.value })}>
          <option value="">as the playground says</option>
          {(backends.data ?? []).map((b) => <option key={b.name} value={b.name} disabled={!b.ready}>{backendNames[b.name] ?? b.name}{b.ready ? "" : " (not on this host)"}</option>)}
        </SelectField>
        <Field label="Kernel">
          {(ids) => (
            <select {...ids} className={ui["input"]} value={choices.kernel} onChange={(e) => onChange({ ...choices, kernel: e.target.value })}>
              <option value="">as the playground says</option>
              {(kernels.data ?? []).map((k) => <option key={k.version} value={k.version} disabled={!k.ready}>{k.version}{k.ready ? "" : " (not on this host)"}</option>)}
            </select>
          )}
        </Field>
      </div>
    </details>
  );
}

function Cost({ playground: p }: { playground: Playground }) {
  const plan = useQuery({ queryKey: ["plan"], queryFn: () => got(api.GET("/api/account/plan")) }).data;
  const takes = cost(p);
  if (takes.machines === 0) return null;
  const after = plan && leaves(p, takes, plan);
  return (
    <>
      <div className={css["cost"]} role="group" aria-label="What it takes">
        <span><Server size={16} aria-hidden /> {takes.machines} {takes.machines === 1 ? "machine" : "machines"}</span>
        <span><Cpu size={16} aria-hidden /> {takes.cpus} {takes.cpus === 1 ? "CPU" : "CPUs"}</span>
        {takes.memory > 0 && <span><MemoryStick size={16} aria-hidden /> {sizeText(takes.memory)}</span>}
        {takes.drives > 0 && <span><HardDrive size={16} aria-hidden /> {sizeText(takes.drives)}</span>}
      </div>
      {after && after.lines.length > 0 && (
        <div className={css["budget"]} role="group" aria-label="What your plan leaves">
          <Gauge size={16} aria-hidden />
          <div><span>Of your plan <Link href="/account">{plan.name}</Link>:</span><ul>{after.lines.map((l) => <li key={l}>{l}</li>)}</ul></div>
        </div>
      )}
      {after?.scaled && <p className={ui["hint"]}>Its machines get less than it asks for: your plan gives no more.</p>}
      {after && after.refused.length > 0 && (
        <Notice tone="warn" actions={<Button size="small" asChild><Link href="/plays">My plays</Link></Button>}>{after.refused.join(" ")} Stop or destroy one first.</Notice>
      )}
    </>
  );
}
