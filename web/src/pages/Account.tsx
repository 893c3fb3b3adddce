// The user's own account: who they are, their password, what they are signed
// in with, access tokens, and what their plan leaves them.
import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { type Schemas, api, got } from "../api/client";
import { useMe } from "../session/useSession";
import { useWays } from "../session/SignIn";
import { Badge, Card, Failure, Page, Skeleton, ui } from "../ui";
import { Meter } from "../ui/Meter";
import { bounds, day, shares } from "./account";
import css from "./account.module.css";
import { DisplayName } from "./account/DisplayName";
import { Password } from "./account/Password";
import { Sessions } from "./account/Sessions";
import { Tokens } from "./account/Tokens";

export default function Account() {
  return (
    <Page title="Account" lead="Who you are here, and what you are signed in with.">
      <div className={css["columns"]}>
        <div className={css["main"]}>
          <Sessions />
          <Tokens />
        </div>
        <div className={css["side"]}>
          <Profile />
          <Plan />
        </div>
      </div>
    </Page>
  );
}

function Profile() {
  const me = useMe();
  const ways = useWays();
  const query = useQuery({ queryKey: ["account"], queryFn: () => got(api.GET("/api/account")) });
  const a = query.data;
  return (
    <Card title="Profile">
      {query.error && !a && <Failure error={query.error} retry={() => void query.refetch()} />}
      {!a && !query.error && <Skeleton height={120} />}
      {a && (
        <>
          <dl className={css["facts"]}>
            <div><dt>Name</dt><dd>{a.displayName || a.name}</dd></div>
            {a.displayName && <div><dt>Signs in as</dt><dd>{a.name}</dd></div>}
            {a.email && <div><dt>E-mail</dt><dd>{a.email}</dd></div>}
            {a.id !== a.name && <div><dt>Known to others as</dt><dd>{a.id}</dd></div>}
            <div><dt>Role</dt><dd>{a.role === "administrator" ? <Badge tone="accent">administrator</Badge> : a.role}</dd></div>
            <div><dt>Since</dt><dd>{day(a.createdAt)}</dd></div>
            <div><dt>Signs in by</dt><dd>{waysOf(a, ways)}</dd></div>
          </dl>
          <div className={ui["chips"]}>
            <DisplayName now={a.displayName ?? ""} />
            {me && a.password && !ways?.singleUser && <Password name={a.name} />}
          </div>
        </>
      )}
    </Card>
  );
}

function waysOf(a: Schemas["Account"], ways: Schemas["SigninWays"] | undefined): string {
  if (ways?.singleUser) return "being on this host: labd has no logins";
  const list = [a.password && "password", a.provider && (ways?.provider ?? "a provider")].filter(Boolean);
  return list.join(" or ") || "credentials on labd's host, or a link";
}

function Plan() {
  const query = useQuery({ queryKey: ["plan"], queryFn: () => got(api.GET("/api/account/plan")), refetchInterval: 30_000 });
  const plan = query.data;
  return (
    <Card title="Plan" actions={plan && <Badge tone="info">{plan.name}</Badge>}>
      {query.error && !plan && <Failure error={query.error} retry={() => void query.refetch()} />}
      {!plan && !query.error && <Skeleton height={220} />}
      {plan && (
        <>
          <div className={css["meters"]}>
            {shares(plan).map((s) => <Meter key={s.name} name={s.name} value={s.used} most={s.limit} text={s.text} tone={s.full ? "warn" : undefined} />)}
          </div>
          <dl className={css["facts"]}>
            {bounds(plan.limits).map(([name, text]) => <div key={name}><dt>{name}</dt><dd>{text}</dd></div>)}
          </dl>
          {shares(plan).some((s) => s.full) && <p className={ui["hint"]}>What is used up is free again when you destroy <Link href="/plays">plays</Link> or remove playgrounds; an administrator can give you another plan.</p>}
        </>
      )}
    </Card>
  );
}
