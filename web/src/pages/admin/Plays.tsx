import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { Layers, MoreHorizontal, Square, Trash2 } from "lucide-react";
import { useState } from "react";
import { Link, useSearchParams } from "wouter";
import { type Schemas, act, api } from "../../api/client";
import { Badge, Button, Card, Empty, Failure, Menu, MenuItem, Skeleton, ui } from "../../ui";
import { Pager } from "../../ui/Pager";
import { confirm } from "../../ui/toast";
import { phaseWords } from "../Plays";
import { askToDestroy } from "../Starting";
import { moment } from "../account";
import { phaseOf, timeLeft } from "../starting";
import css from "./admin.module.css";

const pageSize = 50;

export function Plays() {
  const [params] = useSearchParams();
  const owner = params.get("owner") ?? "";
  const [page, setPage] = useState(0);
  const cache = useQueryClient();
  const query = useQuery({
    queryKey: ["every-play", owner, page],
    queryFn: async () => {
      const reply = await api.GET("/api/admin/plays", { params: { query: { ...(owner ? { owner } : {}), limit: String(pageSize), offset: String(page * pageSize) } as never } });
      return { list: reply.data ?? [], total: Number(reply.response.headers.get("X-Total-Count") ?? 0) };
    },
    placeholderData: keepPreviousData,
    refetchInterval: 5000,
  });
  const again = () => void cache.invalidateQueries({ queryKey: ["every-play"] });
  const list = query.data?.list ?? [];
  const total = query.data?.total ?? 0;
  return (
    <div className={css["stack"]}>
      {owner && <p>Only those of <b>{owner}</b>. <Link href="/admin/plays">Show all</Link></p>}
      {query.error && !query.data && <Failure error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <Skeleton height={220} />}
      {query.isSuccess && list.length === 0 && <Empty icon={<Layers size={34} aria-hidden />} title="There are no plays">Whatever anybody starts appears here.</Empty>}
      {list.length > 0 && (
        <Card flush>
          <div className={css["scroll"]}>
            <table className={css["table"]}>
              <thead><tr><th scope="col">Play</th><th scope="col">Whose</th><th scope="col">State</th><th scope="col">Since</th><th scope="col"><span className="sr-only">What to do</span></th></tr></thead>
              <tbody>{list.map((p) => <Row key={p.id} play={p} again={again} />)}</tbody>
            </table>
          </div>
        </Card>
      )}
      <Pager page={page} size={pageSize} total={total} show={setPage} />
    </div>
  );
}

function Row({ play: p, again }: { play: Schemas["OwnedPlay"]; again: () => void }) {
  const phase = phaseOf(p);
  const [word, tone] = phaseWords[phase];
  const name = p.title || p.playground.title || p.playground.name;
  const over = phase === "destroyed" || phase === "destroying";
  const stop = () =>
    confirm({
      title: `Stop ${name} of ${p.owner}?`, text: "Its machines are shut down. Disks stay, and its owner can start it again.", yes: "Stop",
      run: async () => {
        await act(p.id, "stop");
        again();
      },
    });
  return (
    <tr>
      <td>{over ? <b>{name}</b> : <Link href={`/plays/${p.id}`}><b>{name}</b></Link>}<div className={ui["hint"]}>{p.playground.name} · {(p.machines ?? []).length} {(p.machines ?? []).length === 1 ? "machine" : "machines"}</div></td>
      <td>{p.owner}</td>
      <td><Badge tone={tone}>{word}</Badge>{!over && p.expiresIn > 0 && <div className={ui["hint"]}>{timeLeft(p.expiresIn)} left</div>}</td>
      <td><time dateTime={p.createdAt}>{moment(p.createdAt)}</time></td>
      <td>
        {!over && (
          <Menu trigger={<Button look="ghost" className={ui["icon"]} aria-label={`What to do with ${name} of ${p.owner}`}><MoreHorizontal size={18} /></Button>}>
            {phase !== "stopped" && phase !== "stopping" && <MenuItem onSelect={stop}><Square size={16} aria-hidden /> Stop…</MenuItem>}
            <MenuItem danger onSelect={() => askToDestroy(p, again)}><Trash2 size={16} aria-hidden /> Destroy…</MenuItem>
          </Menu>
        )}
      </td>
    </tr>
  );
}
