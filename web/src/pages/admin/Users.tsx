import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Ban, KeyRound, MoreHorizontal, Search, ShieldCheck, ShieldOff, UserCheck, UserPlus, Users as UsersIcon } from "lucide-react";
import { useState } from "react";
import { Link } from "wouter";
import { type Schemas, api, got } from "../../api/client";
import { useMe } from "../../session/useSession";
import { Badge, Button, Card, Dialog, Empty, Failure, Menu, MenuItem, MenuLine, Notice, SelectField, Skeleton, ui } from "../../ui";
import { Pager } from "../../ui/Pager";
import { Secret } from "../../ui/Secret";
import { confirm, toast, toastError } from "../../ui/toast";
import { day, moment } from "../account";
import css from "./admin.module.css";

type Account = Schemas["Account"];

const pageSize = 50;

export function Users() {
  const [words, setWords] = useState("");
  const [page, setPage] = useState(0);
  const [inviting, setInviting] = useState(false);
  const [link, setLink] = useState<{ title: string; link: Schemas["AccountLink"] }>();
  const query = useQuery({
    queryKey: ["users", words, page],
    queryFn: async () => {
      const reply = await api.GET("/api/admin/users", { params: { query: { search: words, limit: String(pageSize), offset: String(page * pageSize) } as never } });
      return { list: reply.data ?? [], total: Number(reply.response.headers.get("X-Total-Count") ?? 0) };
    },
    placeholderData: keepPreviousData,
  });
  const plans = useQuery({ queryKey: ["plans"], queryFn: () => got(api.GET("/api/admin/plans")), staleTime: 300_000 });
  const list = query.data?.list ?? [];
  const total = query.data?.total ?? 0;
  return (
    <div className={css["stack"]}>
      <div className={css["tools"]}>
        <label className={css["search"]}>
          <Search size={17} aria-hidden />
          <span className="sr-only">Search users</span>
          <input className={ui["input"]} type="search" placeholder="Search by name" value={words} maxLength={64} onChange={(e) => { setWords(e.target.value); setPage(0); }} />
        </label>
        <Button look="primary" onClick={() => setInviting(true)}><UserPlus size={17} aria-hidden /> Invite somebody</Button>
      </div>
      {query.error && !query.data && <Failure error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <Skeleton height={260} />}
      {query.isSuccess && list.length === 0 && <Empty icon={<UsersIcon size={34} aria-hidden />} title="Nobody is called that" actions={<Button onClick={() => setWords("")}>Show all</Button>} />}
      {list.length > 0 && (
        <Card flush>
          <div className={css["scroll"]}>
            <table className={css["table"]}>
              <thead><tr><th scope="col">Name</th><th scope="col">Plan</th><th scope="col">Uses</th><th scope="col">Since</th><th scope="col"><span className="sr-only">What to do</span></th></tr></thead>
              <tbody>{list.map((a) => <Row key={a.id} account={a} plans={plans.data ?? []} show={setLink} />)}</tbody>
            </table>
          </div>
        </Card>
      )}
      <Pager page={page} size={pageSize} total={total} show={setPage} />
      <Dialog open={inviting} onOpenChange={setInviting} title="Invite somebody" text="Whoever opens the link chooses a name and a password.">
        {inviting && <Invite made={(made) => { setInviting(false); setLink({ title: "The invitation", link: made }); }} close={() => setInviting(false)} />}
      </Dialog>
      <Dialog open={link !== undefined} onOpenChange={(open) => !open && setLink(undefined)} title={link?.title ?? ""} width={560}>
        {link && (
          <>
            <Secret name="the link" value={link.link.url} />
            <Notice tone="warn">It is good once, until {moment(link.link.expiresAt)}, and is not shown again. Give it to nobody else.</Notice>
          </>
        )}
      </Dialog>
    </div>
  );
}

function Invite({ made, close }: { made: (link: Schemas["AccountLink"]) => void; close: () => void }) {
  const [role, setRole] = useState("user");
  const invite = useMutation({ mutationFn: () => got(api.POST("/api/admin/invitations", { body: { role } })), onSuccess: made });
  return (
    <form className={ui["form"]} onSubmit={(e) => { e.preventDefault(); invite.mutate(); }}>
      <SelectField label="They become" value={role} onChange={(e) => setRole(e.target.value)} hint={role === "administrator" ? "May see and change everything of everybody." : undefined}>
        <option value="user">a user</option>
        <option value="administrator">an administrator</option>
      </SelectField>
      {invite.error && <Failure error={invite.error} />}
      <div className={ui["answers"]}><Button onClick={close}>Cancel</Button><Button type="submit" look="primary" busy={invite.isPending}>Make a link</Button></div>
    </form>
  );
}

