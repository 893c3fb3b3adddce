// Short messages in a corner, and questions that need a yes: both can be asked
// for from anywhere, components or not.
import { X } from "lucide-react";
import { Toast } from "radix-ui";
import { type ReactNode, useState, useSyncExternalStore } from "react";
import { sentence } from "../api/client";
import { Button, Dialog, Failure, type Tone, ToneIcon, cx, toneClass, ui } from ".";

type Entry = { id: number; tone: Tone; text: ReactNode };

type Question = {
  title: string;
  text: ReactNode;
  /** What the button says, like "Destroy". */
  yes: string;
  danger?: boolean;
  /** Done on yes; the dialog stays, and says why, if it fails. */
  run: () => Promise<unknown>;
};

let entries: Entry[] = [];
let question: Question | null = null;
let next = 1;
const listeners = new Set<() => void>();

function tell() {
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

export function toast(text: ReactNode, tone: Tone = "ok") {
  entries = [...entries, { id: next++, tone, text }].slice(-4);
  tell();
}

/** For a mutation's onError. */
export const toastError = (error: unknown) => toast(sentence(error), "bad");

/** Asks before something that cannot be undone. */
export function confirm(q: Question) {
  question = q;
  tell();
}

function dismiss(id: number) {
  entries = entries.filter((e) => e.id !== id);
  tell();
}

/** Where both appear; once, near the root. */
export function Messages() {
  const shown = useSyncExternalStore(subscribe, () => entries);
  const asked = useSyncExternalStore(subscribe, () => question);
  return (
    <Toast.Provider swipeDirection="right" label="Message">
      {shown.map((e) => (
        <Toast.Root
          key={e.id}
          className={cx(ui["toast"], toneClass(e.tone))}
          duration={e.tone === "bad" ? 12000 : 5000}
          type={e.tone === "bad" ? "foreground" : "background"}
          onOpenChange={(open) => !open && dismiss(e.id)}
        >
          <ToneIcon tone={e.tone} />
          <Toast.Description asChild><div>{e.text}</div></Toast.Description>
          <Toast.Close asChild>
            <Button look="ghost" size="small" className={ui["icon"]} aria-label="Dismiss"><X size={14} /></Button>
          </Toast.Close>
        </Toast.Root>
      ))}
      <Toast.Viewport className={ui["toasts"]} />
      {asked && <Ask key={asked.title} question={asked} />}
    </Toast.Provider>
  );
}

function Ask({ question: q }: { question: Question }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const close = () => {
    question = null;
    tell();
  };
  const run = async () => {
    setBusy(true);
    setError(null);
    try {
      await q.run();
      close();
    } catch (e) {
      setError(e);
      setBusy(false);
    }
  };
  return (
    <Dialog
      open
      onOpenChange={(open) => !open && close()}
      title={q.title}
      text={q.text}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button look={q.danger ? "danger" : "primary"} busy={busy} onClick={() => void run()}>{q.yes}</Button>
        </>
      }
    >
      {error !== null && <Failure error={error} />}
    </Dialog>
  );
}
