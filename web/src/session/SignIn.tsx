// Asking who it is: the form, alone on its page or in a dialog over what a
// person was doing when their session ended.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { KeyRound } from "lucide-react";
import { type FormEvent, useState } from "react";
import { type Me, type Schemas, quietly } from "../api/client";
import { Button, Dialog, Failure, TextField } from "../ui";
import { answer } from "./ask";
import css from "./session.module.css";
import { useAsking, useMe } from "./useSession";

export const useWays = () =>
  useQuery({ queryKey: ["ways"], queryFn: () => quietly<Schemas["SigninWays"]>("GET", "/api/auth/ways"), staleTime: Infinity }).data;

export function SignInForm({ name: fixed, next, onDone }: { name?: string; next: string; onDone: (me: Me) => void }) {
  const ways = useWays();
  const [name, setName] = useState(fixed ?? "");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      onDone(await quietly<Me>("POST", "/api/auth/signin", { name, password }));
    } catch (e) {
      setError(e);
      setPassword("");
    }
    setBusy(false);
  };
  return (
    <form className={css["form"]} onSubmit={(e) => void submit(e)}>
      {error !== null && <Failure error={error} />}
      {ways?.passwords !== false && (
        <>
          <TextField label="Name" name="name" value={name} onChange={(e) => setName(e.target.value)} autoComplete="username" autoCapitalize="none" spellCheck={false} required autoFocus={!fixed} />
          <TextField label="Password" name="password" type="password" value={password} onChange={(e) => setPassword(e.target.value)} autoComplete="current-password" required autoFocus={Boolean(fixed)} />
          <Button type="submit" look="primary" size="large" busy={busy}>Sign in</Button>
        </>
      )}
      {ways?.provider && (
        <>
          {ways.passwords && <div className={css["or"]}>or</div>}
          <Button size="large" asChild>
            <a href={`/auth/provider?next=${encodeURIComponent(next)}`}><KeyRound size={17} aria-hidden /> Sign in with {ways.provider}</a>
          </Button>
        </>
      )}
    </form>
  );
}

/** Shown when a session ends in the middle of something; what waits goes on. */
export function SignInAgain() {
  const asking = useAsking();
  const me = useMe();
  const cache = useQueryClient();
  const done = (who: Me) => {
    const before = me?.id;
    cache.setQueryData(["me"], who);
    // Somebody else must not see what the last one had on the screen.
    if (before && before !== who.id) return location.reload();
    answer(true);
  };
  return (
    <Dialog
      open={asking}
      onOpenChange={(open) => !open && answer(false)}
      width={400}
      title="Your session has ended"
      text="Sign in to go on where you are: nothing on this page is lost."
    >
      {asking && <SignInForm name={me?.name} next={location.pathname + location.search} onDone={done} />}
    </Dialog>
  );
}
