import { useQuery } from "@tanstack/react-query";
import { CheckCircle2, OctagonAlert } from "lucide-react";
import { useState } from "react";
import { api, got } from "../../api/client";
import { Badge, Button, Card, Failure, Notice, Skeleton, cx, ui } from "../../ui";
import css from "./admin.module.css";

const checkNames: Record<string, string> = { recovered: "labd has taken over what ran", store: "The store answers", pool: "The pool of volumes is mounted" };

export function Settings() {
  const query = useQuery({ queryKey: ["settings"], queryFn: () => got(api.GET("/api/admin/settings")), refetchInterval: 20_000 });
  const [all, setAll] = useState(false);
  const r = query.data;
  if (!r) return query.error ? <Failure error={query.error} retry={() => void query.refetch()} /> : <Skeleton height={340} />;
  const problems = r.problems ?? [];
  const settings = (r.settings ?? []).filter((s) => all || s.from !== "default");
  return (
    <div className={css["stack"]}>
      <div className={css["pair"]}>
        <Card title="Is labd ready?" actions={<Button size="small" busy={query.isFetching} onClick={() => void query.refetch()}>Check again</Button>}>
          <ul className={css["checks"]}>
            {(r.checks ?? []).map((c) => (
              <li key={c.name} className={cx(css[c.ok ? "good" : "bad"])}>
                {c.ok ? <CheckCircle2 size={18} aria-hidden /> : <OctagonAlert size={18} aria-hidden />}
                <span>{checkNames[c.name] ?? c.name}<span className="sr-only">{c.ok ? ": yes" : ": no"}</span>{c.detail && <span className={ui["wrong"]}><br />{c.detail}</span>}</span>
              </li>
            ))}
          </ul>
        </Card>
        <Card title="Configuration file">
          {!r.file && <p>There is none: labd goes by its flags, its environment and its defaults. <code>/etc/sandlot/labd.yaml</code> would be read.</p>}
          {r.file && problems.length === 0 && <Notice tone="ok"><code>{r.file}</code> has no problems. Changes take effect when labd starts.</Notice>}
          {r.file && problems.length > 0 && (
            <Notice tone="bad">
              <code>{r.file}</code> has {problems.length === 1 ? "a problem" : `${problems.length} problems`}: labd would not start with it.
              <ul>{problems.map((p, i) => <li key={i}>{p.line ? `Line ${p.line}: ` : ""}{p.path && <code>{p.path}</code>} {p.message}{p.fix && <> ({p.fix})</>}</li>)}</ul>
            </Notice>
          )}
        </Card>
      </div>
      <Card title="Settings in force" actions={<Button size="small" aria-pressed={all} onClick={() => setAll(!all)}>{all ? "Only what was set" : "Show all"}</Button>} flush>
        {settings.length === 0 ? (
          <p className={`${ui["cardBody"]} ${ui["hint"]}`}>Everything is as labd comes.</p>
        ) : (
          <div className={css["scroll"]}>
            <table className={css["table"]}>
              <thead><tr><th scope="col">Setting</th><th scope="col">Value</th><th scope="col">From</th></tr></thead>
              <tbody>
                {settings.map((s) => (
                  <tr key={s.name}>
                    <td><code>{s.name}</code><div className={ui["hint"]}>{s.about}</div></td>
                    <td>{s.value === "" || s.value === "[]" ? <span className={ui["hint"]}>none</span> : <code className={css["value"]}>{s.value}</code>}</td>
                    <td><Badge tone={s.from === "default" ? undefined : "info"}>{s.from}</Badge></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Card>
    </div>
  );
}
