// Pages of nobody yet: sign in, join by a link, confirm a client.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Check, Terminal } from "lucide-react";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { Link, Redirect, useLocation, useSearch } from "wouter";
import { type Me, type Schemas, quietly } from "../api/client";
import { inside } from "../session/inside";
import { SignInForm, useWays } from "../session/SignIn";
import css from "../session/session.module.css";
import { useMe } from "../session/useSession";
import { Button, Failure, Skeleton, TextField, ui, useTitle } from "../ui";
import { Logo } from "../ui/Layout";

function Sheet({ title, heading, children }: { title: string; heading?: ReactNode; children: ReactNode }) {
  useTitle(title);
  return (
    <div className={css["sheet"]}>
      <Link href="/" className={css["brand"]}><Logo /> Sandlot</Link>
      <section className={`${ui["card"]} ${css["card"]}`}>
        <h1>{heading ?? title}</h1>
        {children}
      </section>
    </div>
  );
}

/** Where to after signing in: a path of ours, as the address asks. */
function useNext() {
  const next = inside(new URLSearchParams(useSearch()).get("next"));
  // Some paths are the server's own: exposed ports are entered through one.
  const [, go] = useLocation();
  return { next, goOn: () => (next.startsWith("/exposed/") ? location.assign(next) : go(next, { replace: true })) };
}

export function SignInPage() {
  const me = useMe();
  const cache = useQueryClient();
  const ways = useWays();
  const { next, goOn } = useNext();
  useEffect(() => {
    if (me && next.startsWith("/exposed/")) location.assign(next);
  }, [me, next]);
  if (me && !next.startsWith("/exposed/")) return <Redirect to={next} replace />;
  if (ways?.singleUser) {
    return (
      <Sheet title="Sign in">
        <p className={css["lead"]}>This Sandlot is for the people on its own computer: open it there, at <code>localhost</code>.</p>
      </Sheet>
    );
  }
  return (
    <Sheet title="Sign in">
      {next.startsWith("/cli-auth/") && <p className={css["lead"]}>A program asks to act as you. Sign in first, then look at what it asks for.</p>}
      {ways ? (
        <SignInForm next={next} onDone={(who) => { cache.clear(); cache.setQueryData(["me"], who); goOn(); }} />
      ) : (
        <Skeleton height={210} />
      )}
    </Sheet>
  );
}

const joins: Record<string, { title: string; text: string }> = {
  first: { title: "Welcome to Sandlot", text: "Choose the name and the password with which you sign in to this Sandlot as its administrator." },
  invite: { title: "Make your account", text: "You are invited. Choose a name and a password." },
  password: { title: "Set your password", text: "Your other sessions and your access tokens end." },
};

export function JoinPage({ token }: { token: string }) {
  const link = useQuery({ queryKey: ["link", token], queryFn: () => quietly<Schemas["Join"]>("GET", `/api/auth/links/${encodeURIComponent(token)}`), retry: false, staleTime: Infinity });
  const words = joins[link.data?.kind ?? ""] ?? { title: "Join", text: "" };
  return (
    <Sheet title={words.title}>
      {link.isPending && <Skeleton height={200} />}
      {link.error && <Failure error={link.error} actions={<Button size="small" asChild><Link href="/login">Sign in</Link></Button>} />}
      {link.data && (
        <>
          <p className={css["lead"]}>{words.text}</p>
          <JoinForm token={token} link={link.data} />
        </>
      )}
    </Sheet>
  );
}

