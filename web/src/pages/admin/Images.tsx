import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ChevronDown, Download, Hammer, ScrollText, X } from "lucide-react";
import { type FormEvent, useState } from "react";
import { type Job, type Schemas, api, got } from "../../api/client";
import { jobsKey, useJobs } from "../../api/events";
import { isOpen } from "../../api/fold";
import { Badge, Button, Card, Failure, Skeleton, Spinner, TextField, type Tone, ui } from "../../ui";
import { toastError } from "../../ui/toast";
import { moment } from "../account";
import css from "./admin.module.css";
import { bytesText, percent, stageText } from "./figures";
import { useHost } from "./Host";

export function Images() {
  const cache = useQueryClient();
  const host = useHost();
  const sources = useQuery({ queryKey: ["sources"], queryFn: () => got(api.GET("/api/sources")) });
  // What has ended may have brought something.
  const jobs = useJobs(() => {
    for (const key of ["host", "sources", "kernels"]) void cache.invalidateQueries({ queryKey: [key] });
  });
  const again = () => cache.invalidateQueries({ queryKey: jobsKey });
  const start = useMutation({
    mutationFn: (body: Schemas["CreateJob"]) => got(api.POST("/api/admin/jobs", { body })),
    // Not the reply: the job may have ended before it came.
    onSuccess: again,
    onError: toastError,
  });
  const list = jobs.data ?? [];
  const busy = (kind: string, name: string) => list.some((j) => isOpen(j) && j.kind === kind && j.name === name);
  const images = host.data?.images ?? [];
  const unbuilt = (sources.data ?? []).filter((s) => s.recipe && !images.some((i) => i.name === s.name));
  return (
    <div className={css["stack"]}>
      <Card title="Builds and pulls" flush>
        {jobs.error && !jobs.data && <div className={ui["cardBody"]}><Failure error={jobs.error} retry={() => void jobs.refetch()} /></div>}
        {jobs.isPending && <div className={ui["cardBody"]}><Skeleton height={60} /></div>}
        {jobs.isSuccess && list.length === 0 && <p className={`${ui["cardBody"]} ${ui["hint"]}`}>Nothing has been asked for since labd started.</p>}
        {list.length > 0 && <ul className={css["jobs"]} aria-label="Builds and pulls">{list.map((j) => <JobRow key={j.id} job={j} />)}</ul>}
      </Card>
      <div className={css["pair"]}>
        <Card title="Images" flush>
          {host.error && !host.data && <div className={ui["cardBody"]}><Failure error={host.error} retry={() => void host.refetch()} /></div>}
          {host.isPending && <div className={ui["cardBody"]}><Skeleton height={180} /></div>}
          <ul className={css["things"]} aria-label="Images">
            {images.map((i) => {
              const source = sources.data?.find((s) => s.name === i.name);
              const pulled = source?.from === "pulled";
              return (
                <li key={i.name}>
                  <div><b>{i.name}</b>{pulled && <> <Badge>pulled</Badge></>}<p className={ui["hint"]}>{bytesText(i.sizeBytes)} · <time dateTime={i.storedAt}>{moment(i.storedAt)}</time></p></div>
                  {i.name.startsWith("oci://") && <Button size="small" busy={busy("pull", i.name)} onClick={() => start.mutate({ kind: "pull", name: i.name })} aria-label={`Pull ${i.name} again`}><Download size={15} aria-hidden /> Again</Button>}
                  {source?.recipe && <Button size="small" busy={busy("build", i.name)} onClick={() => start.mutate({ kind: "build", name: i.name })} aria-label={pulled ? `Build ${i.name} in place of the one that was pulled` : `Build ${i.name} again if it has changed`}><Hammer size={15} aria-hidden /> Build</Button>}
                </li>
              );
            })}
            {unbuilt.map((s) => (
              <li key={s.name}>
                <div><b>{s.name}</b> <Badge>not built</Badge></div>
                <Button size="small" busy={busy("build", s.name)} onClick={() => start.mutate({ kind: "build", name: s.name })} aria-label={`Build ${s.name}`}><Hammer size={15} aria-hidden /> Build</Button>
              </li>
            ))}
          </ul>
        </Card>
        <div className={css["stack"]}>
          <Pull start={start.mutate} busy={start.isPending} />
          <Card title="Kernels" flush>
            <ul className={css["things"]} aria-label="Kernels">
              {(host.data?.kernels ?? []).map((k) => (
                <li key={k.version}>
                  <div><b>{k.version}</b> {k.default && <Badge>default</Badge>}{!k.ready && <Badge>not here</Badge>}<p className={ui["hint"]}>{k.ready ? <>{k.release} · {bytesText(k.sizeBytes ?? 0)}</> : "from Debian's archive"}</p></div>
                  <Button size="small" busy={busy("kernel", k.version)} onClick={() => start.mutate({ kind: "kernel", name: k.version, force: k.ready })} aria-label={k.ready ? `Renew ${k.version}` : `Fetch ${k.version}`}><Download size={15} aria-hidden /> {k.ready ? "Renew" : "Fetch"}</Button>
                </li>
              ))}
            </ul>
          </Card>
        </div>
      </div>
    </div>
  );
}

