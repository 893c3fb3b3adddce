// One terminal of a machine, for whoever may open its address.
import { useCallback, useEffect, useState } from "react";
import { ApiError, type Schemas, quietly, socketAddress } from "../api/client";
import { pause } from "../api/fold";
import { Screen } from "../play/Screen";
import { newSession } from "../play/frames";
import type { Size } from "../play/link";
import { Badge, Failure, Spinner, useTitle } from "../ui";
import css from "./shared.module.css";

/** Whose shell it is: api.ShellVisit. */
type Visit = { machine: string; user: string; access: string };

/** Names this window's shell, which goes on when the page is loaded again. */
function ownSession(anew = false): string {
  const key = "sandlot-shell";
  try {
    const kept = sessionStorage.getItem(key);
    if (kept && !anew) return kept;
    const made = newSession();
    sessionStorage.setItem(key, made);
    return made;
  } catch {
    return newSession(); // storage may be forbidden
  }
}

/** labd that was restarted asks anew who a private terminal's visitor is: it knows where to send the browser. */
function enterAgain(): boolean {
  const key = "sandlot-entered";
  try {
    const last = Number(sessionStorage.getItem(key) ?? 0);
    if (Date.now() - last < 30_000) return false; // it does not help
    sessionStorage.setItem(key, String(Date.now()));
  } catch {
    return false;
  }
  location.reload();
  return true;
}

export function SharedShell() {
  const [whose, setWhose] = useState<Visit>();
  const [error, setError] = useState<unknown>();
  const [session, setSession] = useState(ownSession);
  useTitle(whose ? `${whose.user}@${whose.machine}` : "Terminal");
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = (attempt: number) => {
      quietly<Visit>("GET", "/.sandlot/shell").then(setWhose, (e: unknown) => {
        if (e instanceof ApiError && e.kind === "offline") timer = setTimeout(ask, pause(attempt), attempt + 1);
        else setError(e);
      });
    };
    ask(0);
    return () => clearTimeout(timer);
  }, []);
  const open = useCallback(
    async (seen: number, size: Size) => {
      try {
        const reply = await quietly<Schemas["Conn"]>("POST", "/.sandlot/terminals", { session, seen, tty: { term: "xterm-256color", ...size } });
        return socketAddress(reply.url);
      } catch (e) {
        if (e instanceof ApiError && e.status === 401 && enterAgain()) return new Promise<string>(() => {});
        throw e;
      }
    },
    [session],
  );
  return (
    <main className={css["shell"]}>
      <header className={css["head"]}>
        <h1>{whose ? `${whose.user}@${whose.machine}` : "Terminal"}</h1>
        {whose && <Badge tone={whose.access === "public" ? "warn" : undefined}>{whose.access === "public" ? "whoever has the address" : "only you"}</Badge>}
      </header>
      <div className={css["body"]}>
        {error ? (
          <div className={css["middle"]}><Failure error={error} retry={() => location.reload()} /></div>
        ) : whose ? (
          <Screen key={session} label={`Terminal of ${whose.user} on ${whose.machine}`} open={open} shown focus restart={() => setSession(ownSession(true))} onLink={ignore} />
        ) : (
          <div className={css["middle"]}><Spinner label="Connecting" /></div>
        )}
      </div>
    </main>
  );
}

const ignore = () => {};