function JoinForm({ token, link }: { token: string; link: Schemas["Join"] }) {
  const cache = useQueryClient();
  const [, go] = useLocation();
  const [name, setName] = useState(link.name ?? "");
  const [password, setPassword] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const who = await quietly<Me>("POST", `/api/auth/links/${encodeURIComponent(token)}`, { name, password });
      cache.clear();
      cache.setQueryData(["me"], who);
      go("/", { replace: true });
    } catch (e) {
      setError(e);
      setBusy(false);
    }
  };
  return (
    <form className={css["form"]} onSubmit={(e) => void submit(e)}>
      {error !== null && <Failure error={error} />}
      <TextField label="Name" value={name} readOnly={link.fixed} onChange={(e) => setName(e.target.value)} pattern="[a-z0-9][a-z0-9._\-]{0,31}" title="a to z, 0 to 9, dot, - and _" hint={link.fixed ? undefined : "a to z, 0 to 9, dot, - and _"} autoComplete="username" autoCapitalize="none" spellCheck={false} required autoFocus={!link.fixed} />
      <TextField label="Password" type="password" value={password} onChange={(e) => setPassword(e.target.value)} minLength={10} hint="10 characters or more" autoComplete="new-password" required autoFocus={link.fixed} />
      <Button type="submit" look="primary" size="large" busy={busy}>Continue</Button>
    </form>
  );
}

/** A link that signs in once. The server has used it already, unless another
 * site's page sent the browser here or the link is not good any more. */
export function SigninLinkPage({ token }: { token: string }) {
  const cache = useQueryClient();
  const [, go] = useLocation();
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const use = async () => {
    setBusy(true);
    try {
      const who = await quietly<Me>("POST", `/api/auth/signin-links/${encodeURIComponent(token)}`, {});
      cache.clear();
      cache.setQueryData(["me"], who);
      go("/", { replace: true });
    } catch (e) {
      setError(e);
      setBusy(false);
    }
  };
  return (
    <Sheet title="Sign in by this link?">
      {error === null ? (
        <>
          <p className={css["lead"]}>The link signs this browser in, once. Go on only if it is a link of your own.</p>
          <Button look="primary" size="large" busy={busy} onClick={() => void use()}>Sign in</Button>
        </>
      ) : (
        <Failure error={error} actions={<Button size="small" asChild><Link href="/login">Sign in another way</Link></Button>} />
      )}
    </Sheet>
  );
}

/** A client of this person's asks to be let in. */
export function ConfirmPage({ code }: { code: string }) {
  const me = useMe();
  const path = `/api/auth/logins/${encodeURIComponent(code)}`;
  const pending = useQuery({ queryKey: ["login", code], queryFn: () => quietly<Schemas["PendingLogin"]>("GET", path), retry: false, enabled: Boolean(me), staleTime: Infinity });
  const [done, setDone] = useState<"in" | "out" | null>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const answer = async (confirm: boolean) => {
    setBusy(true);
    setError(null);
    try {
      await quietly("POST", path, { confirm });
      setDone(confirm ? "in" : "out");
    } catch (e) {
      setError(e);
    }
    setBusy(false);
  };
  if (done) {
    return (
      <Sheet title="Done" heading={done === "in" ? "Signed in" : "Not let in"}>
        <p className={css["lead"]} role="status">
          {done === "in" ? <>The program is signed in as <b>{me?.name}</b>. Go back to your terminal; you can close this page.</> : "The program was not let in. You can close this page."}
        </p>
        <Button asChild><Link href="/">Go to the catalog</Link></Button>
      </Sheet>
    );
  }
  return (
    <Sheet title="Let a program in?">
      {pending.isPending && <Skeleton height={180} />}
      {pending.error && <Failure error={pending.error} actions={<Button size="small" asChild><Link href="/">Go to the catalog</Link></Button>} />}
      {pending.data && (
        <>
          <p className={css["lead"]}>This program asks to act as you, <b>{me?.name}</b>:</p>
          <div className={css["program"]}>
            <Terminal size={20} aria-hidden />
            <div>
              <code>{pending.data.about}</code>
              <div className={ui["hint"]}>asked {new Date(pending.data.at).toLocaleString()}, session <code>{pending.data.id.slice(0, 8)}</code></div>
            </div>
          </div>
          <p className={ui["hint"]}>Let it in only if you have just run <code>labctl auth login</code> yourself.</p>
          {error !== null && <Failure error={error} />}
          <div className={css["answers"]}>
            <Button size="large" onClick={() => void answer(false)} disabled={busy}>No</Button>
            <Button look="primary" size="large" busy={busy} onClick={() => void answer(true)}><Check size={18} aria-hidden /> Let it in</Button>
          </div>
        </>
      )}
    </Sheet>
  );
}
