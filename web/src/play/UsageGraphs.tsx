// CPU and memory of a machine, over the last minutes. Memory is what its emulator
// has on the host, which is somewhat more than the machine's own.
import { ui } from "../ui";
import css from "./play.module.css";
import type { Point } from "./readings";

type Props = { history: Point[]; cpus: number; running: boolean };

const gib = (bytes: number) => (bytes >= 1 << 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`);

export function UsageGraphs({ history, cpus, running }: Props) {
  const last = running ? history.at(-1) : undefined;
  const most = Math.max(last?.limit ?? 0, ...history.map((p) => p.memory), 1);
  const memory = last ? gib(last.memory) : "–";
  const own = last?.limit ? gib(last.limit) : undefined;
  return (
    <>
      <div className={css["graphs"]}>
        <Graph name="CPU" value={last ? `${Math.round((last.cpus / cpus) * 100)} %` : "–"} points={history.map((p) => p.cpus / cpus)} />
        <Graph name="Memory" value={memory} label={`Memory on the host over the last minutes, now ${memory}${own ? ` for ${own}` : ""}`} points={history.map((p) => p.memory / most)} />
      </div>
      {own && <p className={ui["hint"]}>Memory is that of the host: the machine has {own}, and its emulator needs some, too.</p>}
    </>
  );
}

const width = 240;
const height = 56;

function Graph({ name, value, points, label = `${name} over the last minutes, now ${value}` }: { name: string; value: string; points: number[]; label?: string }) {
  const step = width / 89;
  const at = points.map((p, i) => [width - (points.length - 1 - i) * step, height - Math.min(1, Math.max(0, p)) * (height - 3) - 1] as const);
  const line = at.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  return (
    <figure className={css["graph"]}>
      <figcaption><span>{name}</span><strong>{value}</strong></figcaption>
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label}>
        {at.length > 1 && <polygon points={`${at[0]![0].toFixed(1)},${height} ${line} ${width},${height}`} />}
        {at.length > 1 && <polyline points={line} />}
      </svg>
    </figure>
  );
}