function Row({ account: a, plans, show }: { account: Account; plans: Schemas["NamedPlan"][]; show: (link: { title: string; link: Schemas["AccountLink"] }) => void }) {
  const me = useMe();
  const cache = useQueryClient();
  const own = me?.id === a.id;
  const change = async (body: Schemas["ChangeAccount"], told: string) => {
    await got(api.PATCH("/api/admin/users/{user}", { params: { path: { user: a.id } }, body }));
    await cache.invalidateQueries({ queryKey: ["users"] });
    toast(told);
  };
  const admin = a.role === "administrator";
  const ask = (title: string, text: string, yes: string, body: Schemas["ChangeAccount"], told: string, danger = true) => confirm({ title, text, yes, danger, run: () => change(body, told) });
  const standard = plans.find((p) => p.default)?.name;
  return (
    <tr>
      <td>
        <b>{a.name}</b>{a.id !== a.name && <span className={ui["hint"]}> ({a.id})</span>}
        {(a.displayName || a.email) && <div className={ui["hint"]}>{[a.displayName, a.email].filter(Boolean).join(" · ")}</div>}
        <div className={ui["chips"]}>
          {own && <Badge>you</Badge>}
          {admin && <Badge tone="accent">administrator</Badge>}
          {a.disabled && <Badge tone="bad">disabled</Badge>}
          {!a.password && !a.provider && <Badge>without password</Badge>}
          {a.provider && <Badge>by provider</Badge>}
        </div>
      </td>
      <td>
        <select className={ui["input"]} aria-label={`Plan of ${a.name}`} value={a.givenPlan ?? ""} onChange={(e) => void change({ plan: e.target.value }, `${a.name} has another plan.`).catch(toastError)}>
          <option value="">{admin ? "unlimited" : standard ?? "default"} (by default)</option>
          {plans.map((p) => <option key={p.name} value={p.name}>{p.name}</option>)}
          {a.givenPlan && !plans.some((p) => p.name === a.givenPlan) && <option value={a.givenPlan}>{a.givenPlan} (is gone)</option>}
        </select>
      </td>
      <td className={css["uses"]}>{a.use && <><Link href={`/admin/plays?owner=${encodeURIComponent(a.id)}`}>{a.use.plays} running</Link><span className={ui["hint"]}>{a.use.storedPlays} kept · {a.use.playgrounds} playgrounds · {a.use.poolSpace}</span></>}</td>
      <td><time dateTime={a.createdAt}>{day(a.createdAt)}</time></td>
      <td>
        <Menu trigger={<Button look="ghost" className={ui["icon"]} aria-label={`What to do with ${a.name}`}><MoreHorizontal size={18} /></Button>}>
          <MenuItem disabled={a.disabled} onSelect={() => void got(api.POST("/api/admin/users/{user}/links", { params: { path: { user: a.id } } })).then((link) => show({ title: `A new password for ${a.name}`, link }), toastError)}><KeyRound size={16} aria-hidden /> Link for a new password</MenuItem>
          {admin ? (
            <MenuItem disabled={own} onSelect={() => ask(`Make ${a.name} an ordinary user?`, "They lose every right of an administrator at once.", "Make them a user", { role: "user" }, `${a.name} is a user now.`)}><ShieldOff size={16} aria-hidden /> No administrator any more</MenuItem>
          ) : (
            <MenuItem onSelect={() => ask(`Make ${a.name} an administrator?`, "They may see and change everything of everybody, and what runs on this host.", "Make them one", { role: "administrator" }, `${a.name} is an administrator now.`)}><ShieldCheck size={16} aria-hidden /> Make administrator</MenuItem>
          )}
          <MenuLine />
          {a.disabled ? (
            <MenuItem onSelect={() => void change({ disabled: false }, `${a.name} may sign in again.`).catch(toastError)}><UserCheck size={16} aria-hidden /> Enable</MenuItem>
          ) : (
            <MenuItem danger disabled={own} onSelect={() => ask(`Disable ${a.name}?`, "They are signed out everywhere at once, and cannot come back until you enable them. Their plays and playgrounds stay.", "Disable", { disabled: true }, `${a.name} is locked out.`)}><Ban size={16} aria-hidden /> Disable…</MenuItem>
          )}
        </Menu>
      </td>
    </tr>
  );
}
