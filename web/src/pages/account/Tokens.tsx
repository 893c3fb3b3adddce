import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Key, Plus, Trash2 } from "lucide-react";
import { type FormEvent, useState } from "react";
import { type Schemas, api, got } from "../../api/client";
import { Badge, Button, Card, Dialog, Failure, IconButton, Notice, SelectField, Skeleton, TextField, ui } from "../../ui";
import { Secret } from "../../ui/Secret";
import { confirm } from "../../ui/toast";
import { day, scopes } from "../account";
import css from "../account.module.css";

type Token = Schemas["OAuthToken"];

export function Tokens() {
  const cache = useQueryClient();
  const [making, setMaking] = useState(false);
  const query = useQuery({ queryKey: ["tokens"], queryFn: () => got(api.GET("/api/oauth/tokens")) });
  const all = query.data ?? [];
  const revoke = (t: Token) =>
    confirm({
      title: `Revoke ${t.name}?`,
      text: "Programs that use it are refused from now on. This cannot be undone.",
      yes: "Revoke", danger: true,
      run: async () => {
        await got(api.DELETE("/api/oauth/tokens/{token}", { params: { path: { token: t.id } } }));
        void cache.invalidateQueries({ queryKey: ["tokens"] });
      },
    });
  return (
    <Card title="Access tokens" actions={<Button size="small" onClick={() => setMaking(true)}><Plus size={15} aria-hidden /> New token</Button>} flush>
      {query.error && !query.data && <div className={ui["cardBody"]}><Failure error={query.error} retry={() => void query.refetch()} /></div>}
      {query.isPending && <div className={ui["cardBody"]}><Skeleton height={60} /></div>}
      {query.isSuccess && all.length === 0 && <p className={`${ui["cardBody"]} ${ui["hint"]}`}>None. A token lets a program act for you, in scripts and in CI, within what you allow it.</p>}
      {all.length > 0 && (
        <ul className={css["rows"]} aria-label="Access tokens">
          {all.map((t) => (
            <li key={t.id}>
              <Key size={18} aria-hidden />
              <div className={css["what"]}>
                <b>{t.name}</b>
                <p className={ui["hint"]}>until <time dateTime={t.expiresAt}>{day(t.expiresAt)}</time> · made <time dateTime={t.createdAt}>{day(t.createdAt)}</time></p>
                <div className={ui["chips"]}>{(t.scope ?? []).map((s) => <Badge key={s}>{s}</Badge>)}</div>
              </div>
              <IconButton label={`Revoke ${t.name}`} size="small" onClick={() => revoke(t)}><Trash2 size={16} /></IconButton>
            </li>
          ))}
        </ul>
      )}
      <Dialog open={making} onOpenChange={setMaking} title="New access token" width={520}>
        {making && <Make done={() => setMaking(false)} />}
      </Dialog>
    </Card>
  );
}

function Make({ done }: { done: () => void }) {
  const cache = useQueryClient();
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState<string[]>([]);
  const [days, setDays] = useState("90");
  const [tried, setTried] = useState(false);
  const make = useMutation({
    mutationFn: () => got(api.POST("/api/oauth/tokens", { body: { name, scope: chosen, expiresInDays: Number(days) } })),
    onSuccess: () => void cache.invalidateQueries({ queryKey: ["tokens"] }),
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    setTried(true);
    if (chosen.length > 0) make.mutate();
  };
  if (make.data) {
    return (
      <div className={ui["form"]}>
        <Notice tone="warn">This is the only time that the token is shown. Keep it like a password.</Notice>
        <Secret name="the token" value={make.data.accessToken ?? ""} />
        <p className={ui["hint"]}>Programs send it as <code>Authorization: Bearer …</code></p>
        <div className={ui["answers"]}><Button look="primary" onClick={done}>I have it</Button></div>
      </div>
    );
  }
  const flip = (scope: string) => setChosen((all) => (all.includes(scope) ? all.filter((s) => s !== scope) : [...all, scope]));
  return (
    <form className={ui["form"]} onSubmit={submit}>
      <TextField label="What it is for" value={name} onChange={(e) => setName(e.target.value)} placeholder="like nightly tests" required autoFocus maxLength={100} />
      <fieldset className={css["scopes"]} aria-describedby={tried && chosen.length === 0 ? "scopes-wrong" : undefined}>
        <legend className={ui["label"]}>What it may do</legend>
        {scopes.map(([scope, opens]) => (
          <label key={scope}>
            <input type="checkbox" checked={chosen.includes(scope)} onChange={() => flip(scope)} />
            <span><code>{scope}</code> <span className={ui["hint"]}>{opens}</span></span>
          </label>
        ))}
        {tried && chosen.length === 0 && <p id="scopes-wrong" role="alert" className={ui["wrong"]}>Choose at least one.</p>}
      </fieldset>
      <SelectField label="Ends" value={days} onChange={(e) => setDays(e.target.value)}>
        {[["7", "in a week"], ["30", "in 30 days"], ["90", "in 90 days"], ["365", "in a year"]].map(([value, text]) => <option key={value} value={value}>{text}</option>)}
      </SelectField>
      {make.error && <Failure error={make.error} />}
      <div className={ui["answers"]}>
        <Button onClick={done}>Cancel</Button>
        <Button type="submit" look="primary" busy={make.isPending}>Make it</Button>
      </div>
    </form>
  );
}
