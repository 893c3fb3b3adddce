import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Globe, SquareTerminal, X } from "lucide-react";
import { type Schemas, api, got } from "../../api/client";
import { Badge, Button, Card, Empty, Failure, IconButton, Skeleton, ui } from "../../ui";
import { confirm, toast } from "../../ui/toast";
import { moment, sessionName } from "../account";
import css from "../account.module.css";

type Session = Schemas["AccountSession"];

export function Sessions() {
  const cache = useQueryClient();
  const query = useQuery({ queryKey: ["sessions"], queryFn: () => got(api.GET("/api/account/sessions")) });
  const again = () => void cache.invalidateQueries({ queryKey: ["sessions"] });
  const all = query.data ?? [];
  const others = all.filter((s) => !s.current && s.expiresAt);
  const end = (s: Session) =>
    confirm({
      title: "End this session?",
      text: `${sessionName(s).name} is signed out, and has to sign in again.`,
      yes: "End it", danger: true,
      run: async () => {
        await got(api.DELETE("/api/sessions/{id}", { params: { path: { id: s.id } } }));
        again();
      },
    });
  const endOthers = () =>
    confirm({
      title: "End all other sessions?",
      text: "Every other browser and client of yours is signed out. This one stays.",
      yes: "End them", danger: true,
      run: async () => {
        const { ended } = await got(api.DELETE("/api/account/sessions"));
        toast(`${ended} ${ended === 1 ? "session has" : "sessions have"} ended.`);
        again();
      },
    });
  return (
    <Card title="Connected sessions" actions={others.length > 0 && <Button size="small" look="danger" onClick={endOthers}>End all others</Button>} flush>
      {query.error && !query.data && <div className={ui["cardBody"]}><Failure error={query.error} retry={() => void query.refetch()} /></div>}
      {query.isPending && <div className={ui["cardBody"]}><Skeleton height={110} /></div>}
      {query.isSuccess && all.length === 0 && (
        <div className={ui["cardBody"]}><Empty title="No sessions">You are here without one: labd lets in whoever is on its host.</Empty></div>
      )}
      {all.length > 0 && (
        <ul className={css["rows"]} aria-label="Connected sessions">
          {all.map((s) => {
            const { name, from } = sessionName(s);
            return (
              <li key={s.id}>
                {s.kind === "browser" ? <Globe size={19} aria-hidden /> : <SquareTerminal size={19} aria-hidden />}
                <div className={css["what"]}>
                  <b>{name}</b> {s.current && <Badge tone="ok">this one</Badge>}
                  <p className={ui["hint"]}>
                    {s.kind === "browser" ? "Browser" : "Client"}{from && <> at {from}</>} · since <time dateTime={s.createdAt}>{moment(s.createdAt)}</time>
                    {s.expiresAt ? <> · until <time dateTime={s.expiresAt}>{moment(s.expiresAt)}</time></> : " · does not end by itself"}
                  </p>
                </div>
                {!s.current && <IconButton label={`End the session of ${name}${from ? ` at ${from}` : ""}`} size="small" onClick={() => end(s)}><X size={16} /></IconButton>}
              </li>
            );
          })}
        </ul>
      )}
    </Card>
  );
}