function Pull({ start, busy }: { start: (job: Schemas["CreateJob"]) => void; busy: boolean }) {
  const [name, setName] = useState("oci://");
  const [tried, setTried] = useState(false);
  const wrong = /^oci:\/\/[^\s/]+\/?\S+$/.test(name) ? null : "Write it like oci://docker.io/library/alpine:3.";
  const submit = (e: FormEvent) => {
    e.preventDefault();
    setTried(true);
    if (wrong) return;
    start({ kind: "pull", name });
    setName("oci://");
    setTried(false);
  };
  return (
    <Card title="Pull from a registry">
      <form className={ui["form"]} onSubmit={submit} noValidate>
        <TextField label="Image" value={name} wrong={tried ? wrong : null} hint="Manifests name it in the same way." onChange={(e) => setName(e.target.value)} spellCheck={false} autoCapitalize="none" autoComplete="off" maxLength={400} />
        <div className={ui["answers"]}><Button type="submit" look="primary" busy={busy}><Download size={16} aria-hidden /> Pull</Button></div>
      </form>
    </Card>
  );
}

const verbs: Record<string, string> = { build: "Build", pull: "Pull", kernel: "Kernel" };
const tones: Record<string, Tone | undefined> = { running: "info", done: "ok", failed: "bad", cancelled: "warn" };

function JobRow({ job: j }: { job: Job }) {
  const cache = useQueryClient();
  const [shown, setShown] = useState(false);
  const name = `${verbs[j.kind] ?? j.kind} ${j.name}`;
  const lines = j.lines ?? [];
  const cancel = () => void got(api.DELETE("/api/admin/jobs/{job}", { params: { path: { job: j.id } } })).then(() => cache.invalidateQueries({ queryKey: jobsKey }), toastError);
  const part = j.total > 0 ? Math.min(1, j.done / j.total) : 0;
  const doing = j.state === "running" && [stageText(j.stage), j.total > 0 && `${bytesText(j.done)} of ${bytesText(j.total)}`].filter(Boolean).join(" ");
  return (
    <li>
      <div className={css["jobLine"]}>
        {j.state === "running" && <Spinner size={17} />}
        <div className={css["grow"]}>
          <b>{name}</b> <Badge tone={tones[j.state]}>{j.state}</Badge>
          <p className={ui["hint"]} aria-live="polite">
            {doing && <>{doing} · </>}
            by {j.by} · <time dateTime={j.endedAt || j.createdAt}>{moment(j.endedAt || j.createdAt)}</time>
          </p>
        </div>
        {lines.length > 0 && <Button look="ghost" size="small" aria-expanded={shown} onClick={() => setShown(!shown)}><ScrollText size={15} aria-hidden /> Output<span className="sr-only"> of {name}</span> <ChevronDown size={15} aria-hidden /></Button>}
        {isOpen(j) && <Button size="small" look="danger" disabled={j.stage === "cancelling"} onClick={cancel} aria-label={`Cancel ${name}`}><X size={15} aria-hidden /> Cancel</Button>}
      </div>
      {j.state === "running" && j.total > 0 && <div className={css["bar"]} role="progressbar" aria-label={name} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(part * 100)} aria-valuetext={percent(part)}><div style={{ width: `${part * 100}%` }} /></div>}
      {j.error && <p className={ui["wrong"]}>{j.error}</p>}
      {shown && <pre className={css["output"]} tabIndex={0} role="log" aria-label={`Output of ${name}`} aria-live="off">{lines.join("\n")}</pre>}
    </li>
  );
}
