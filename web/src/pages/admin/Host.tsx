import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { api, got } from "../../api/client";
import { Badge, Card, Failure, Notice, Skeleton, ui } from "../../ui";
import { Meter } from "../../ui/Meter";
import { moment } from "../account";
import css from "./admin.module.css";
import { type Sample, bytesText, line, percent, tone } from "./figures";

export const useHost = () => useQuery({ queryKey: ["host"], queryFn: () => got(api.GET("/api/admin/host")), refetchInterval: 20_000 });

/** An hour of samples. */
const slots = 180;

export function Host() {
  const query = useHost();
  const h = query.data;
  if (!h) return query.error ? <Failure error={query.error} retry={() => void query.refetch()} /> : <Skeleton height={420} />;
  const samples = h.samples ?? [];
  const last = samples.at(-1);
  const memory = last && last.memoryTotal > 0 ? last.memoryUsed / last.memoryTotal : 0;
  const pool = last && last.poolTotal > 0 ? last.poolUsed / last.poolTotal : 0;
  const images = h.images ?? [];
  const kernels = (h.kernels ?? []).filter((k) => k.ready);
  return (
    <div className={css["stack"]}>
      {h.accelerator !== "kvm" && <Notice tone="warn">Machines run without KVM: slower, and without an isolation guarantee. Let in only people you trust; <code>labd doctor</code> says what is missing.</Notice>}
      <Card title={h.name} actions={<span className={ui["chips"]}><Badge tone={h.accelerator === "kvm" ? "ok" : "warn"}>{h.accelerator === "kvm" ? "KVM" : "emulated"}</Badge><Badge>labd {h.version}</Badge></span>}>
        {last ? (
          <div className={css["gauges"]}>
            <Meter name={`CPU, of ${h.cpus}`} value={last.cpu} most={1} text={percent(last.cpu)} tone={tone(last.cpu)} />
            <Meter name="Memory" value={last.memoryUsed} most={last.memoryTotal} text={`${bytesText(last.memoryUsed)} of ${bytesText(last.memoryTotal)}`} tone={tone(memory)} />
            <Meter name="Pool of volumes" value={last.poolUsed} most={last.poolTotal} text={`${bytesText(last.poolUsed)} of ${bytesText(last.poolTotal)}`} tone={tone(pool)} />
          </div>
        ) : (
          <p className={ui["hint"]}>Nothing has been measured yet: the first figures come within {h.sampleSeconds} seconds.</p>
        )}
        <p className={css["summary"]}>
          <Link href="/admin/plays">{last?.plays ?? 0} {last?.plays === 1 ? "play" : "plays"}</Link> with {last?.machines ?? 0} running {last?.machines === 1 ? "machine" : "machines"}
          {" · "}<Link href="/admin/images">{images.length} {images.length === 1 ? "image" : "images"}</Link>, {bytesText(images.reduce((n, i) => n + i.sizeBytes, 0))}
          {" · "}{kernels.length} {kernels.length === 1 ? "kernel" : "kernels"}{kernels.length > 0 && `: ${kernels.map((k) => k.version).join(", ")}`}
          {" · "}labd runs since <time dateTime={h.upSince}>{moment(h.upSince)}</time>
        </p>
      </Card>
      {samples.length > 0 && (
        <Card title="The last hour">
          <div className={css["graphs"]}>
            <Graph name="CPU" samples={samples} of={(s) => s.cpu} most={1} text={percent} />
            <Graph name="Memory" samples={samples} of={(s) => s.memoryUsed} most={last!.memoryTotal} text={bytesText} />
            <Graph name="Pool" samples={samples} of={(s) => s.poolUsed} most={last!.poolTotal} text={bytesText} />
            <Graph name="Running machines" samples={samples} of={(s) => s.machines} most={Math.max(4, ...samples.map((s) => s.machines))} text={String} />
          </div>
        </Card>
      )}
    </div>
  );
}

const width = 600;
const height = 110;

function Graph({ name, samples, of, most, text }: { name: string; samples: Sample[]; of: (s: Sample) => number; most: number; text: (n: number) => string }) {
  const values = samples.map(of);
  const points = line(values, most, slots, width, height);
  const path = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  const now = text(values.at(-1) ?? 0);
  const peak = text(Math.max(...values));
  return (
    <figure className={css["graph"]}>
      <figcaption><span>{name}</span><b>{now}</b></figcaption>
      <div className={css["plot"]}>
        <span className={css["top"]} aria-hidden>{text(most)}</span>
        <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={`${name} in the last hour: now ${now}, at most ${peak}, of ${text(most)}`}>
          {[0.25, 0.5, 0.75].map((y) => <line key={y} x1={0} x2={width} y1={height * y} y2={height * y} />)}
          {points.length > 1 && <polygon points={`${points[0]![0].toFixed(1)},${height} ${path} ${width},${height}`} />}
          {points.length > 1 && <polyline points={path} />}
          {points.length === 1 && <circle cx={width - 3} cy={Math.max(3, points[0]![1] - 3)} r={3} />}
        </svg>
        <div className={css["axis"]} aria-hidden><span>an hour ago</span><span>now</span></div>
      </div>
    </figure>
  );
}
