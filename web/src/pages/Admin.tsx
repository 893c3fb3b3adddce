// Administration: one address for each part, so that it can be kept as a link.
import { Lock } from "lucide-react";
import { Link, useLocation } from "wouter";
import { isAdministrator, useMe } from "../session/useSession";
import { Button, Empty, Page, ui } from "../ui";
import css from "./admin/admin.module.css";
import { Host } from "./admin/Host";
import { Images } from "./admin/Images";
import { Plays } from "./admin/Plays";
import { Settings } from "./admin/Settings";
import { Users } from "./admin/Users";

const parts = [
  ["", "Host", Host], ["users", "Users", Users], ["plays", "Plays", Plays], ["images", "Images", Images], ["settings", "Settings", Settings],
] as const;

export default function Admin({ part }: { part: string }) {
  const me = useMe();
  const [path] = useLocation();
  const found = parts.find(([p]) => p === part);
  if (me && !isAdministrator(me)) {
    return (
      <Page title="Administration" heading={null}>
        <Empty icon={<Lock size={34} aria-hidden />} title="This is for administrators" actions={<Button look="primary" asChild><Link href="/">Go to the catalog</Link></Button>}>
          You are signed in as {me.name || me.id}, who is none. Ask one of them.
        </Empty>
      </Page>
    );
  }
  if (!found) {
    return (
      <Page title="Administration" heading={null}>
        <Empty title="There is nothing at this address" actions={<Button look="primary" asChild><Link href="/admin">Administration</Link></Button>} />
      </Page>
    );
  }
  const Part = found[2];
  return (
    <Page title={`${found[1]} · Administration`} heading="Administration">
      <nav className={ui["tabs"]} aria-label="Administration">
        {parts.map(([p, name]) => {
          const to = p ? `/admin/${p}` : "/admin";
          return <Link key={p} href={to} className={ui["tab"]} aria-current={path === to ? "page" : undefined}>{name}</Link>;
        })}
      </nav>
      <div className={css["part"]}><Part /></div>
    </Page>
  );
}
